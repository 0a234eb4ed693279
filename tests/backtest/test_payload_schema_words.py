"""Every field of both schemas explains itself: for the form, REST and the documentation."""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema
import pytest

from candlevault.backtest import payload
from candlevault.backtest.search import schema as sweep
from candlevault.backtest.strategies import registry

DOCUMENTS = {"backtest": payload.document, "sweep": sweep.document}


def declared(schema: object, path: str = "") -> Iterator[tuple[str, dict]]:
    """Every property that is declared anywhere in a schema, with its path.

    What `if` and `then` say of a property that stands beside them is a condition on it.
    """
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from declared(part, f"{path}[{number}]")
    if not isinstance(schema, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from declared(inner, f"{path}.{name}")
    for word in ("items", "additionalProperties", "oneOf", "anyOf", "$defs"):
        yield from declared(schema.get(word), f"{path}.{word}")
    for name, inner in schema.get("$defs", {}).items():
        yield from declared(inner, f"{path}.{name}")
    for rule in schema.get("allOf", ()):
        for name, inner in rule["then"].get("properties", {}).items():
            yield from declared(inner, f"{path}.{name}")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_property_has_a_description_and_an_example_or_a_default(name):
    found = dict(declared(DOCUMENTS[name]()))
    assert len(found) > 200
    for path, schema in found.items():
        assert schema.get("description"), path
        assert schema.get("examples") or "default" in schema, path


def test_the_settings_of_every_strategy_have_an_example_that_it_takes():
    for strategy in registry.builtin().values():
        schema = strategy.params_schema
        assert schema["examples"], strategy.name
        for example in schema["examples"]:
            jsonschema.Draft202012Validator(schema).validate(example)
            strategy.parse_params(example)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_example_is_what_its_property_takes(name):
    document = DOCUMENTS[name]()
    for path, schema in declared(document):
        if "$ref" in schema or "#/$defs" in str(schema):
            continue  # The examples of all rules are read by test_rules_reading.
        for example in schema.get("examples", ()):
            assert jsonschema.Draft202012Validator(schema).is_valid(example), (path, example)


def test_rules_between_settings_are_in_the_words():
    words = registry.get("sma_cross").params_schema["description"]
    assert words.endswith("fast must be smaller than slow.")
