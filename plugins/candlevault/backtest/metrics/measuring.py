"""From a finished simulation to its figures: a few compiled passes over its arrays.

Nothing here depends on the processor or the C library: sums are compensated and stand in a
fixed order, the one power is taken in whole numbers.
"""

from __future__ import annotations

import math

import numpy as np

from candlevault.backtest.engine.simulation import Simulation, Stage
from candlevault.backtest.metrics import buy_and_hold, drawdowns, returns, sums, trading
from candlevault.backtest.metrics.figures import Metrics
from candlevault.backtest.metrics.trading import Tally
from candlevault.backtest.risk import Settings


def measure(stage: Stage, simulation: Simulation, settings: Settings) -> Metrics:
    """The metrics of `simulation`, which ran on `stage` with `settings`."""
    equity, records = simulation.equity, simulation.log.records
    timeframe, rows = stage.frames[0].timeframe, len(simulation.equity)
    capital, final = float(settings.initial_capital), float(equity[-1])
    annual = returns.annual_return_pct(capital, final, rows * timeframe.step_ms)
    fall = drawdowns.deepest(equity)
    trades = trading.tally(records)
    mean_equity = sums.mean_of_rows(equity)
    return Metrics(
        final_equity=final,
        total_return_pct=(final / capital - 1.0) * 100.0,
        annual_return_pct=annual,
        buy_and_hold_return_pct=buy_and_hold.return_pct(stage, settings),
        max_drawdown_pct=fall.depth_pct,
        max_drawdown_duration_seconds=fall.longest * timeframe.step_ms // 1000,
        max_drawdown_start_time=_time(stage, fall.start),
        max_drawdown_trough_time=_time(stage, fall.trough),
        max_drawdown_end_time=_time(stage, fall.end),
        max_drawdown_amount=fall.amount,
        recovery_factor=_quotient(final - capital, fall.amount),
        calmar=None if annual is None else _quotient(annual, fall.depth_pct),
        exposure_pct=int(np.count_nonzero(simulation.held)) / rows * 100.0,
        average_exposure_pct=100.0 * trading.average_exposure(records, stage.market.close, equity),
        turnover=_quotient(trades.notional, mean_equity),
        refused_count=sum(simulation.refused.values()),
        **_of_periods(stage, equity, capital),
        **_of_trades(trades, len(records), timeframe.step_ms),
    )


def _of_periods(stage: Stage, equity: np.ndarray, capital: float) -> dict[str, object]:
    timeframe = stage.frames[0].timeframe
    a_year = returns.periods_a_year(timeframe)
    ends = returns.period_ends(stage.open_time, timeframe)
    found, ulcer = returns.of_periods(ends, equity, capital)
    moments = returns.moments(found)
    per_period = returns.ratio(moments.mean, moments.deviation, 1.0)
    spread = moments.second if per_period is not None else 0.0
    return {
        "ulcer_index_pct": ulcer,
        "periods": moments.count,
        "sharpe": returns.ratio(moments.mean, moments.deviation, a_year),
        "period_sharpe": per_period,
        "sortino": returns.ratio(moments.mean, moments.downside, a_year),
        "volatility_pct": moments.deviation * math.sqrt(a_year) * 100.0
        if moments.count > 1
        else None,
        "skewness": _quotient(moments.third, spread * math.sqrt(spread)),
        "kurtosis": _quotient(moments.fourth, spread * spread),
    }


def _of_trades(trades: Tally, count: int, step_ms: int) -> dict[str, object]:
    wins, shorts = trades.long_wins + trades.short_wins, count - trades.longs
    average_win = _quotient(trades.gained, wins)
    average_loss = _quotient(trades.lost, trades.losses)
    return {
        "trade_count": count,
        "long_count": trades.longs,
        "short_count": shorts,
        "long_pnl": trades.long_pnl,
        "short_pnl": trades.short_pnl,
        "win_rate_pct": _share_pct(wins, count),
        "long_win_rate_pct": _share_pct(trades.long_wins, trades.longs),
        "short_win_rate_pct": _share_pct(trades.short_wins, shorts),
        "profit_factor": _quotient(trades.gained, -trades.lost),
        "expectancy": _quotient(trades.pnl, count),
        "average_win": average_win,
        "average_loss": average_loss,
        "payoff_ratio": None
        if average_win is None or average_loss is None
        else _quotient(average_win, -average_loss),
        "longest_losing_streak": trades.losing_streak,
        "average_duration_seconds": trades.bars_held * step_ms / 1000.0 / count if count else None,
        "best_trade_pct": trades.best_pct if count else None,
        "worst_trade_pct": trades.worst_pct if count else None,
        "fees_paid": trades.fees,
        "funding_paid": trades.funding,
        "ambiguous_count": trades.ambiguous,
    }


def _time(stage: Stage, row: int) -> int | None:
    return int(stage.open_time[row]) if row >= 0 else None


def _quotient(part: float, whole: float) -> float | None:
    """part / whole; None unless the whole is above 0 and the result is finite."""
    if not whole > 0.0:
        return None
    value = part / whole
    return value if math.isfinite(value) else None


def _share_pct(part: int, whole: int) -> float | None:
    return part / whole * 100.0 if whole else None
