"""The engine: event by event over the bars of one or several symbols that share one capital.

The conventions, all of them:

Orders
- A wish is computed on a closed bar. An exit becomes a market order for the next present open;
  an entry becomes a market order for it, or a resting limit, stop or stop-limit order from that
  bar on. Over absent rows orders wait. A wish on the last present bar never fills.
- A symbol has at most one waiting entry and one waiting exit. The newest entry replaces the
  one that waits. An exit wish drops a waiting entry of its side; an entry wish drops a waiting
  exit of its side. An entry against an open position leaves all of that position first, at the
  next open. An exit that a limit on losses ordered is not taken back.
- An entry on the side already held adds a lot while fewer than `max_entries` are open, else
  nothing. An exit while flat does nothing. Entries on a side that `direction` forbids are not
  taken, exits always are.
- A resting order waits `valid_bars` present bars, the one in which it becomes active included.
- Nothing fills in an absent row, carried or not: the venue was closed.

Inside a row, in this order
1. The open, symbol by symbol: funding of the lots carried in (quantity * open * rate, longs pay
   where the rate is positive); then the waiting exit; then, lot by lot, an open at or beyond the
   stop closes at the open, one at or beyond the target closes at the open (better than the
   target).
2. Still at the open, symbol by symbol: market entries; resting entries whose price the open has
   reached: a limit at the open (better than its price), a stop at the open (a gap through it).
   What exits gave back at this open can be spent in it.
3. Inside the bar, symbol by symbol: a resting entry whose price the bar touches fills there. A
   stop-limit fills at its trigger where the limit allows that price (slippage up to the limit);
   else it rests as a limit order: from the open on where that was beyond the trigger, else
   filled in this bar only where the close proves it. Then, symbol by symbol, stop and target of
   each lot: at the stop, or at the target, once the bar touches it. A lot that entered in this
   bar also meets, as in 1, the price in the market at which it did.
4. On the last present bar of a symbol what is open is closed at the close (`end_of_data`).
5. The close is marked to market, the wishes of the bar are read, then the limits on losses: a
   limit that is hit drops the entries that wait.

Ambiguity
- Where a bar touches stop and target, their order is unknown: pessimistic takes the stop,
  optimistic the target, resolved what the finer candles of that bar show, and where they do not
  show it, the stop. The trade is `ambiguous` in every mode.
- A lot that entered inside the bar has met a part of it only. A limit entry has surely met the
  extreme on its losing side, a stop entry that on its winning side, and both the close (a limit
  that only the close proves: just this); whether the other extreme came before or after the
  entry is unknown. Where a stop or target hangs on it the lot is ambiguous: pessimistic holds no
  gain and takes every loss, optimistic the other way round. For the trailing stop and the
  excursions only what was surely met counts.

Levels
- Touching a level triggers it; prices within 1e-12 of it (relative) touch it.
- The stop is the nearer of stop loss and trailing stop and gives the exit its reason (the stop
  loss where they are equal).
- The trailing stop lies a constant distance from the best of the entry price and the bars held
  so far. It is moved at the close of each bar, like an order that is moved by who looks at closed
  candles, and rests in between: it does not depend on the order of prices inside a bar. An order
  that a venue moves with every trade is another one, and leaves earlier.
- Levels that the strategy names replace those of the risk rules. An entry whose stop does not
  lie on its losing side is dropped.

Prices and costs
- Market fills (market and stop entries, exits by signal, stops, limits on losses, liquidations,
  end of data) are worse by `slippage_bps` / 10000 and by `half_spread`, and pay `fee_rate` of
  their notional (price * quantity). Slippage may leave the range of the bar; no price falls
  below 0. Fills at a limit or target carry no slippage and pay `maker_fee_rate`.

Books
- Equity at a row's close = cash + sum of signed quantity * last close. Shorting adds its
  proceeds to the cash; there is no interest and no borrowing fee but the funding.
- An entry is sized by the equity at that moment, every symbol taken at its last price (its open
  in this row). It spends at most `max_exposure` * equity less the gross value held. The average
  true range of a volatility target is that of the signal's bar and knows the bars before the
  window that the strategy sees; where it is not defined yet or 0 the entry is dropped.
- With shorts, funding or a `max_exposure` above 1 the equity can be used up: everything is
  closed where that happens on the straight way from the open to the worst prices of the bar
  (`liquidation`), at the open after a gap, and nothing is entered any more. Stops that lie
  before that point have been taken, targets not, in every mode. There is no maintenance margin.
- Exits close the oldest lots first; every lot, or part of one, that is closed is a trade. A
  trade's times are the open times of the bars in which it was entered and left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.data.frame import BacktestFrame, Bars
from candlevault.backtest.engine import loop
from candlevault.backtest.engine.codes import (
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_LONG,
    EXIT_SHORT,
    INTRABAR_MODES,
    PESSIMISTIC,
    REFUSALS,
    RESOLVED,
    SIZING_METHODS,
)
from candlevault.backtest.engine.tables import (
    ACCOUNT,
    CONFIG,
    COUNTERS,
    LOT,
    PLACE,
    QUESTION,
    TRADE,
    Finer,
    Market,
    Wishes,
)
from candlevault.backtest.engine.trades import Trade, TradeLog
from candlevault.backtest.indicators import atr
from candlevault.backtest.risk import VOLATILITY_TARGET, EntryOrders, Settings
from candlevault.backtest.signals import Signals, checked
from candlevault.errors import InvalidRequest

ENGINE_VERSION = "3"
"""Changes whenever the same frames, signals and settings could give another result."""

_DAY_MS = 86_400_000
_ABSENT = np.empty((0, 0))
_WITHOUT_FINER = Finer(
    np.empty((0, 0), dtype=np.int64), np.empty((0, 0), dtype=np.int64), *(np.empty(0),) * 4
)
_NO_CHOICES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The candles of a simulation, laid out once for as many runs as wanted.

    `frames` are of one window and timeframe, one a symbol, in the order of the request; `bars`
    are theirs, and `seen` the same after earlier ones that are only there to warm up.
    """

    frames: tuple[BacktestFrame, ...]
    market: Market
    bars: tuple[Bars, ...]
    seen: tuple[Bars, ...]

    @property
    def open_time(self) -> np.ndarray:
        """The grid, int64 ms UTC."""
        return self.frames[0].open_time


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """What happened. The float64 arrays hold one value per row, quote at the bar's close.

    `held` says in which rows anything was open. `cash` and `quantity` (base, signed, one row
    of the array a symbol) are empty unless books were asked for. `questions` lists
    every ambiguous moment in order (tables.QUESTION);
    `unresolved` counts those that finer candles should have settled and did not, `branching`
    those after which the position could have been another. `refused` counts dropped entry
    orders by reason.
    """

    log: TradeLog
    cash: np.ndarray
    quantity: np.ndarray
    equity: np.ndarray
    held: np.ndarray
    questions: np.ndarray
    unresolved: int
    branching: int
    refused: dict[str, int]

    @property
    def trades(self) -> tuple[Trade, ...]:
        """The trades in the order in which they were closed."""
        return self.log.trades


def stage(
    frames: Sequence[BacktestFrame],
    funding: Sequence[np.ndarray] | None = None,
    seen: Sequence[Bars] | None = None,
) -> Stage:
    """Lay out `frames`; `funding` gives one float64 rate a grid row for each of them, `seen`
    their bars with those before (by default there are none before).

    Raises InvalidRequest for frames of different windows or timeframes, and for funding of
    another length or that is not finite.
    """
    first = frames[0]
    for position, frame in enumerate(frames):
        if not np.array_equal(frame.open_time, first.open_time):
            raise InvalidRequest(f"frames[{position}]", "must lie on the grid of the first")
    rates = _ABSENT
    if funding is not None:
        given = [np.asarray(one, dtype=np.float64) for one in funding]
        fitting = [one for one in given if one.shape == (len(first),) and np.isfinite(one).all()]
        if not len(fitting) == len(given) == len(frames):
            raise InvalidRequest("funding", "must hold one finite rate per row and symbol")
        rates = np.stack(given)
    prices = [
        _side_by_side([getattr(frame, name) for frame in frames])
        for name in ("open", "high", "low", "close")
    ]
    present = _side_by_side([frame.present for frame in frames])
    bars = tuple(frame.bars() for frame in frames)
    return Stage(
        tuple(frames),
        Market(
            *prices,
            present=present,
            last_row=np.array([int(np.flatnonzero(row)[-1]) for row in present]),
            day=first.open_time // _DAY_MS,
            funding=rates,
        ),
        bars,
        bars if seen is None else tuple(seen),
    )


def _side_by_side(columns: list[np.ndarray]) -> np.ndarray:
    """One read-only row a column; a single one is not copied. All are read-only, so that the
    loop is compiled once."""
    table = columns[0][np.newaxis] if len(columns) == 1 else np.stack(columns)
    table.flags.writeable = False
    return table


def simulate(
    stage: Stage,
    signals: Sequence[Signals],
    settings: Settings,
    *,
    mode: int = PESSIMISTIC,
    finer: Finer | None = None,
    choices: Sequence[int] = (),
    books: bool = False,
) -> Simulation:
    """Trade `signals`, one a symbol and each one value per row of its frame's `bars()`.

    `mode` is a number of codes.INTRABAR_MODES, `finer` what RESOLVED looks into; `choices`
    answers the first ambiguous moments instead (0 pessimistic, 1 optimistic). Raises
    InvalidRequest for signals that break the rules of `Signals`.
    """
    frames = stage.frames
    if len(signals) != len(frames):
        raise InvalidRequest("signals", f"must be given for {len(frames)} symbols", len(signals))
    wishes = _wishes(stage, signals, settings)
    symbols, rows = stage.market.open.shape
    capital = float(settings.initial_capital)
    account = np.zeros(1, dtype=ACCOUNT)
    account["cash"] = account["equity"] = account["peak"] = account["day_start"] = capital
    account["halted_day"] = np.iinfo(np.int64).min
    trades, questions = _log(wishes, settings)
    counters = np.zeros(1, dtype=COUNTERS)
    refused = np.zeros(len(REFUSALS), dtype=np.int64)
    equity, held = np.empty(rows), np.zeros(rows, dtype=np.bool_)
    cash = np.empty(rows if books else 0)
    quantity = np.zeros((symbols, rows) if books else (0, 0))
    loop.run(
        stage.market,
        wishes,
        _config(settings, mode, symbols),
        finer if finer is not None and mode == RESOLVED else _WITHOUT_FINER,
        np.array(choices, dtype=np.int64) if len(choices) else _NO_CHOICES,
        np.zeros(symbols, dtype=PLACE),
        np.zeros((symbols, settings.risk.max_entries), dtype=LOT),
        account,
        trades,
        questions,
        counters,
        refused,
        equity,
        held,
        cash,
        quantity,
    )
    written, asked, unresolved, branching = counters[0].item()
    return Simulation(
        log=TradeLog(trades[:written], stage.open_time),
        cash=cash,
        quantity=quantity,
        equity=equity,
        held=held,
        questions=questions[:asked],
        unresolved=unresolved,
        branching=branching,
        refused=dict(zip(REFUSALS, refused.tolist(), strict=True)),
    )


def _wishes(stage: Stage, signals: Sequence[Signals], settings: Settings) -> Wishes:
    frames = stage.frames
    actions, values = [], {name: [] for name in Wishes._fields[1:]}
    priced = settings.entry.order != "market"
    for frame, bars, seen, given in zip(frames, stage.bars, stage.seen, signals, strict=True):
        given = checked(given, len(bars.close))
        wished = given.actions(len(bars.close))
        limit, stop = given.limit, given.stop
        if priced and limit is None and stop is None:
            limit, stop = _prices(settings.entry, bars.close, wished)
        volatility = None
        sizing = settings.risk.sizing
        if sizing.method == VOLATILITY_TARGET:
            volatility = atr(seen.high, seen.low, seen.close, sizing.atr_period)
            volatility = volatility[len(seen.close) - len(bars.close) :]
        actions.append(frame.on_grid(wished, 0))
        columns = (given.weight, limit, stop, given.stop_loss, given.take_profit, given.trail,
                   given.reduce, volatility)  # fmt: skip
        for name, column in zip(values, columns, strict=True):
            values[name].append(None if column is None else frame.on_grid(column, np.nan))
    return Wishes(
        _side_by_side(actions),
        **{name: _stacked(columns, len(frames[0])) for name, columns in values.items()},
    )


def _stacked(columns: list[np.ndarray | None], rows: int) -> np.ndarray:
    """One table, (0, 0) when no symbol uses the column."""
    if all(column is None for column in columns):
        return _ABSENT
    empty = np.full(rows, np.nan)
    return np.stack([empty if column is None else column for column in columns])


def _prices(
    rules: EntryOrders, close: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Limit and stop price of the entries, from the close of their bar."""
    toward = np.where(actions & ENTER_LONG, 1.0, -1.0)
    offset = toward * rules.offset_pct
    if rules.order == "limit":
        return close * (100.0 - offset) / 100.0, None
    stop = close * (100.0 + offset) / 100.0
    if rules.order == "stop":
        return None, stop
    return stop * (100.0 + toward * rules.limit_offset_pct) / 100.0, stop


def _config(settings: Settings, mode: int, symbols: int) -> np.ndarray:
    risk, sizing = settings.risk, settings.risk.sizing
    if not 0 <= mode < len(INTRABAR_MODES):
        raise InvalidRequest("intrabar", f"must be one of {', '.join(INTRABAR_MODES)}", mode)
    maker = settings.maker_fee_rate
    values = dict(
        capital=float(settings.initial_capital),
        taker_fee=float(settings.fee_rate),
        maker_fee=float(settings.fee_rate if maker is None else maker),
        slippage_bps=float(settings.slippage_bps),
        half_spread=float(settings.half_spread),
        allow_long=settings.direction in ("long", "both"),
        allow_short=settings.direction in ("short", "both"),
        valid_bars=settings.entry.valid_bars or 0,
        sizing=SIZING_METHODS.index(sizing.method),
        size_value=float(sizing.value),
        kelly_cap=float(sizing.cap),
        kelly_min_trades=sizing.min_trades,
        kelly_first=float(sizing.initial_fraction),
        stop_loss=_off(risk.stop_loss_pct),
        take_profit=_off(risk.take_profit_pct),
        trailing=_off(risk.trailing_stop_pct),
        max_exposure=float(risk.max_exposure),
        max_positions=risk.max_open_positions or symbols,
        max_entries=risk.max_entries,
        daily_loss=_off(risk.daily_loss_pct),
        drawdown=_off(risk.max_drawdown_pct),
        mode=mode,
    )
    return np.array([tuple(values[name] for name in CONFIG.names)], dtype=CONFIG)


def _off(percent: float | None) -> float:
    return math.inf if percent is None else float(percent)


def _log(wishes: Wishes, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Room for every trade there can be: a wish enters once, an exit splits one lot at most.

    Memory that is never written to costs nothing.
    """
    allowed = {"long": ENTER_LONG, "short": ENTER_SHORT}.get(
        settings.direction, ENTER_LONG | ENTER_SHORT
    )
    entries = int(np.count_nonzero(wishes.actions & allowed))
    splits = 0
    if wishes.reduce.shape[0]:
        splits = int(np.count_nonzero(wishes.actions & (EXIT_LONG | EXIT_SHORT)))
    return (
        np.empty(entries + splits, dtype=TRADE),
        np.empty(2 * entries, dtype=QUESTION),
    )
