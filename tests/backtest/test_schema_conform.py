"""The checker of payloads: what a schema leaves open is bounded, whatever is sent."""

from __future__ import annotations

import pytest

from candlevault.backtest.schema import conform, nearest, place, require_kind, suggestion
from candlevault.errors import InvalidRequest

OPEN = {"type": "object"}
REFERENCE = {"$ref": "#/$defs/anything"}


def refusal(value, schema, field="params") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        conform(value, schema, field)
    return caught.value


def nested(levels: int, value=1):
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [3, "text", None, True, [1, {"a": [2]}], {"a": {"b": []}}])
def test_what_stands_behind_a_reference_is_taken_as_it_is(value):
    assert conform(value, REFERENCE, "field") == value


def test_what_is_left_open_shares_nothing_with_the_input():
    given = {"a": [1, {"b": 2}], "c": (3, 4)}
    for schema in (OPEN, REFERENCE):
        answer = conform(given, schema, "params")
        assert answer == {"a": [1, {"b": 2}], "c": [3, 4]}
        answer["a"][1]["b"] = 5
        assert given["a"][1]["b"] == 2
    items = [[1], [2]]
    answer = conform(items, {"type": "array"}, "params")
    answer[0].append(9)
    assert items == [[1], [2]]


@pytest.mark.parametrize("schema", [OPEN, REFERENCE])
def test_depth_is_limited_long_before_python_gives_up(schema):
    assert conform({"a": nested(63)}, schema, "params") == {"a": nested(63)}
    for levels in (64, 500, 100_000):
        error = refusal({"a": nested(levels)}, schema)
        assert error.field == "params"
        assert "deeper than 64 levels" in error.rule


@pytest.mark.parametrize("schema", [OPEN, REFERENCE])
def test_size_is_limited(schema):
    # the object, the array and what it holds
    assert len(conform({"a": [0] * 9_998}, schema, "params")["a"]) == 9_998
    error = refusal({"a": [0] * 9_999}, schema)
    assert "more than 10000 values" in error.rule
    assert "10000 values" in refusal({"a": [[{}] * 1_000] * 1_000}, schema).rule


def test_arrays_without_a_schema_of_their_items_are_limited_too():
    assert "deeper than 64" in refusal(nested(1_000), {"type": "array"}).rule
    assert "10000 values" in refusal([0] * 10_001, {"type": "array"}).rule


def test_a_small_input_that_unfolds_without_end_is_refused():
    laughs = ["ha"]
    for _ in range(40):
        laughs = [laughs, laughs]
    assert "10000 values" in refusal({"a": laughs}, OPEN).rule


@pytest.mark.parametrize(
    "value",
    [nested(100_000), {"a": nested(100_000)}, 10**5_000],
    ids=["deep array", "deep object", "long number"],
)
def test_the_error_for_a_wrong_type_survives_any_value(value):
    error = refusal(value, {"type": "string"})
    assert error.value is None
    assert "must be a string, not " in str(error)


def test_the_error_for_a_number_out_of_range_survives_any_number():
    schema = {"type": "integer", "minimum": 1, "maximum": 9}
    assert "at least 1 and at most 9" in str(refusal(10**5_000, schema))
    assert refusal(10, schema).value == 10


def test_long_keys_are_cut_in_the_error():
    error = refusal({"k" * 1_000_000: 1}, {"type": "object", "properties": {"key": {}}})
    assert len(error.field) == len("params.") + 80
    assert error.field.startswith("params.kkk")


def test_a_name_is_suggested_only_where_one_is_near():
    assert nearest("CrossesAbove", ["crosses_above", "above"]) == "crosses_above"
    # comparing takes time that grows with the name
    assert nearest("x" * 80, ["x" * 80]) == "x" * 80
    assert nearest("x" * 81, ["x" * 81]) is None
    assert suggestion("abov", ["above"]) == "; did you mean above?"
    assert suggestion("moon", ["above"]) == ""


def test_places_are_dotted_and_begin_without_a_dot():
    assert place("a.b", "c") == "a.b.c"
    assert place("", "c") == "c"
    assert place("a", 3) == "a.3"


def test_kinds_are_those_of_json():
    assert require_kind(3, ("number", "string"), "f") == "number"
    assert require_kind(3.0, "integer", "f") == "integer"
    assert require_kind("3", ("number", "string"), "f") == "string"
    with pytest.raises(InvalidRequest, match="must be a number or a string, not a boolean"):
        require_kind(True, ("number", "string"), "f")
