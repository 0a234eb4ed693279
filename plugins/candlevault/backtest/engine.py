"""The engine: one symbol, long only, event by event over the bars of a frame.

The conventions, all of them:

Orders
- A signal is computed on a closed bar and becomes a market order that fills at the next
  present open. Over absent rows it waits. A signal on the last present bar never fills.
- An entry signal while long and an exit signal while flat do nothing, except that the
  newest signal cancels an order of the other kind that still waits (possible only where a
  carried row signals during an outage).
- Nothing fills in an absent row, carried or not: the venue was closed.

Inside a present bar, in this order
1. The waiting order fills at the open. An exit order goes before stop and target.
2. While long, also in the entry bar:
   a. the open is at or below the stop: sold at the open (a gap through the stop);
   b. the open is at or above the target: sold at the open (better than the target);
   c. the low reaches the stop: sold at the stop. If the high reaches the target as well,
      the order of events is unknown; the stop is taken and the trade is `ambiguous`;
   d. the high reaches the target: sold at the target.
   Touching a level triggers it; prices within 1e-12 of it (relative) touch it.
3. On the last present bar an open position is sold at the close (`end_of_data`).
4. The close is marked to market, then the bar's signal is read. A signal that exits on a
   bar where the stop already sold finds nothing to do; one that enters is accepted.

Levels
- The stop is the higher of stop loss and trailing stop and gives the exit its reason (the
  stop loss where they are equal).
- The trailing stop lies a constant distance below the highest of the entry price and the
  highs of the bars held so far, the current bar not included: its high may come after its
  low.

Prices and costs
- Market fills (orders, stops, gaps through the stop, end of data) are worse by
  `slippage_bps` / 10000; slippage may leave the range of the bar. Fills at or beyond the
  target carry no slippage.
- Every fill pays `fee_rate` of its notional (price * quantity) in quote.

Books
- Equity at a bar's close = cash + quantity * close; absent rows repeat the last equity
  (the initial capital before the first candle). The equity of the last present bar is
  after the forced sale.
- A trade's times are the open times of the bars in which it was entered and left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from candlevault.backtest import risk as levels
from candlevault.backtest.frame import BacktestFrame
from candlevault.backtest.risk import RiskRules
from candlevault.backtest.strategies.contract import ENTER, EXIT, NOTHING
from candlevault.errors import InvalidRequest

ENGINE_VERSION = "1"
"""Changes whenever the same frame, signals and settings could give another result."""

SIGNAL = "signal"
STOP_LOSS = "stop_loss"
TRAILING_STOP = "trailing_stop"
TAKE_PROFIT = "take_profit"
END_OF_DATA = "end_of_data"
EXIT_REASONS = (SIGNAL, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT, END_OF_DATA)

_BPS = 10_000.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip. Times are ms UTC, prices and money in quote, `quantity` in base.

    `signal_time`: open time of the bar whose close wished the entry. `pnl`: what came back
    minus what was spent, both fees included. `return_pct`: `pnl` in percent of what was
    spent, entry fee included. `bars_held`: grid rows in which the position was open; the
    exit bar counts unless it was left at its open. `mae_pct` and `mfe_pct`: lowest (at
    most 0) and highest (at least 0) price met, in percent from the entry price; of the exit
    bar only the exit price counts, except at the end of the data.
    """

    side: str
    signal_time: int
    entry_time: int
    exit_time: int
    entry_price: float
    exit_price: float
    quantity: float
    entry_fee: float
    exit_fee: float
    pnl: float
    return_pct: float
    bars_held: int
    exit_reason: str
    ambiguous: bool
    mae_pct: float
    mfe_pct: float

    @property
    def fees(self) -> float:
        """Both fees, quote."""
        return self.entry_fee + self.exit_fee


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """What happened. `trades` in order of entry; the float64 arrays hold one value per row.

    `cash` (quote), `quantity` (base) and `equity` (quote) are those at the bar's close.
    """

    trades: tuple[Trade, ...]
    cash: np.ndarray
    quantity: np.ndarray
    equity: np.ndarray


class _Exit(NamedTuple):
    """A sale: `level` before slippage, and whether slippage applies and it is at the open."""

    level: float
    reason: str
    slips: bool
    at_open: bool
    ambiguous: bool = False


@dataclass(slots=True)
class _Position:
    """An open long position; `highest` and `lowest` cover the entry and the bars held since."""

    signal_row: int
    entry_row: int
    entry_price: float
    quantity: float
    entry_fee: float
    stop_loss: float
    target: float
    trail: float
    highest: float
    lowest: float


def simulate(
    frame: BacktestFrame,
    signals: np.ndarray,
    *,
    initial_capital: float,
    fee_rate: float = 0.0,
    slippage_bps: float = 0.0,
    risk: RiskRules | None = None,
) -> Simulation:
    """Trade `signals` on `frame` by the conventions of this module.

    `signals` is an integer array of -1, 0 and +1, one per row of `frame.bars()`;
    `fee_rate` is a part (0–1) of the notional of each fill, `slippage_bps` hundredths of a
    percent of each market price. Raises InvalidRequest for signals of another shape.
    """
    wishes = frame.on_grid(_checked(signals, len(frame.bars().close)), NOTHING).tolist()
    rules = risk or RiskRules()
    # Plain floats: reading a Python list is several times faster than reading an array.
    opens, highs, lows, closes = (
        column.tolist() for column in (frame.open, frame.high, frame.low, frame.close)
    )
    times, present = frame.open_time.tolist(), frame.present.tolist()
    last_row = int(np.flatnonzero(frame.present)[-1])
    worse_buy, worse_sell = _BPS + slippage_bps, _BPS - slippage_bps

    trades: list[Trade] = []
    cash_by_row, quantity_by_row, equity_by_row = [], [], []
    cash, equity = float(initial_capital), float(initial_capital)
    position: _Position | None = None
    order, signal_row = NOTHING, -1

    for row in range(len(times)):
        if present[row]:
            leave: _Exit | None = None
            if order == ENTER:
                price = opens[row] * worse_buy / _BPS
                position = _entered(rules, cash, price, fee_rate, signal_row, row)
                if position is not None:
                    cash -= price * position.quantity + position.entry_fee
            elif order == EXIT:
                leave = _Exit(opens[row], SIGNAL, slips=True, at_open=True)
            order = NOTHING

            if position is not None:
                leave = leave or _protection(position, opens[row], highs[row], lows[row])
                if leave is None:
                    position.highest = max(position.highest, highs[row])
                    position.lowest = min(position.lowest, lows[row])
                    if row == last_row:
                        leave = _Exit(closes[row], END_OF_DATA, slips=True, at_open=False)
                if leave is not None:
                    price = leave.level * worse_sell / _BPS if leave.slips else leave.level
                    trade = _closed(position, leave, price, fee_rate, row, times)
                    cash += price * position.quantity - trade.exit_fee
                    trades.append(trade)
                    position = None
            equity = cash if position is None else cash + position.quantity * closes[row]

        if wishes[row] == ENTER:
            order, signal_row = (NOTHING if position is not None else ENTER), row
        elif wishes[row] == EXIT:
            order = EXIT if position is not None else NOTHING
        cash_by_row.append(cash)
        quantity_by_row.append(0.0 if position is None else position.quantity)
        equity_by_row.append(equity)

    return Simulation(
        trades=tuple(trades),
        cash=np.array(cash_by_row),
        quantity=np.array(quantity_by_row),
        equity=np.array(equity_by_row),
    )


def _checked(signals: np.ndarray, count: int) -> np.ndarray:
    signals = np.asarray(signals)
    if signals.shape != (count,) or signals.dtype.kind != "i":
        raise InvalidRequest(
            "signals", f"must be {count} integers", f"{signals.dtype} {signals.shape}"
        )
    if not np.all(np.isin(signals, (ENTER, EXIT, NOTHING))):
        raise InvalidRequest("signals", "must be -1, 0 or 1")
    return signals


def _entered(
    rules: RiskRules, cash: float, price: float, fee_rate: float, signal_row: int, row: int
) -> _Position | None:
    quantity = levels.entry_quantity(rules.sizing, cash, price, fee_rate)
    if not quantity > 0.0:
        return None
    return _Position(
        signal_row=signal_row,
        entry_row=row,
        entry_price=price,
        quantity=quantity,
        entry_fee=price * quantity * fee_rate,
        stop_loss=levels.stop_loss_level(rules, price),
        target=levels.take_profit_level(rules, price),
        trail=levels.trailing_distance(rules, price),
        highest=price,
        lowest=price,
    )


def _protection(position: _Position, open_: float, high: float, low: float) -> _Exit | None:
    """The sale by stop or target inside one bar, or None."""
    trailing = position.highest - position.trail
    stop = max(position.stop_loss, trailing)
    reason = TRAILING_STOP if trailing > _just_above(position.stop_loss) else STOP_LOSS
    reaches_target = _just_above(high) >= position.target
    if open_ <= _just_above(stop):
        return _Exit(open_, reason, slips=True, at_open=True)
    if _just_above(open_) >= position.target:
        return _Exit(open_, TAKE_PROFIT, slips=False, at_open=True)
    if low <= _just_above(stop):
        return _Exit(stop, reason, slips=True, at_open=False, ambiguous=reaches_target)
    if reaches_target:
        return _Exit(position.target, TAKE_PROFIT, slips=False, at_open=False)
    return None


def _just_above(price: float) -> float:
    return price * (1.0 + levels.TOUCH_RATIO)


def _closed(
    position: _Position, leave: _Exit, price: float, fee_rate: float, row: int, times: list[int]
) -> Trade:
    spent = position.entry_price * position.quantity + position.entry_fee
    exit_fee = price * position.quantity * fee_rate
    pnl = price * position.quantity - exit_fee - spent
    return Trade(
        side="long",
        signal_time=times[position.signal_row],
        entry_time=times[position.entry_row],
        exit_time=times[row],
        entry_price=position.entry_price,
        exit_price=price,
        quantity=position.quantity,
        entry_fee=position.entry_fee,
        exit_fee=exit_fee,
        pnl=pnl,
        return_pct=pnl / spent * 100.0,
        bars_held=row - position.entry_row + (0 if leave.at_open else 1),
        exit_reason=leave.reason,
        ambiguous=leave.ambiguous,
        mae_pct=_distance_pct(min(position.lowest, price), position.entry_price),
        mfe_pct=_distance_pct(max(position.highest, price), position.entry_price),
    )


def _distance_pct(price: float, entry_price: float) -> float:
    return (price - entry_price) / entry_price * 100.0
