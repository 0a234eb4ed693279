"""The check of a stored series: what it reports, what it records, what stops a run."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candlevault.errors import CheckFailed
from candlevault.quality import sql_tests, suites
from candlevault.quality.check import check
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
SERIES = make.series("1h")
HUNDRED = window("2024-01-01", "2024-01-05T04:00")
VENUE_TIME = ms("2024-01-05T04:01")


def load(connect, missing: list[Window], absences=()):
    """The hundred hours without some, and with known absences."""
    rows = [
        row
        for row in make.walk(HOUR, HUNDRED)
        if not any(hole.contains(row["open_time"]) for hole in missing)
    ]
    return make.store(connect, SERIES, rows, HUNDRED, absences=absences)[0]


def hours(first: int, count: int) -> Window:
    """`count` of the hundred hours from the `first` one on."""
    start = HUNDRED.start_ms + first * HOUR.step_ms
    return Window(start, start + count * HOUR.step_ms)


def names(findings) -> set[str]:
    return {finding.check for finding in findings}


def recorded(connect) -> list[dict[str, object]]:
    with connect() as connection:
        cursor = connection.execute("SELECT * FROM market.data_quality ORDER BY checked_at")
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def test_clean_series_passes_every_check_and_is_recorded_as_such(connect):
    stored = load(connect, [])
    report = check(connect, stored, HUNDRED, VENUE_TIME, "manual__1")
    assert (report.failures, report.warnings) == ([], [])
    report.raise_on_failure()
    suite = suites.suite("stored_month")
    assert report.checks_run == len(sql_tests.project_tests()) + len(suite.expectations)
    [row] = recorded(connect)
    checked_at = row.pop("checked_at")
    assert checked_at is not None
    assert row == {
        "symbol": "BTCUSDT",
        "timeframe": "1h",
        "date_range_start": HUNDRED.start,
        "date_range_end": HUNDRED.end,
        "expected_records": 100,
        "actual_records": 100,
        "missing_records": 0,
        "completeness_percentage": 100,
        "raw_percentage": 100,
        "has_gaps": False,
        "has_anomalies": False,
        "known_absent": 0,
        "failures": [],
        "dag_run_id": "manual__1",
        "venue": "binance",
        "market": "spot",
    }


def test_completeness_is_of_the_obtainable_and_the_raw_share_stands_beside_it(connect):
    outage, lost = hours(20, 20), hours(60, 2)
    absent = make.absence(f"{outage.start:%FT%T}", f"{outage.end:%FT%T}")
    stored = load(connect, [outage, lost], [absent])
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    assert (report.expected, report.stored, report.known_absent, report.lost) == (100, 78, 20, 2)
    assert (report.completeness_percentage, report.raw_percentage) == (97.5, 78.0)
    [row] = recorded(connect)
    assert row["completeness_percentage"] == Decimal("97.5")
    assert row["raw_percentage"] == Decimal("78")
    counts = ("expected_records", "actual_records", "known_absent", "missing_records")
    assert [row[name] for name in counts] == [100, 78, 20, 2]
    assert row["has_gaps"] is True


def test_series_that_was_never_obtainable_is_complete_and_has_no_gap(connect):
    absent = make.absence("2024-01-01", "2024-01-05T04:00", "before_listing")
    stored = load(connect, [HUNDRED], [absent])
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    report.raise_on_failure()
    assert (report.completeness_percentage, report.raw_percentage) == (100.0, 0.0)
    [row] = recorded(connect)
    assert (row["completeness_percentage"], row["raw_percentage"]) == (100, 0)
    assert row["has_gaps"] is False


def test_failure_raises_naming_check_count_and_reason_and_is_recorded_first(connect):
    stored = load(connect, [hours(50, 1)])
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    with pytest.raises(CheckFailed) as raised:
        report.raise_on_failure()
    told = str(raised.value)
    assert told.startswith("BTCUSDT 1h [2024-01-01T00:00:00Z, 2024-01-05T04:00:00Z): ")
    assert "assert_no_missing_open_times: 1 (every expected open_time" in told
    [row] = recorded(connect)
    finding = next(f for f in row["failures"] if f["check"] == "assert_no_missing_open_times")
    assert finding["severity"] == "fail"
    assert finding["samples"][0]["open_time"] == "2024-01-03 02:00:00+00:00"


def test_warning_is_reported_and_recorded_but_does_not_raise_and_is_no_anomaly(connect):
    stored = load(connect, [])
    with connect() as connection:
        connection.execute(
            "UPDATE market.candles_1h SET close_time = open_time + interval '1 minute'"
            " WHERE open_time = '2024-01-03Z'"
        )
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    report.raise_on_failure()
    assert (report.failures, names(report.warnings)) == ([], {"assert_close_times_inside"})
    [row] = recorded(connect)
    assert row["has_anomalies"] is False
    assert [f["severity"] for f in row["failures"]] == ["warn"]


@pytest.mark.parametrize(("part", "seen"), [(hours(40, 20), 1), (hours(60, 40), 0)])
def test_anomaly_is_a_flag_in_the_window_and_no_finding(connect, part, seen):
    rows = make.walk(HOUR, HUNDRED)
    rows[50]["high"] *= 2
    stored, _ = make.store(connect, SERIES, rows, HUNDRED)
    report = check(connect, stored, part, VENUE_TIME)
    assert (report.failures, report.warnings) == ([], [])
    assert report.anomalies == {"spike": seen, "frozen_price": 0, "zero_volume_run": 0}
    [row] = recorded(connect)
    assert row["has_anomalies"] is bool(seen)


@pytest.mark.parametrize("code", ["1h", "1d"])
def test_mismatch_with_other_timeframes_is_written_down_and_warned_of(connect, code):
    rows = make.walk(HOUR, HUNDRED)
    days = make.resample(rows, timeframe("1d"))[:4]
    days[2]["volume"] += 1
    stored = {"1h": make.store(connect, SERIES, rows, HUNDRED)[0]}
    whole = window("2024-01-01", "2024-01-05")
    stored["1d"], _ = make.store(connect, make.series("1d"), days, whole)
    report = check(connect, stored[code], whole, VENUE_TIME, "manual__7")
    report.raise_on_failure()
    assert names(report.warnings) == {"assert_no_open_discrepancies"}
    assert report.rollups.compared == {"1d = 1h": 4}
    assert (report.rollups.open, report.rollups.explained) == (1, 0)
    assert report.rollups.samples[0]["open_time"] == "2024-01-03T00:00:00Z"
    assert json.loads(json.dumps(report.as_dict()))["rollups"]["open"] == 1
    with connect() as connection:
        held = connection.execute("SELECT state, dag_run_id FROM market.discrepancies").fetchall()
    assert held == [("open", "manual__7")]


@pytest.mark.parametrize(("lost", "below"), [(1, False), (2, True)])
def test_month_may_lack_one_percent_of_the_obtainable_and_not_more(connect, lost, below):
    stored = load(connect, [hours(50, lost)])
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    assert ("month_at_least_99_percent" in names(report.failures)) is below
    assert names(report.warnings) == {"nothing_lost"}
    month = next(f for f in report.warnings if f.check == "nothing_lost")
    assert month.samples == ({"month": "2024-01"},)


def test_known_absences_do_not_count_against_the_99_percent(connect):
    outage = hours(20, 60)
    absent = make.absence(f"{outage.start:%FT%T}", f"{outage.end:%FT%T}")
    report = check(connect, load(connect, [outage], [absent]), HUNDRED, VENUE_TIME)
    assert (report.failures, report.warnings) == ([], [])


@pytest.mark.parametrize(
    "part", [hours(10, 20), hours(0, 30), hours(70, 30)], ids=["inside", "head", "tail"]
)
def test_check_of_a_part_of_the_history_passes_and_counts_only_the_part(connect, part):
    report = check(connect, load(connect, []), part, VENUE_TIME)
    assert (report.failures, report.warnings) == ([], [])
    count = (part.end_ms - part.start_ms) // HOUR.step_ms
    assert (report.expected, report.stored) == (count, count)


def test_every_check_is_kept_and_the_defect_it_saw_too(connect):
    stored = load(connect, [hours(50, 1)])
    check(connect, stored, HUNDRED, VENUE_TIME, "first")
    make.store(connect, SERIES, make.walk(HOUR, HUNDRED), HUNDRED)
    check(connect, stored, HUNDRED, VENUE_TIME, "second")
    told = [(row["dag_run_id"], row["missing_records"]) for row in recorded(connect)]
    assert told == [("first", 1), ("second", 0)]


def test_report_is_plain_json_and_keeps_few_samples(connect):
    stored = load(connect, [hours(10, 40)])
    report = check(connect, stored, HUNDRED, VENUE_TIME)
    told = json.loads(json.dumps(report.as_dict()))
    missing = next(f for f in told["failures"] if f["check"] == "assert_no_missing_open_times")
    assert (missing["count"], len(missing["samples"])) == (40, sql_tests.SAMPLES)
