"""The figures of a finished run.

Undefined figures are None, never NaN or infinite; each field says when. Nothing is
annualised with trading days: crypto trades 365 days a year. Sums are exact
(`math.fsum`) and powers are taken in decimal arithmetic, so that the figures do not
depend on the processor or the C library.
"""

from __future__ import annotations

import dataclasses
import decimal
import itertools
import math
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.engine import Simulation, Trade
from candlevault.backtest.frame import BacktestFrame

_DAY_MS = 86_400_000
_YEAR_MS = 365 * _DAY_MS
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Metrics:
    """One backtest in figures. Money is in quote, `_pct` is 0–100 (returns may be negative).

    - `final_equity`: equity after the last bar, positions closed.
    - `total_return_pct`: final equity against initial capital.
    - `annual_return_pct`: the yearly growth that compounds to the total return over the
      window (all grid rows). None for windows shorter than a day, where it says nothing.
    - `buy_and_hold_return_pct`: the whole capital bought at the first present open and sold
      at the last present close, with the same fee and slippage.
    - `max_drawdown_pct`: largest fall of the equity (at bar closes) below its highest value
      so far, in percent of that value; 0 or positive.
    - `max_drawdown_duration_seconds`: longest time from a bar at the highest equity so far
      to the next bar that reaches it again, or to the last bar. 0 if equity never fell.
    - `sharpe`: mean / sample standard deviation of the periodic returns, times the square
      root of periods a year; risk-free rate 0. Periods are UTC days (the equity at each
      day's last bar; part days at the ends count as days; the first return is against the
      initial capital) or single bars where the timeframe is longer than a day. None with
      fewer than two periods or without any deviation.
    - `sortino`: the same with the downside deviation: the root of the mean, over all periods,
      of squared negative returns. None with fewer than two periods or no negative return.
    - `calmar`: annual_return_pct / max_drawdown_pct. None without drawdown or annual return.
    - `exposure_pct`: share of grid rows in which a position was open.
    - `trade_count`: closed trades, the one closed at the end of the data included.
    - `win_rate_pct`: trades with pnl above 0. None without trades.
    - `profit_factor`: sum of positive pnl / sum of negative pnl, as a positive number. None
      without trades or without a losing one.
    - `expectancy`: mean pnl per trade. None without trades.
    - `average_duration_seconds`: mean bars held times the timeframe. None without trades.
    - `best_trade_pct`, `worst_trade_pct`: highest and lowest `return_pct`. None without trades.
    - `fees_paid`: both fees of all trades. `ambiguous_count`: trades flagged ambiguous.
    """

    final_equity: float
    total_return_pct: float
    annual_return_pct: float | None
    buy_and_hold_return_pct: float
    max_drawdown_pct: float
    max_drawdown_duration_seconds: int
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    exposure_pct: float
    trade_count: int
    win_rate_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    average_duration_seconds: float | None
    best_trade_pct: float | None
    worst_trade_pct: float | None
    fees_paid: float
    ambiguous_count: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name, in declared order."""
        return dataclasses.asdict(self)


def measure(
    frame: BacktestFrame,
    simulation: Simulation,
    *,
    initial_capital: float,
    fee_rate: float,
    slippage_bps: float,
) -> Metrics:
    """The metrics of `simulation`, which ran on `frame` with these settings."""
    equity, trades = simulation.equity, simulation.trades
    step_ms = frame.timeframe.step_ms
    final = float(equity[-1])
    annual = annual_return_pct(initial_capital, final, len(frame) * step_ms)
    drawdown, rows_under_water = max_drawdown(equity)
    period_ms = max(step_ms, _DAY_MS)
    returns = periodic_returns(frame.open_time, equity, initial_capital, period_ms)
    periods_a_year = _YEAR_MS / period_ms
    return Metrics(
        final_equity=final,
        total_return_pct=(final / initial_capital - 1.0) * 100.0,
        annual_return_pct=annual,
        buy_and_hold_return_pct=buy_and_hold_return_pct(frame, fee_rate, slippage_bps),
        max_drawdown_pct=drawdown,
        max_drawdown_duration_seconds=rows_under_water * step_ms // 1000,
        sharpe=sharpe(returns, periods_a_year),
        sortino=sortino(returns, periods_a_year),
        calmar=None if annual is None or drawdown == 0.0 else annual / drawdown,
        exposure_pct=sum(trade.bars_held for trade in trades) / len(frame) * 100.0,
        trade_count=len(trades),
        fees_paid=math.fsum(trade.fees for trade in trades),
        ambiguous_count=sum(trade.ambiguous for trade in trades),
        **_of_trades(trades, step_ms),
    )


def _of_trades(trades: tuple[Trade, ...], step_ms: int) -> dict[str, float | None]:
    if not trades:
        return dict.fromkeys(
            (
                "win_rate_pct",
                "profit_factor",
                "expectancy",
                "average_duration_seconds",
                "best_trade_pct",
                "worst_trade_pct",
            )
        )
    gained = math.fsum(trade.pnl for trade in trades if trade.pnl > 0.0)
    lost = -math.fsum(trade.pnl for trade in trades if trade.pnl < 0.0)
    count = len(trades)
    return {
        "win_rate_pct": sum(trade.pnl > 0.0 for trade in trades) / count * 100.0,
        "profit_factor": gained / lost if lost > 0.0 else None,
        "expectancy": math.fsum(trade.pnl for trade in trades) / count,
        "average_duration_seconds": sum(t.bars_held for t in trades) * step_ms / 1000.0 / count,
        "best_trade_pct": max(trade.return_pct for trade in trades),
        "worst_trade_pct": min(trade.return_pct for trade in trades),
    }


def periodic_returns(
    open_time: np.ndarray, equity: np.ndarray, initial_capital: float, period_ms: int
) -> list[float]:
    """Returns (ratios) of the last equity of each period that starts at a multiple of
    `period_ms`, the first against the initial capital. With a period as long as the step
    every bar is a period of its own.
    """
    period = open_time // period_ms
    last_of_period = np.append(period[1:] != period[:-1], True)
    values = [initial_capital, *equity[last_of_period].tolist()]
    return [now / before - 1.0 for before, now in itertools.pairwise(values)]


def sharpe(returns: list[float], periods_a_year: float) -> float | None:
    """Annualised mean / sample standard deviation of `returns`; see Metrics."""
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    # Equal returns differ by rounding; dividing by that would make up a huge ratio.
    moved = deviation > _ROUNDING * max(map(abs, returns))
    return mean / deviation * math.sqrt(periods_a_year) if moved else None


def sortino(returns: list[float], periods_a_year: float) -> float | None:
    """Annualised mean / downside deviation of `returns`; see Metrics."""
    if len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in returns) / len(returns))
    mean = math.fsum(returns) / len(returns)
    return mean / downside * math.sqrt(periods_a_year) if downside > 0.0 else None


def max_drawdown(equity: np.ndarray) -> tuple[float, int]:
    """The deepest fall in percent of the peak before it, and the longest time below a peak
    in rows (from the last row at the peak to the row that reaches it again, or the end).
    """
    peaks = np.maximum.accumulate(equity)
    deepest = float(np.max((peaks - equity) / peaks * 100.0))
    at_peak = np.flatnonzero(equity >= peaks)
    # Neighbouring rows at the peak are one step apart: no time was spent below it.
    spans = np.diff(at_peak)
    recovered = int(np.max(spans[spans > 1], initial=0))
    return deepest, max(recovered, len(equity) - 1 - int(at_peak[-1]))


def annual_return_pct(initial: float, final: float, elapsed_ms: int) -> float | None:
    """Compound yearly growth in percent; None below a day or when beyond all floats."""
    if elapsed_ms < _DAY_MS:
        return None
    with decimal.localcontext(decimal.Context(prec=34)):
        growth = decimal.Decimal(final) / decimal.Decimal(initial)
        if growth <= 0:
            return -100.0
        annual = growth ** (decimal.Decimal(_YEAR_MS) / decimal.Decimal(elapsed_ms))
        percent = float((annual - 1) * 100)
    return percent if math.isfinite(percent) else None


def buy_and_hold_return_pct(frame: BacktestFrame, fee_rate: float, slippage_bps: float) -> float:
    """Return of buying at the first present open and selling at the last present close."""
    rows = np.flatnonzero(frame.present)
    paid = float(frame.open[rows[0]]) * (10_000.0 + slippage_bps) / 10_000.0 * (1.0 + fee_rate)
    got = float(frame.close[rows[-1]]) * (10_000.0 - slippage_bps) / 10_000.0 * (1.0 - fee_rate)
    return (got / paid - 1.0) * 100.0
