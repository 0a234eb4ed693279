"""The bridge to Great Expectations: load a suite from JSON, validate a DataFrame.

Only this module imports great_expectations, and only when a suite is used: the import
takes seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from candlevault import paths
from candlevault.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

CRITICAL = "critical"
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Broken:
    """An expectation that did not hold: its name and severity, and the rows that broke it."""

    name: str
    severity: str
    why: str
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """A loaded suite: its name, its expectations' names, and the GX object.

    `neighbours` says which others may fail where one does, because a defect of its kind
    cannot come alone.
    """

    name: str
    expectations: tuple[str, ...]
    neighbours: dict[str, tuple[str, ...]]
    gx_suite: Any


@cache
def _batches() -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    # Progress bars of the metrics would fill the task logs.
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("candles").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def load(name: str, folder: Path = paths.EXPECTATIONS) -> Suite:
    """The suite of expectations/NAME.json; raises ConfigurationError naming file and rule.

    Every expectation needs a unique `meta.name`, a `meta.why` and a severity; the optional
    `meta.neighbours` lists names of others. The counts before and after loading are
    compared, because a misspelled expectation type can be dropped without a word.
    """
    import great_expectations as gx

    file = folder / f"{name}.json"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        written = [(entry, entry.get("meta") or {}) for entry in raw["expectations"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"expectations/{file.name}: cannot be read: {error!r}") from error
    names: list[str] = []
    for position, (expectation, meta) in enumerate(written):
        where = f"expectations/{file.name}: expectation {position}"
        if not meta.get("name") or meta["name"] in names:
            raise ConfigurationError(f"{where}: needs a unique meta.name")
        if not meta.get("why"):
            raise ConfigurationError(f"{where} ({meta['name']}): needs meta.why")
        if expectation.get("severity") not in (CRITICAL, WARNING):
            raise ConfigurationError(f"{where} ({meta['name']}): severity critical or warning")
        names.append(meta["name"])
    if not names:
        raise ConfigurationError(f"expectations/{file.name}: holds no expectation")
    neighbours = {meta["name"]: tuple(meta.get("neighbours", ())) for _, meta in written}
    for name, others in neighbours.items():
        if unknown := sorted(set(others) - set(names)):
            raise ConfigurationError(
                f"expectations/{file.name}: {name}: unknown neighbours {', '.join(unknown)}"
            )
    try:
        suite = gx.ExpectationSuite(
            name=raw["name"], expectations=raw["expectations"], meta=raw.get("meta")
        )
    except Exception as error:
        raise ConfigurationError(f"expectations/{file.name}: {error}") from error
    if len(suite.expectations) != len(names):
        raise ConfigurationError(
            f"expectations/{file.name}: {len(names)} expectations written, "
            f"{len(suite.expectations)} loaded: a type is misspelled"
        )
    return Suite(raw["name"], tuple(names), neighbours, suite)


@cache
def suite(name: str) -> Suite:
    """The project's suite NAME, loaded once a process."""
    return load(name)


def validate(
    frame: pd.DataFrame, judged_by: Suite, parameters: dict[str, object] | None = None
) -> list[Broken]:
    """The expectations that do not hold, in the suite's order; empty when all do.

    Asks for a bare yes or no first; only a failure is looked at row by row. `rows` are
    positions in `frame`, which must have a default index.
    """
    batch = _batches().get_batch(batch_parameters={"dataframe": frame})
    arguments = {"expectation_parameters": parameters or {}}
    if _holds(batch.validate(judged_by.gx_suite, result_format="BOOLEAN_ONLY", **arguments)):
        return []
    detailed = batch.validate(
        judged_by.gx_suite, result_format={"result_format": "COMPLETE"}, **arguments
    )
    _holds(detailed)
    broken = {}
    for result in detailed.results:
        if not result.success:
            config = result.expectation_config
            rows = tuple(int(row) for row in result.result.get("unexpected_index_list") or ())
            broken[config.meta["name"]] = Broken(
                name=config.meta["name"],
                severity=str(getattr(config.severity, "value", config.severity)),
                why=config.meta["why"],
                count=int(result.result.get("unexpected_count") or len(rows)),
                rows=rows,
            )
    return [broken[name] for name in judged_by.expectations if name in broken]


def _holds(outcome: Any) -> bool:
    for result in outcome.results:
        trouble = result.exception_info or {}
        flat = [trouble] if "raised_exception" in trouble else list(trouble.values())
        for info in flat:
            if isinstance(info, dict) and info.get("raised_exception"):
                raise ConfigurationError(
                    f"expectation {result.expectation_config.meta.get('name')} cannot be"
                    f" evaluated: {str(info.get('exception_message'))[:300]}"
                )
    return bool(outcome.success)
