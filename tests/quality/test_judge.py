"""What becomes of the rows of a batch: accepted, collapsed, or rejected with all reasons."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from candlevault import candles
from candlevault.errors import ConfigurationError
from candlevault.quality import judge as judging
from candlevault.quality import suites
from candlevault.quality.judge import MAX_ROWS, judge
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
SERIES = make.series("1h")
DAY = window("2024-02-01", "2024-02-02")


def judged(rows, span=DAY, closed_before=None, fetches=None):
    return judge(
        make.table(rows),
        fetches or [make.fetch(SERIES)],
        SERIES,
        span,
        span.end_ms if closed_before is None else closed_before,
    )


def times(table: pa.Table) -> list[int]:
    return candles.open_times(table).tolist()


def reasons(outcome) -> dict[int, tuple[str, ...]]:
    return {row.open_time_ms: row.reasons for row in outcome.rejected}


def test_empty_batch_is_judged_empty():
    outcome = judged([])
    assert outcome.accepted.equals(candles.empty())
    assert outcome.rejected == []


def test_good_rows_are_accepted_with_every_digit():
    rows = make.rows(HOUR, DAY)
    rows[3]["close"] = Decimal("104.12345678")
    outcome = judged(rows)
    assert outcome.accepted.equals(make.table(rows))
    assert outcome.rejected == []


def test_rows_out_of_order_are_accepted_ascending():
    rows = make.rows(HOUR, DAY)
    assert judged(rows[::-1]).accepted.equals(make.table(rows))


def test_bad_row_tells_all_its_reasons_and_where_it_came_from():
    rows = make.rows(HOUR, DAY)
    rows[5] |= {"low": Decimal(-1), "close": Decimal("999.5"), "trades_count": -2}
    source = make.fetch(SERIES)
    outcome = judged(rows, fetches=[source])
    [refused] = outcome.rejected
    assert refused.reasons == ("low_positive", "high_at_least_close", "trades_countable")
    assert refused.open_time_ms == rows[5]["open_time"]
    assert refused.url == source.url
    assert refused.row["close"] == "999.50000000"
    assert "source" not in refused.row
    assert times(outcome.accepted) == [r["open_time"] for r in rows if r is not rows[5]]


def test_identical_duplicates_collapse_into_one_accepted_row_and_are_told():
    rows = make.rows(HOUR, DAY)
    again = [row | {"source": 1} for row in (*rows[:3], rows[1])]
    outcome = judged(rows + again, fetches=[make.fetch(SERIES), make.fetch(SERIES)])
    assert outcome.accepted.equals(make.table(rows))
    assert outcome.rejected == []
    assert outcome.repeated == tuple(rows[k]["open_time"] for k in (0, 1, 1, 2))


def test_of_three_rows_two_that_are_equal_count_as_one_repetition():
    rows = make.rows(HOUR, DAY)
    outcome = judged([*rows, rows[5], rows[5] | {"trades_count": 8}])
    assert outcome.repeated == (rows[5]["open_time"],)
    assert [row.reasons for row in outcome.rejected] == [("open_time_unique",)] * 2


def test_rows_in_order_that_come_once_repeat_nothing():
    assert judged(make.rows(HOUR, DAY)).repeated == ()


def test_rows_of_one_open_time_that_differ_in_any_value_are_both_rejected():
    rows = make.rows(HOUR, DAY)
    others = []
    for row, column in zip(rows, candles.VALUES, strict=False):
        other = row | {"source": 1}
        other[column] -= 1 if column in ("close_time", "trades_count") else Decimal("0.00000001")
        others.append(other)
    fetches = [make.fetch(SERIES), make.fetch(SERIES)]
    outcome = judged(rows + others, fetches=fetches)
    assert {row.reasons for row in outcome.rejected} == {("open_time_unique",)}
    assert sorted((row.open_time_ms, row.url) for row in outcome.rejected) == sorted(
        (other["open_time"], fetch.url) for other in others for fetch in fetches
    )
    assert times(outcome.accepted) == [row["open_time"] for row in rows[len(others) :]]


def test_window_is_half_open_and_a_candle_closes_at_its_end():
    rows = make.rows(HOUR, window("2024-01-31T22:00", "2024-02-02T02:00"))
    outcome = judged(rows, closed_before=ms("2024-02-01T12:00"))
    first, last = ms("2024-02-01"), ms("2024-02-01T11:00")
    assert times(outcome.accepted) == list(range(first, last + 1, HOUR.step_ms))
    told = reasons(outcome)
    assert told[first - HOUR.step_ms] == ("open_time_in_window",)
    assert told[last + HOUR.step_ms] == ("closed",)
    assert told[DAY.end_ms] == ("open_time_in_window", "closed")


def test_forming_candle_is_rejected_a_millisecond_before_its_end():
    rows = make.rows(HOUR, window("2024-02-01", "2024-02-01T01:00"))
    end = ms("2024-02-01T01:00")
    assert reasons(judged(rows, closed_before=end - 1)) == {DAY.start_ms: ("closed",)}
    assert judged(rows, closed_before=end).accepted.num_rows == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"symbol": "ETHUSDT"}, "right_symbol"), ({"timeframe": "4h"}, "right_timeframe")],
)
def test_rows_of_a_fetch_about_another_series_are_rejected_and_only_those(wrong, reason):
    rows = make.rows(HOUR, DAY)
    for row in rows[::2]:
        row["source"] = 1
    outcome = judged(rows, fetches=[make.fetch(SERIES), make.fetch(SERIES, **wrong)])
    assert reasons(outcome) == {row["open_time"]: (reason,) for row in rows[::2]}
    assert times(outcome.accepted) == [row["open_time"] for row in rows[1::2]]


def test_week_opens_on_monday():
    week, of_week = timeframe("1w"), make.series("1w")
    span = window("2024-01-01", "2024-02-05")
    rows = [
        make.row(week, ms("2024-01-08")),
        make.row(week, ms("2024-01-18")),
    ]
    outcome = judge(make.table(rows), [make.fetch(of_week)], of_week, span, span.end_ms)
    assert times(outcome.accepted) == [ms("2024-01-08")]
    assert reasons(outcome) == {ms("2024-01-18"): ("open_time_on_grid",)}


def test_candle_cut_off_by_an_outage_is_accepted():
    rows = make.rows(HOUR, DAY)
    rows[7]["close_time"] = rows[7]["open_time"] + 2_132_286
    assert judged(rows).accepted.equals(make.table(rows))


def many(count: int) -> pa.Table:
    """So many good hourly candles since 2020, without an object per value."""
    span = Window(ms("2020-01-01"), ms("2020-01-01") + count * HOUR.step_ms)
    opened = np.arange(span.start_ms, span.end_ms, HOUR.step_ms)
    one = make.table([make.row(HOUR, 0)])
    table = one.take(pa.array(np.zeros(count, dtype=np.int64)))
    for name, values in (("open_time", opened), ("close_time", opened + HOUR.step_ms - 1)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def with_zero_low(table: pa.Table, rows: list[int]) -> pa.Table:
    """The table with a low of zero in these rows."""
    low = table["low"].to_numpy(zero_copy_only=False).copy()
    low[rows] = Decimal(0)
    at = table.schema.get_field_index("low")
    return table.set_column(at, "low", pa.array(low, candles.PRICE))


def test_more_rows_than_are_judged_at_once_are_rejected_by_their_own_row():
    table = with_zero_low(many(MAX_ROWS + 1), [10, MAX_ROWS - 1, MAX_ROWS])
    opened = times(table)
    span = Window(opened[0], opened[-1] + HOUR.step_ms)
    outcome = judge(table, [make.fetch(SERIES)], SERIES, span, span.end_ms)
    assert reasons(outcome) == {
        opened[row]: ("low_positive",) for row in (10, MAX_ROWS - 1, MAX_ROWS)
    }
    expected = [t for i, t in enumerate(opened) if i not in (10, MAX_ROWS - 1, MAX_ROWS)]
    assert times(outcome.accepted) == expected


def test_conflicting_rows_are_both_rejected_where_a_part_would_end_between_them(monkeypatch):
    monkeypatch.setattr(judging, "MAX_ROWS", 3)
    rows = make.rows(HOUR, window("2024-02-01", "2024-02-01T06:00"))
    other = rows[2] | {"trades_count": 8}
    outcome = judged([*rows, other])
    assert [row.reasons for row in outcome.rejected] == [("open_time_unique",)] * 2
    assert times(outcome.accepted) == [r["open_time"] for i, r in enumerate(rows) if i != 2]


def test_expectation_that_refuses_no_single_row_is_an_error_not_a_pass(monkeypatch, tmp_path):
    counting = {
        "type": "expect_table_row_count_to_equal",
        "kwargs": {"value": 7},
        "severity": "critical",
        "meta": {"name": "seven_rows", "why": "it cannot say which row is too many"},
    }
    suite = {"name": "incoming_batch", "expectations": [counting]}
    (tmp_path / "incoming_batch.json").write_text(json.dumps(suite))
    loaded = suites.load("incoming_batch", tmp_path)
    monkeypatch.setattr(suites, "suite", lambda name: loaded)
    with pytest.raises(ConfigurationError, match="seven_rows does not name the rows"):
        judged(make.rows(HOUR, DAY))
