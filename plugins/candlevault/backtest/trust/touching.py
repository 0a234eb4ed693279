"""Which trades, and which profit, rest on candles that something is known against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from candlevault.backtest.engine.trades import TradeLog

KNOWN_ABSENT = "known_absent"
ANY = "any"


@dataclass(frozen=True, slots=True)
class Touching:
    """Trades that touch one kind of candle.

    A trade touches the candles of its symbol from the bar that signalled its entry to the bar
    of its exit, both included. `candles` counts those of the kind in the whole window;
    `trades_share` is 0-1 of all trades; `pnl` their sum in quote; `profit_share` is 0-1 of the
    sum of all winning trades' profits, `loss_share` of all losing trades' losses. Shares of
    nothing are None.
    """

    candles: int
    trades: int
    trades_share: float | None
    pnl: float
    profit_share: float | None
    loss_share: float | None


def report(log: TradeLog, doubts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, dict]:
    """Touching by kind of doubt, and for `any` of them.

    `doubts` gives for each symbol, in the order of the request, open times (ascending int64 ms
    UTC) by kind.
    """
    kinds = list(doubts[0]) if doubts else []
    touched = {kind: _touched(log, [one[kind] for one in doubts]) for kind in kinds}
    counts = {kind: sum(len(one[kind]) for one in doubts) for kind in kinds}
    touched[ANY] = np.zeros(len(log), dtype=bool)
    for kind in kinds:
        touched[ANY] |= touched[kind]
    counts[ANY] = sum(
        len(np.unique(np.concatenate(list(one.values())))) if one else 0 for one in doubts
    )
    pnl = log.records["pnl"]
    return {kind: asdict(_measured(counts[kind], mask, pnl)) for kind, mask in touched.items()}


def _touched(log: TradeLog, times: Sequence[np.ndarray]) -> np.ndarray:
    records = log.records
    first = log.open_time[records["signal_row"]]
    last = log.open_time[records["exit_row"]]
    mask = np.zeros(len(log), dtype=bool)
    for symbol, those in enumerate(times):
        own = records["symbol"] == symbol
        inside = np.searchsorted(those, last[own], "right") - np.searchsorted(those, first[own])
        mask[own] = inside > 0
    return mask


def _measured(candles: int, mask: np.ndarray, pnl: np.ndarray) -> Touching:
    gains, losses = np.maximum(pnl, 0.0), np.minimum(pnl, 0.0)
    return Touching(
        candles=candles,
        trades=int(mask.sum()),
        trades_share=_share(float(mask.sum()), float(len(pnl))),
        pnl=math.fsum(pnl[mask].tolist()),
        profit_share=_share(math.fsum(gains[mask].tolist()), math.fsum(gains.tolist())),
        loss_share=_share(math.fsum(losses[mask].tolist()), math.fsum(losses.tolist())),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
