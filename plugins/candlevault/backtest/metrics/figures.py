"""The figures of a finished run and what each of them means."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metrics:
    """One backtest in figures. Money is in quote, `_pct` is 0–100 (returns may be negative).

    Undefined figures are None, never NaN or infinite. Times are open times of bars in ms UTC;
    equity is read at bar closes. Equity at or below 0 is ruin: drawdowns and losses can exceed
    100 %, and periods after it return 0.

    The whole run
    - `final_equity`: equity after the last bar, positions closed.
    - `total_return_pct`: final equity against initial capital.
    - `annual_return_pct`: the yearly growth that compounds to the total return over the
      window (all grid rows). None for windows shorter than a day, where it says nothing; -100
      when nothing is left.
    - `buy_and_hold_return_pct`: the capital split equally between all symbols, each bought at
      its first present open and sold at its last present close, with the same fee, slippage
      and half spread.

    Falls of the equity
    - `max_drawdown_pct`: largest fall of the equity (at bar closes) below its highest value
      so far, in percent of that value; 0 or positive.
    - `max_drawdown_duration_seconds`: longest time from a bar at the highest equity so far
      to the next bar that reaches it again, or to the last bar. 0 if equity never fell.
    - `max_drawdown_start_time`, `max_drawdown_trough_time`, `max_drawdown_end_time`: of the
      fall of `max_drawdown_pct` (the first of equally deep ones) the last bar at the peak, the
      first bar at the bottom, and the first bar at the peak again. None without a fall; the
      end is None, too, when the peak was not reached again.
    - `max_drawdown_amount`: largest fall of the equity below its highest value so far, in
      quote; not necessarily the same fall.
    - `ulcer_index_pct`: root of the mean, over all periods, of the squared percentage that the
      equity at the period's end lies below its highest value at earlier ends (the initial
      capital included). Martin and McCann (1989).
    - `recovery_factor`: (final equity - initial capital) / `max_drawdown_amount`. None without
      a fall.
    - `calmar`: annual_return_pct / max_drawdown_pct. None without drawdown or annual return.

    Returns per period. Periods are UTC days (the equity at each day's last bar; part days at
    the ends count as days; the first return is against the initial capital) or single bars
    where the timeframe is longer than a day. A year has 365 days; the risk-free rate is 0.
    - `periods`: their number.
    - `sharpe`: mean / sample standard deviation of the periodic returns, times the square
      root of periods a year. None with fewer than two periods or without any deviation.
    - `period_sharpe`: the same without the root: per period, as the probabilistic and the
      deflated Sharpe ratio want it.
    - `sortino`: mean / downside deviation, times the root of periods a year; the downside
      deviation is the root of the mean, over all periods, of squared negative returns. None
      with fewer than two periods or no negative return.
    - `volatility_pct`: sample standard deviation times the square root of periods a year, in
      percent. None with fewer than two periods.
    - `skewness`: third central moment / second to the power of 1.5 (moments divided by the
      number of periods). None where `sharpe` is None.
    - `kurtosis`: fourth central moment / squared second one; 3 for normal returns. None where
      `sharpe` is None.

    How much was at work
    - `exposure_pct`: share of grid rows in which a position was open.
    - `average_exposure_pct`: mean over all grid rows of the gross value held at the close, in
      percent of the equity there; 0 in rows where nothing is held or the equity is not above 0.
    - `turnover`: notional of all fills / mean equity over all grid rows: how many times the
      equity was traded; in and out once is about 2. None if the mean is not above 0.

    Trades, in the order in which they were closed
    - `trade_count`: closed trades, the one closed at the end of the data included.
    - `long_count`, `short_count`: those of each side.
    - `long_pnl`, `short_pnl`: their sums of pnl.
    - `win_rate_pct`: trades with pnl above 0. None without trades.
    - `long_win_rate_pct`, `short_win_rate_pct`: the same for one side. None without trades of
      that side.
    - `profit_factor`: sum of positive pnl / sum of negative pnl, as a positive number. None
      without trades or without a losing one.
    - `expectancy`: mean pnl per trade. None without trades.
    - `average_win`: mean pnl of the trades with pnl above 0. None without such.
    - `average_loss`: mean pnl of the trades with pnl below 0, a negative number. None without
      such.
    - `payoff_ratio`: average_win / -average_loss. None where either is None.
    - `longest_losing_streak`: most trades in a row with pnl below 0.
    - `average_duration_seconds`: mean bars held times the timeframe. None without trades.
    - `best_trade_pct`, `worst_trade_pct`: highest and lowest `return_pct`. None without trades.
    - `fees_paid`: both fees of all trades. `funding_paid`: funding of all trades, negative when
      more was received.
    - `ambiguous_count`: trades flagged ambiguous.
    - `refused_count`: entry orders dropped, for whatever reason.
    """

    final_equity: float
    total_return_pct: float
    annual_return_pct: float | None
    buy_and_hold_return_pct: float
    max_drawdown_pct: float
    max_drawdown_duration_seconds: int
    max_drawdown_start_time: int | None
    max_drawdown_trough_time: int | None
    max_drawdown_end_time: int | None
    max_drawdown_amount: float
    ulcer_index_pct: float
    recovery_factor: float | None
    calmar: float | None
    periods: int
    sharpe: float | None
    period_sharpe: float | None
    sortino: float | None
    volatility_pct: float | None
    skewness: float | None
    kurtosis: float | None
    exposure_pct: float
    average_exposure_pct: float
    turnover: float | None
    trade_count: int
    long_count: int
    short_count: int
    long_pnl: float
    short_pnl: float
    win_rate_pct: float | None
    long_win_rate_pct: float | None
    short_win_rate_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    payoff_ratio: float | None
    longest_losing_streak: int
    average_duration_seconds: float | None
    best_trade_pct: float | None
    worst_trade_pct: float | None
    fees_paid: float
    funding_paid: float
    ambiguous_count: int
    refused_count: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name, in declared order."""
        return dataclasses.asdict(self)
