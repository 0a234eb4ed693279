"""docs/payload.md is what the schemas say, and leads somewhere."""

from __future__ import annotations

import json
import re

from candlevault import paths
from candlevault.backtest import __main__ as command
from candlevault.backtest import payload, payload_page
from candlevault.backtest.payload import tables
from candlevault.backtest.search import schema as sweep
from candlevault.backtest.strategies import registry

DOCS = paths.PROJECT / "docs"
PAGE = (DOCS / "payload.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_page_is_current():
    # python -m candlevault.backtest schema --markdown > docs/payload.md
    assert payload_page.page() == PAGE


def test_the_command_prints_the_page(capsys):
    assert command.main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE


def test_every_row_has_all_its_cells():
    assert {len(row) for row in rows(PAGE)} == {5}


def test_every_field_at_every_depth_has_a_row():
    named = {row[0].strip("[*").split("`")[1] for row in rows(PAGE) if "`" in row[0]}

    def paths_of(properties, above=""):
        for name, schema in properties.items():
            yield f"{above}{name}"
            yield from paths_of(schema.get("properties", {}), f"{above}{name}.")

    for schema in payload.properties().values():
        assert set(paths_of(schema.get("properties", {}))) <= named
    for name in ("search", "walk_forward"):
        assert set(paths_of(sweep.properties()[name]["properties"])) <= named
    assert set(payload.properties()) | set(sweep.properties()) <= named
    for strategy in registry.builtin().values():
        assert {strategy.name, *strategy.params_schema["properties"]} <= named


def test_links_on_the_page_and_to_it_lead_somewhere():
    headings = set(re.findall(r"^### (\w+)$", PAGE, re.M))
    assert set(re.findall(r"\]\(#(\w+)\)", PAGE)) == headings
    assert "(docs/payload.md)" in (paths.PROJECT / "README.md").read_text(encoding="utf-8")
    assert "(payload.md)" in (DOCS / "backtests.md").read_text(encoding="utf-8")


def test_words_of_a_strategy_cannot_break_a_table():
    schema = {
        "a": {
            "type": "string",
            "description": "one | two\n<b>three</b> ![x](http://y)",
            "default": "`|`",
        }
    }
    (_, _, row) = rows(tables.fields(schema))
    assert row == [
        "`a`",
        "string",
        r"`\|`",
        "–",
        r"one \| two \<b>three\</b> !\[x](http://y)",
    ]


def test_types_ranges_and_defaults_are_told():
    properties = {
        "part": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1, "default": None},
        "bars": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "rate": {"type": "number", "minimum": 0, "exclusiveMaximum": 0.5, "default": 0.001},
        "word": {"type": ["null", "string"], "enum": [None, "a", "b"], "default": "a"},
        "list": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": 3_000_000_000,
            "default": [],
        },
        "when": {"type": "string", "format": "date-time", "x-rule": "must be a time"},
    }
    for schema in properties.values():
        schema["description"] = "."
    told = {row[0]: row[1:4] for row in rows(tables.fields(properties, ["bars"]))[2:]}
    assert told == {
        "`part`": ["number or null", "null", "above 0, at most 1"],
        "`bars`": ["integer", "required", "1 to 10,000"],
        "`rate`": ["number", "0.001", "at least 0, below 0.5"],
        "`word`": ["string or null", "a", "null, a, b"],
        "`list`": ["array of strings", r"\[]", "at most 3e9 of them"],
        "`when`": ["time", "–", "a time"],
    }


def test_no_example_is_wider_than_the_form():
    blocks = re.findall(r"```json\n(.*?)\n```", payload_page.page(), re.S)
    assert len(blocks) > 8
    for block in blocks:
        json.loads(block)
        assert max(map(len, block.splitlines())) < 75, block
