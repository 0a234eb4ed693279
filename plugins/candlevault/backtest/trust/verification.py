"""Run a stored backtest again and compare it, byte by byte, with what is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from candlevault.backtest import outcomes
from candlevault.backtest import payload as payloads
from candlevault.backtest.data.preparation import Prepared, prepare
from candlevault.backtest.data.reading import Revisions
from candlevault.backtest.metrics.buy_and_hold import curve as buy_and_hold_curve
from candlevault.backtest.payload import BacktestRequest
from candlevault.storage import backtests
from candlevault.storage.backtests import Outcome, StoredResult
from candlevault.storage.database import Connect

IDENTICAL, SAME_FIGURES, DIFFERENT = "identical", "same figures", "different"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a second run says of a stored one.

    `verdict`: `identical` when every byte of the result and every stored row is the same;
    `same figures` when only versions of code differ, which are part of the result;
    `different` otherwise. `differences` says where, `versions` which code changed
    (name -> [stored, now]).
    """

    backtest_id: int
    verdict: str
    differences: tuple[str, ...]
    versions: dict[str, list[str | None]]

    def as_dict(self) -> dict[str, object]:
        """The verdict, JSON-able."""
        return asdict(self) | {"differences": list(self.differences)}


def verify(connect: Connect, backtest_id: int) -> Verdict:
    """Run the stored payload on the stored revisions and compare.

    Nothing is fetched and nothing written. Raises InvalidRequest for a backtest that has not
    completed, and what reading and running raise (a damaged cold file, a missing strategy).
    """
    stored = backtests.stored_result(connect, backtest_id)
    request, prepared = _prepared(connect, stored)
    again = outcomes.produce(connect, request, prepared)
    differences = _differences(stored, again)
    versions = {
        name: [stored.versions.get(name), again.versions.get(name)]
        for name in sorted({*stored.versions, *again.versions})
        if stored.versions.get(name) != again.versions.get(name)
    }
    if differences:
        verdict = DIFFERENT
    elif stored.result_hash == again.result_hash:
        verdict = IDENTICAL
    elif versions:
        verdict = SAME_FIGURES
    else:
        verdict, differences = DIFFERENT, ["the hash of the whole result"]
    return Verdict(backtest_id, verdict, tuple(differences), versions)


def buy_and_hold(connect: Connect, stored: StoredResult) -> list[float]:
    """Equity in quote of holding the symbols instead, one value a row of the stored curve."""
    request, prepared = _prepared(connect, stored)
    return buy_and_hold_curve(prepared.inputs.stage, request.settings).tolist()


def _prepared(connect: Connect, stored: StoredResult) -> tuple[BacktestRequest, Prepared]:
    """The stored payload with the candles and the funding as they were read then."""
    request = payloads.parse(stored.payload)
    paid_as_of = ((stored.trust or {}).get("data") or {}).get("funding_as_of")
    revisions = Revisions(
        request.data.as_of,
        {read.series_id: read.revision for read in stored.reads},
        None if paid_as_of is None else datetime.fromisoformat(paid_as_of),
    )
    return request, prepare(connect, request, revisions)


def _differences(stored: StoredResult, again: Outcome) -> list[str]:
    found = []
    if stored.data_fingerprint != again.data_fingerprint:
        found.append("the candles that were read")
    for name in stored.trades:
        before, now = stored.trades[name], list(again.trades[name])
        if len(before) != len(now):
            return [*found, f"{len(before)} trades are stored, {len(now)} come out"]
        rows = [row for row, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1]]
        if rows:
            found.append(
                f"{name} of trade {rows[0] + 1}: stored {before[rows[0]]}, now {now[rows[0]]}"
                + (f" (and {len(rows) - 1} more)" if len(rows) > 1 else "")
            )
    if stored.equity is None or list(stored.equity.equity) != list(again.equity.equity):
        found.append("the equity curve")
    elif list(stored.equity.drawdown_pct) != list(again.equity.drawdown_pct):
        found.append("the drawdown curve")
    for name in ("metrics", "bounds", "refused", "significance"):
        found += _changed(name, getattr(stored, name), getattr(again, name))
    return found


def _changed(name: str, before: Mapping | None, now: Mapping) -> list[str]:
    # What comes back from the database went through JSON: so does what it is compared with.
    now = json.loads(json.dumps(now))
    before = before or {}
    return [
        f"{name}.{key}: stored {before.get(key)}, now {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]

