"""The reference of both payloads as one page: what docs/payload.md holds."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.backtest import payload
from candlevault.backtest.payload import tables
from candlevault.backtest.search import schema as sweep
from candlevault.backtest.strategies import registry

_OPENING = """\
# Payloads

The configuration of a run of the DAGs `backtest` and `sweep`, field by field. This page, the
trigger forms in Airflow's UI and the check of a payload are all made from the same two JSON
schemas: `python -m candlevault.backtest schema` and `python -m candlevault.backtest schema sweep`
print them, `python -m candlevault.backtest schema --markdown` prints this page.

Times are ISO 8601 with `Z` or an offset. Fields that end in `_pct` are percent (0–100), rates and
parts are 0–1. What is left out has its default; `–` means that there is none and that the field
may be missing. An unknown field is refused by name.
"""


def page() -> str:
    """The page in Markdown, with the built-in strategies."""
    builtin = registry.builtin().values()
    backtest, search = payload.document(builtin), sweep.document(builtin)
    of_sweep = dict(search["properties"])
    # Its fields are those of the chapter before.
    of_sweep["backtest"] = {**of_sweep["backtest"], "properties": {}}
    chapters = [
        _OPENING,
        _chapter("A backtest", backtest, backtest["properties"]),
        _chapter("A sweep", search, of_sweep),
    ]
    return "\n".join(chapters)


def _chapter(title: str, document: Mapping, properties: Mapping[str, Mapping]) -> str:
    objects = [name for name, schema in properties.items() if schema.get("properties")]
    parts = [
        f"## {title}",
        document["description"],
        tables.fields(properties, document["required"], deep=False, links=objects),
    ]
    parts += [tables.example(one) for one in document["examples"]]
    for name in objects:
        parts += [f"### {name}", tables.described(properties[name])]
    return "\n\n".join(parts) + "\n"
