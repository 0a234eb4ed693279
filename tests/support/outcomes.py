"""Outcomes of backtests that never ran, for tests of what is stored of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from candlevault.storage.backtests import EquityCurve, Outcome, Read

NAMES = (
    "symbol", "side", "signal_time", "entry_time", "exit_time", "entry_price", "exit_price",
    "quantity", "entry_fee", "exit_fee", "funding", "pnl", "return_pct", "bars_held",
    "exit_reason", "entry_order", "ambiguous", "mae_pct", "mfe_pct",
)  # fmt: skip
USUAL = {"symbol": "BTCUSDT", "funding": 0.0, "entry_order": "market"}


def outcome(
    reads: Iterable[Read],
    metrics: Mapping[str, object],
    trades: Iterable[Mapping[str, object]] = (),
) -> Outcome:
    """An outcome that has read `reads`; trades by name, the usual values may be left out."""
    rows = [USUAL | dict(trade) for trade in trades]
    return Outcome(
        trades={name: [row[name] for row in rows] for name in NAMES},
        equity=EquityCurve(0, "1h", [1.0], [0.0]),
        metrics=metrics,
        bounds={},
        refused={},
        trust={},
        significance={},
        versions={},
        data_summary={},
        data_fingerprint="f" * 64,
        reads=list(reads),
        result_hash="a" * 64,
    )
