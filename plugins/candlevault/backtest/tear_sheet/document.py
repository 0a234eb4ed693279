"""What a tear sheet is made of: plain values, as they are stored of a completed backtest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from candlevault.storage.backtests import StoredResult


class Curve(TypedDict):
    """A value per row of the grid of the payload's timeframe, quote at the bar's close.

    `first_open_time` is ms UTC. `buy_and_hold` is as long as `values`, or None; `left_out` says
    why it is.
    """

    first_open_time: int
    values: Sequence[float]
    buy_and_hold: NotRequired[Sequence[float] | None]
    left_out: NotRequired[str | None]


class Document(TypedDict):
    """One backtest. Everything is JSON-able; strings may come from anybody.

    - `payload`: the canonical one. `metrics`: as of `Metrics.as_dict`; figures that are missing
      or None are shown as undefined.
    - `trades`: equally long columns by the names of `Trade`, `symbol` by name, in the order of
      closing; times ms UTC.
    - `curve`: None where no equity was stored: the charts made from it are left out.
    - `versions`, `data`, `result_hash`, `data_fingerprint`: where the result comes from.
    - `bounds`: of `Bounds.as_dict`. `refused`: dropped entry orders by reason. `trust`: the
      trust report. `significance`: `bootstrap` and `random_entry` as dicts. Each may be None
      or missing.
    - `backtest_id`: the number it is stored under.
    """

    payload: dict
    metrics: dict
    trades: dict[str, Sequence]
    curve: Curve | None
    versions: dict
    data: dict
    result_hash: NotRequired[str | None]
    data_fingerprint: NotRequired[str | None]
    bounds: NotRequired[dict | None]
    refused: NotRequired[dict | None]
    trust: NotRequired[dict | None]
    significance: NotRequired[dict | None]
    backtest_id: NotRequired[int | None]


def of_stored(
    stored: StoredResult,
    *,
    buy_and_hold: Sequence[float] | None = None,
    left_out: str | None = None,
) -> Document:
    """The document of a stored backtest; `buy_and_hold` is no part of what is stored, and
    `left_out` says why there is none."""
    curve: Curve | None = None
    if stored.equity is not None:
        curve = {
            "first_open_time": stored.equity.first_open_time_ms,
            "values": stored.equity.equity,
            "buy_and_hold": buy_and_hold,
            "left_out": left_out,
        }
    return {
        "payload": stored.payload,
        "metrics": stored.metrics,
        "trades": stored.trades,
        "curve": curve,
        "versions": stored.versions,
        "data": stored.data_summary,
        "result_hash": stored.result_hash,
        "data_fingerprint": stored.data_fingerprint,
        "bounds": stored.bounds,
        "refused": stored.refused,
        "trust": stored.trust,
        "significance": stored.significance,
        "backtest_id": stored.backtest_id,
    }
