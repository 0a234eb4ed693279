"""A suite file that is wrong is refused by name; none of its expectations is lost quietly."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from candlevault import paths
from candlevault.errors import ConfigurationError
from candlevault.quality import suites

GOOD = {
    "name": "made",
    "expectations": [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "open"},
            "severity": "critical",
            "meta": {"name": "open_present", "why": "a candle has an open"},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "open", "min_value": 0},
            "severity": "warning",
            "meta": {"name": "open_positive", "why": "prices are", "neighbours": ["open_present"]},
        },
    ],
}


def written(folder: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "made.json").write_text(text, encoding="utf-8")
    return folder


def changed(**changes: object) -> dict:
    """The good suite with keys of its second expectation replaced, or removed if None."""
    suite = copy.deepcopy(GOOD)
    second = suite["expectations"][1]
    meta = second["meta"] | changes.pop("meta", {})
    second |= changes | {"meta": {key: value for key, value in meta.items() if value is not None}}
    suite["expectations"][1] = {k: v for k, v in second.items() if v is not None}
    return suite


def test_good_suite_is_loaded_whole(tmp_path):
    suite = suites.load("made", written(tmp_path, GOOD))
    assert suite.expectations == ("open_present", "open_positive")
    assert suite.neighbours == {"open_present": (), "open_positive": ("open_present",)}
    assert len(suite.gx_suite.expectations) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (changed(type="expect_column_values_to_be_betwen"), "betwen|misspelled"),
        (changed(type=None), "type"),
        (changed(kwargs={"column": "open", "minimum": 0}), "minimum"),
        (changed(kwargs={}), "column"),
        (changed(severity=None), r"expectation 1 \(open_positive\): severity"),
        (changed(severity="info"), r"expectation 1 \(open_positive\): severity"),
        (changed(meta={"name": None}), "expectation 1: needs a unique meta.name"),
        (changed(meta={"name": "open_present"}), "expectation 1: needs a unique meta.name"),
        (changed(meta={"why": None}), r"expectation 1 \(open_positive\): needs meta.why"),
        (changed(meta={"neighbours": ["open_presnt"]}), "unknown neighbours open_presnt"),
        (GOOD | {"expectations": []}, "holds no expectation"),
        ({"name": "made"}, "cannot be read"),
        ({"expectations": GOOD["expectations"]}, "name"),
        ([GOOD], "cannot be read"),
        (GOOD | {"expectations": ["expect_column_to_exist"]}, "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_wrong_suite_is_refused_naming_file_and_rule(tmp_path, content, told):
    with pytest.raises(ConfigurationError, match=rf"(?s)^expectations/made\.json: .*({told})"):
        suites.load("made", written(tmp_path, content))


def test_missing_suite_is_refused_naming_the_file(tmp_path):
    with pytest.raises(ConfigurationError, match=r"expectations/made\.json: cannot be read"):
        suites.load("made", tmp_path)


def test_expectation_on_a_column_that_is_not_there_is_an_error_not_a_pass(tmp_path):
    import pandas as pd

    suite = suites.load("made", written(tmp_path, GOOD))
    with pytest.raises(ConfigurationError, match="open_present cannot be evaluated"):
        suites.validate(pd.DataFrame({"close": [1.0]}), suite)


@pytest.mark.parametrize("file", sorted(paths.EXPECTATIONS.glob("*.json")), ids=lambda f: f.stem)
def test_project_suite_loads_and_is_named_as_its_file(file):
    suite = suites.suite(file.stem)
    assert suite.name == file.stem
    assert len(suite.expectations) == file.read_text(encoding="utf-8").count('"type":')
