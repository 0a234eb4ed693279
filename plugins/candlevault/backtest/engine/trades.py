"""The trade log: columns as the loop wrote them, and one trade as a value of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from candlevault.backtest.engine.codes import EXIT_REASONS, ORDER_KINDS

_ROWS = ("signal", "entry", "exit")
_FIGURES = (
    "entry_price", "exit_price", "quantity", "entry_fee", "exit_fee", "funding", "pnl",
    "return_pct",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip. Times are ms UTC, prices and money in quote, `quantity` in base.

    `symbol` counts from 0 in the order of the request. `signal_time`: open time of the bar
    whose close wished the entry. `funding`: paid, negative when received. `pnl`: what came
    back minus what was spent, both fees and the funding included. `return_pct`: `pnl` in
    percent of the entry's notional and fee. `bars_held`: grid rows in which the lot was open;
    the exit bar counts unless it was left at its open. `ambiguous`: the order of events inside
    a bar was unknown and mattered. `mae_pct` and `mfe_pct`: worst (at most 0) and best (at
    least 0) price met, in percent from the entry price, positive for a gain; of the exit bar
    only the exit price counts, except at the end of the data. `entry_order` is the kind of
    order that entered.
    """

    symbol: int
    side: str
    signal_time: int
    entry_time: int
    exit_time: int
    entry_price: float
    exit_price: float
    quantity: float
    entry_fee: float
    exit_fee: float
    funding: float
    pnl: float
    return_pct: float
    bars_held: int
    exit_reason: str
    entry_order: str
    ambiguous: bool
    mae_pct: float
    mfe_pct: float

    @property
    def fees(self) -> float:
        """Both fees, quote."""
        return self.entry_fee + self.exit_fee


@dataclass(frozen=True, eq=False)
class TradeLog:
    """All trades of a simulation in the order in which they were closed.

    `records` is a structured array (tables.TRADE); rows in it refer to `open_time`, the grid
    (int64 ms UTC).
    """

    records: np.ndarray
    open_time: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def columns(self) -> dict[str, list]:
        """The log by the names of `Trade`, JSON-able, a list a column."""
        records = self.records
        return {
            "symbol": records["symbol"].tolist(),
            "side": ["long" if side > 0 else "short" for side in records["side"].tolist()],
            **{
                f"{name}_time": self.open_time[records[f"{name}_row"]].tolist() for name in _ROWS
            },
            **{name: records[name].tolist() for name in _FIGURES},
            "bars_held": records["bars_held"].tolist(),
            "exit_reason": [EXIT_REASONS[reason] for reason in records["reason"].tolist()],
            "entry_order": [ORDER_KINDS[kind] for kind in records["order_kind"].tolist()],
            "ambiguous": [bool(doubt) for doubt in records["ambiguous"].tolist()],
            "mae_pct": records["mae_pct"].tolist(),
            "mfe_pct": records["mfe_pct"].tolist(),
        }

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """The log as values; made when first asked for."""
        return tuple(Trade(*values) for values in zip(*self.columns().values(), strict=True))

    def fees(self) -> float:
        """Both fees of all trades, quote; the exact sum."""
        return math.fsum((self.records["entry_fee"] + self.records["exit_fee"]).tolist())
