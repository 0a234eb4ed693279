"""Writing a set of candles as files of a format, with a sidecar that tells what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from candlevault.errors import DataMissing, InvalidRequest
from candlevault.export import sidecar
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format
from candlevault.export.formats.registry import get
from candlevault.export.sidecar import DataFile, Sidecar
from candlevault.export.stage import Stage, locked, sha256_of

_NAMED_WINDOWS = 5


@dataclass(frozen=True, slots=True)
class Written:
    """An export: its sidecar and its data files. `unchanged`: it was there already."""

    sidecar: Path
    files: tuple[Path, ...]
    rows: int
    unchanged: bool


def write(
    candle_set: CandleSet,
    format: str,
    out: str | Path,
    *,
    allow_lost: bool = False,
    overwrite: bool = False,
    options: Mapping[str, object] | None = None,
) -> Written:
    """Write `candle_set` as files of `format` below the folder `out`, made where missing.

    Files appear whole or not at all, the sidecar first; a killed export is completed by the
    same call. What is there already with the same content is left alone.

    Raises DataMissing when candles are lost (unless `allow_lost`) or none is stored, and
    InvalidRequest for a format that cannot hold the series, a wrong option, or a target that
    holds something else (unless `overwrite`, which also removes the files of the export
    that is replaced, and no others).
    """
    chosen = get(format)
    settled = chosen.settle(options or {})
    chosen.refuse_unfit(candle_set.series)
    _refuse_missing(candle_set, allow_lost)
    root = Path(out)
    if root.exists() and not root.is_dir():
        raise InvalidRequest("out", "must be a folder", out)
    with locked(root):
        return _write(candle_set, chosen, settled, root, overwrite)


def _write(
    candle_set: CandleSet,
    chosen: Format,
    options: dict[str, object],
    root: Path,
    overwrite: bool,
) -> Written:
    beside = sidecar.name_for(candle_set, chosen.name)
    planned = Sidecar(chosen.name, options, candle_set.facts())
    former = _former(root / beside, overwrite)
    same = former is not None and former.identity == planned.identity
    owned = frozenset(file.path for file in former.files) if former else frozenset()
    stage = Stage(root, owned)
    stage.sweep(owned)
    if former is not None and same:
        wrong = sidecar.problems(former, root)
        if not wrong:
            files = tuple(root / file.path for file in former.files)
            return Written(root / beside, files, len(candle_set), unchanged=True)
        if not overwrite and not all(problem.missing for problem in wrong):
            _refuse(root / wrong[0].path, f"{wrong[0].what}, says {beside}")
    elif former is not None and not overwrite:
        _refuse(root / beside, f"holds {former.describe()}")

    try:
        chosen.write(candle_set, stage, options)
        names = stage.names
        stage.seal()
        files = tuple(_described(stage, name) for name in names)
        if not overwrite:
            for file in files:
                target = root / file.path
                if target.exists() and sha256_of(target) != file.sha256 and not same:
                    _refuse(target, "exists and is not of this export")
        stage.file(beside).write_text(replace(planned, files=files).text(), encoding="utf-8")
        stage.seal()
        for name in sorted(owned - set(names)):
            (root / name).unlink(missing_ok=True)
        # First the sidecar: whatever happens now, the same call knows the files as its own.
        stage.publish([beside])
        stage.publish(names)
    finally:
        stage.discard()
    return Written(
        root / beside, tuple(root / name for name in names), len(candle_set), unchanged=False
    )


def _former(path: Path, overwrite: bool) -> Sidecar | None:
    """The sidecar that is there; an unreadable one counts as none if it may be overwritten."""
    if not path.exists():
        return None
    try:
        return sidecar.load(path)
    except InvalidRequest:
        if overwrite:
            return None
        raise


def _described(stage: Stage, name: str) -> DataFile:
    part = stage.part(name)
    return DataFile(name, part.stat().st_size, sha256_of(part))


def _refuse(target: Path, why: str) -> None:
    raise InvalidRequest("out", f"{target} {why}; say overwrite to replace it")


def _refuse_missing(candle_set: CandleSet, allow_lost: bool) -> None:
    series, window = candle_set.series, candle_set.window
    lost = candle_set.lost
    if lost and not allow_lost:
        named = ", ".join(str(hole) for hole in lost[:_NAMED_WINDOWS])
        more = f" and {len(lost) - _NAMED_WINDOWS} more" if len(lost) > _NAMED_WINDOWS else ""
        raise DataMissing(
            f"{series}: candles are lost in {named}{more}: run gap_fill__{series.slug} or"
            f" backfill__{series.slug}, or allow lost candles"
        )
    if len(candle_set) == 0:
        raise DataMissing(f"{series}: no candle is stored in {window}")
