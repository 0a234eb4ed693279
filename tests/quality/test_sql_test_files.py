"""A SQL test file whose header or shape is wrong is refused by name."""

from __future__ import annotations

import pytest

from candlevault.errors import ConfigurationError
from candlevault.quality import sql_tests

GOOD = """-- what: nothing is odd
-- scope: one series, one window
-- severity: fail
-- why: odd things mislead
-- neighbours: assert_b, assert_c
WITH violations AS (
    SELECT 1 AS series_id WHERE %(series_id)s < 0
)
SELECT * FROM violations ORDER BY series_id
"""
OTHER = "\n".join(line for line in GOOD.splitlines() if "neighbours" not in line)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "assert_c.sql").write_text(OTHER)
    (tmp_path / "assert_b.sql").write_text(OTHER.replace("fail", "warn"))
    (tmp_path / "assert_a.sql").write_text(GOOD)
    return tmp_path


def test_tests_are_read_by_name_with_their_headers(folder):
    first, second, third = sql_tests.load(folder)
    assert (first.name, second.name, third.name) == ("assert_a", "assert_b", "assert_c")
    assert first == sql_tests.SqlTest(
        "assert_a", "nothing is odd", "one series, one window", "fail", "odd things mislead",
        ("assert_b", "assert_c"), GOOD,
    )  # fmt: skip
    assert (second.severity, second.neighbours) == ("warn", ())


@pytest.mark.parametrize("key", ["what", "scope", "severity", "why"])
def test_missing_header_line_is_refused(folder, key):
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"-- {key}:"))
    (folder / "assert_a.sql").write_text(text)
    with pytest.raises(ConfigurationError, match=rf"assert_a\.sql: header lacks `-- {key}:`"):
        sql_tests.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("severity: fail", "severity: error", "severity must be fail or warn"),
        ("why: odd things mislead", "why:", "header lacks `-- why:`"),
        ("violations AS (", "offenders AS (", "the last CTE must be named violations"),
        ("FROM violations", "FROM something", "the last CTE must be named violations"),
        ("assert_c", "assert_d", "unknown neighbour assert_d"),
    ],
)
def test_wrong_file_is_refused_naming_file_and_rule(folder, old, new, told):
    (folder / "assert_a.sql").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError, match=rf"assert_a\.sql: {told}"):
        sql_tests.load(folder)


def test_folder_without_tests_is_refused_rather_than_passing_everything(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no SQL test"):
        sql_tests.load(tmp_path)


@pytest.mark.parametrize("test", sql_tests.project_tests(), ids=lambda test: test.name)
def test_project_test_is_bound_to_one_series_and_takes_values_as_parameters_only(test):
    assert test.name.startswith("assert_")
    assert "%(series_id)s" in test.statement
    if "one window" in test.scope:
        assert "%(window_start)s" in test.statement
    assert ";" not in test.statement.partition("WITH ")[2]
