"""The shapes that go into the compiled loop, live in it, and come out of it.

Rows are grid rows, symbols the order of the request. Arrays of an input that is not used
have the shape (0, 0). What the loop writes to are structured arrays: one pointer each,
which is what keeps its calls cheap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Market(NamedTuple):
    """Prices, float64 of shape (symbols, rows), NaN where nothing is known.

    `present` says where something can trade; `last_row` is the last such row of each symbol;
    `day` numbers the UTC day of each row; `funding` is the rate (a part of the notional) that
    longs pay to shorts at the open of a row.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    present: np.ndarray
    last_row: np.ndarray
    day: np.ndarray
    funding: np.ndarray


class Wishes(NamedTuple):
    """What the strategies wish at each bar's close: `actions` uint8 (symbols, rows).

    The others are float64 (symbols, rows), NaN where nothing is wished: `weight` of an entry
    (0-1), `limit` and `stop` price of an entry order, absolute `stop_loss` and `take_profit`
    levels, `trail` distance in quote, `reduce` the part (0-1) of the position that an exit
    closes, `volatility` in quote for sizing by it.
    """

    actions: np.ndarray
    weight: np.ndarray
    limit: np.ndarray
    stop: np.ndarray
    stop_loss: np.ndarray
    take_profit: np.ndarray
    trail: np.ndarray
    reduce: np.ndarray
    volatility: np.ndarray


class Finer(NamedTuple):
    """Finer candles of ambiguous bars: `first` and `last` (exclusive) per symbol and row index
    the flat price arrays; equal numbers mean that none are at hand."""

    first: np.ndarray
    last: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


def _record(floats: str, integers: str) -> np.dtype:
    return np.dtype(
        [(name, np.float64) for name in floats.split()]
        + [(name, np.int64) for name in integers.split()],
        align=True,
    )


CONFIG = _record(
    "capital taker_fee maker_fee slippage_bps half_spread size_value kelly_cap kelly_first"
    " stop_loss take_profit trailing max_exposure daily_loss drawdown",
    "allow_long allow_short valid_bars sizing kelly_min_trades max_positions max_entries mode",
)
"""Settings as plain numbers; percentages 0-100, inf when switched off."""

LOT = _record(
    "quantity price fee funding stop target trail high low order",
    "signal row kind entered doubt",
)
"""An open lot. `high` and `low` are the extremes met since the entry; `entered` says how it
came in: protection.AT_OPEN, or inside the bar (see protection.evidence); `order` is the price in
the market at that moment, before slippage and spread."""

PLACE = _record(
    "mark units floor ceiling part limit stop stop_loss take_profit trail weight volatility",
    "count side restless leaving reason entry kind signal left",
)
"""What belongs to one symbol.

Its last price `mark`. Of its lots the number, the side (+1, -1, 0), the signed quantity `units`,
the nearest stop or target below and above (`floor`, `ceiling`), and whether a new extreme can
move them (`restless`: a trailing stop). A waiting exit: `leaving`, `part` (0-1), `reason`. A
waiting entry: its side `entry` or 0, the row `signal` that wished it, the bars `left` that it
still waits (0: for good), the prices and levels that were wished with it; the `stop` of a
stop-limit is NaN once it has triggered.
"""

ACCOUNT = _record(
    "cash equity peak day_start gained lost",
    "wins losses halted_day halted",
)
"""The one account of all symbols, in quote. `wins`, `losses` count closed trades, `gained` and
`lost` sum their returns (ratios). `halted_day` is the UTC day without entries, `halted` 1 when
nothing is entered any more."""

TRADE = _record(
    "entry_price exit_price quantity entry_fee exit_fee funding pnl return_pct mae_pct mfe_pct",
    "symbol side signal_row entry_row exit_row bars_held reason ambiguous order_kind",
)
"""A closed lot as written down; see trades.Trade."""

QUESTION = _record("", "symbol row choice")
"""An ambiguous moment and what was taken: 0 the pessimistic, 1 the optimistic way."""

COUNTERS = _record("", "trades questions unresolved branching")
"""How much was written, and of the questions how many the finer candles left open and how
many could have left another position."""
