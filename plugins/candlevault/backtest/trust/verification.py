"""Run a stored backtest again and compare it, byte by byte, with what is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from candlevault.backtest import outcomes
from candlevault.backtest import payload as payloads
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.data.reading import Revisions
from candlevault.backtest.trust import touching
from candlevault.errors import CandlevaultError, ColdFileDamaged, DataMissing
from candlevault.storage import backtests
from candlevault.storage.backtests import Outcome, StoredResult
from candlevault.storage.database import Connect

IDENTICAL, SAME_FIGURES, DIFFERENT = "identical", "same figures", "different"
OTHER_VERSION, CANNOT_BE_RUN = "other version", "cannot be run"

_MEANING = ("engine", "strategy", "strategy_source")
"""Versions that change when the same candles and payload may give other figures."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a second run says of a stored one.

    `verdict`: `identical` when every byte of the result and every stored row is the same;
    `same figures` when only versions of code differ, which are part of the result; `other
    version` when the candles are the same and what differs cannot be told from a declared
    change, of the engine or of the strategy; `cannot be run` when the payload is refused or
    breaks down today (a strategy whose file is gone); `different` otherwise. `differences`
    says where, or why it cannot be run; `versions` which code changed (name -> [stored, now]).
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

    Nothing is fetched and nothing written. Candles that cannot be read any more are a
    difference. Raises InvalidRequest for a backtest that has not completed, and errors that
    pass by themselves.
    """
    stored = backtests.stored_result(connect, backtest_id)
    try:
        again = _run(connect, stored)
    except (ColdFileDamaged, DataMissing) as error:
        gone = f"what was read cannot be read any more: {error}"
        return Verdict(backtest_id, DIFFERENT, (gone,), {})
    except CandlevaultError as error:
        if error.transient:
            raise
        return Verdict(backtest_id, CANNOT_BE_RUN, (str(error),), {})
    differences = _differences(stored, again)
    versions = {
        name: [stored.versions.get(name), again.versions.get(name)]
        for name in sorted({*stored.versions, *again.versions})
        if stored.versions.get(name) != again.versions.get(name)
    }
    same_candles = stored.data_fingerprint == again.data_fingerprint
    if differences:
        declared = same_candles and any(name in versions for name in _MEANING)
        verdict = OTHER_VERSION if declared else DIFFERENT
    elif stored.result_hash == again.result_hash:
        verdict = IDENTICAL
    elif versions:
        verdict = SAME_FIGURES
    else:
        verdict, differences = DIFFERENT, ["the hash of the whole result"]
    return Verdict(backtest_id, verdict, tuple(differences), versions)


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many did not come out again and why not, by id, in one line."""
    parts = []
    for verdict, words in (
        (DIFFERENT, "came out different"),
        (OTHER_VERSION, "come from another version of the engine or the strategy"),
        (CANNOT_BE_RUN, "could not be run"),
    ):
        ids = [str(one.backtest_id) for one in verdicts if one.verdict == verdict]
        if ids:
            parts.append(f"{len(ids)} of {len(verdicts)} backtests {words}: {', '.join(ids)}")
    return "; ".join(parts) or f"{len(verdicts)} backtests came out again"


def _run(connect: Connect, stored: StoredResult) -> Outcome:
    """The stored payload on the candles and the funding as they were read then."""
    request = payloads.parse(stored.payload)
    revisions = Revisions.as_read(stored, request.data.as_of)
    return outcomes.produce(connect, request, prepare(connect, request, revisions))


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
    for name in ("metrics", "bounds", "refused", "significance", "data_summary"):
        found += _changed(name, getattr(stored, name), getattr(again, name))
    if stored.trust is not None:
        found += _changed("trust", _lasting(stored.trust), _lasting(again.trust))
    return found


def _lasting(trust: Mapping) -> dict[str, object]:
    """What of a trust report comes out again. Left out are marks on candles, which come and go,
    and what was said of loading, which is not done again (its outcome is in data_summary)."""
    parts = {name: part for name, part in trust.items() if name not in ("data", "touching")}
    data = {name: part for name, part in (trust.get("data") or {}).items() if name != "finer"}
    known = (trust.get("touching") or {}).get(touching.KNOWN_ABSENT)
    return {
        **parts,
        **{f"data.{name}": part for name, part in data.items()},
        f"touching.{touching.KNOWN_ABSENT}": known,
    }


def _changed(name: str, before: Mapping | None, now: Mapping) -> list[str]:
    # What comes back from the database went through JSON: so does what it is compared with.
    now = json.loads(json.dumps(now))
    before = before or {}
    return [
        f"{name}.{key}: stored {before.get(key)}, now {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
