"""The flags of a stored series: kept, brought up to date, the same however the window is cut."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault.quality import anomalies
from candlevault.quality.flags import CONTEXT
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
STEP = HOUR.step_ms
SERIES = make.series("1h")
SPAN = window("2024-02-01", "2024-03-01")
NONE = {"spike": 0, "frozen_price": 0, "zero_volume_run": 0}


def part(first: int, count: int) -> Window:
    return Window(SPAN.start_ms + first * STEP, SPAN.start_ms + (first + count) * STEP)


def strange() -> list[make.Row]:
    """A walk with spikes, a frozen stretch, quiet stretches, and holes at 300 and 301."""
    rows = make.walk(HOUR, SPAN)
    for k in (5, 150, 151, 420, 690):
        rows[k]["high"] *= 2
    for k in range(200, 206):
        price = dict.fromkeys(("open", "high", "low", "close"), rows[200]["open"])
        rows[k] |= price
    for k in (*range(298, 300), *range(500, 506)):
        rows[k] = make.quiet(rows[k], rows[k]["open"])
    return [row for k, row in enumerate(rows) if k not in (300, 301)]


def put(connect, rows: list[make.Row], absences=()):
    return make.store(connect, SERIES, rows, SPAN, absences=absences)[0]


def kept(connect) -> list[tuple[object, ...]]:
    with connect() as connection:
        return connection.execute(
            "SELECT kind, (extract(epoch FROM window_start) * 1000)::bigint,"
            " (extract(epoch FROM window_end) * 1000)::bigint, candles, detail, detected_at"
            " FROM market.anomalies ORDER BY window_start, kind"
        ).fetchall()


def told(connect) -> list[tuple[str, int, int]]:
    """Kind, first hour and number of candles of every kept flag."""
    return [(row[0], (row[1] - SPAN.start_ms) // STEP, row[3]) for row in kept(connect)]


EVERYTHING = [
    ("spike", 5, 1),
    ("spike", 150, 1),
    ("spike", 151, 1),
    ("frozen_price", 200, 6),
    ("zero_volume_run", 298, 2),
    ("spike", 420, 1),
    ("zero_volume_run", 500, 6),
    ("spike", 690, 1),
]


def test_flags_are_counted_by_kind_and_kept_with_their_details(connect):
    absent = make.absence("2024-02-13T12:00", "2024-02-13T14:00")
    stored = put(connect, strange(), [absent])
    counts = anomalies.examine(connect, stored, SPAN)
    assert counts == {"spike": 5, "frozen_price": 1, "zero_volume_run": 2}
    assert told(connect) == EVERYTHING
    details = {row[1]: row[4] for row in kept(connect) if row[0] == "zero_volume_run"}
    assert details[part(298, 1).start_ms] == {
        "part_of_halt": True,
        "before": None,
        "after": "known_absence",
    }
    assert details[part(500, 1).start_ms]["part_of_halt"] is False


def test_examining_again_changes_nothing_at_all(connect):
    stored = put(connect, strange())
    first = anomalies.examine(connect, stored, SPAN)
    before = kept(connect)
    assert anomalies.examine(connect, stored, SPAN) == first
    assert kept(connect) == before


def test_candles_are_never_changed_by_a_flag(connect):
    stored = put(connect, strange())
    with connect() as connection:
        rows = connection.execute("SELECT * FROM market.candles_1h").fetchall()
    anomalies.examine(connect, stored, SPAN)
    with connect() as connection:
        assert connection.execute("SELECT * FROM market.candles_1h").fetchall() == rows


def test_flags_of_the_window_are_replaced_and_others_stay(connect):
    stored = put(connect, strange())
    anomalies.examine(connect, stored, SPAN)
    put(connect, make.walk(HOUR, SPAN))
    assert anomalies.examine(connect, stored, part(100, 250)) == NONE
    assert told(connect) == [flag for flag in EVERYTHING if not 100 <= flag[1] < 350]
    assert anomalies.examine(connect, stored, SPAN) == NONE
    assert kept(connect) == []


def test_run_is_flagged_as_a_whole_and_counts_for_every_window_it_touches(connect):
    stored = put(connect, strange())
    for first in (199, 203, 205):
        assert anomalies.examine(connect, stored, part(first, 2))["frozen_price"] == 1
        assert told(connect) == [("frozen_price", 200, 6)]
    assert anomalies.examine(connect, stored, part(206, 2)) == NONE


def test_run_that_grew_or_shrank_beyond_the_window_is_one_flag_again(connect):
    rows = strange()
    stored = put(connect, rows)
    anomalies.examine(connect, stored, SPAN)
    longer = [dict(row) for row in rows]
    for row in longer:
        if part(497, 3).contains(row["open_time"]):
            row |= make.quiet(row, row["open"])
    put(connect, longer)
    anomalies.examine(connect, stored, part(490, 10))
    assert ("zero_volume_run", 497, 9) in told(connect)
    assert len([flag for flag in told(connect) if flag[0] == "zero_volume_run"]) == 2
    put(connect, rows)
    anomalies.examine(connect, stored, part(490, 9))
    assert told(connect) == EVERYTHING


def test_window_beyond_the_history_is_looked_at_as_far_as_there_is_any(connect):
    stored = put(connect, strange())
    wide = window("2023-01-01", "2025-01-01")
    assert sum(anomalies.examine(connect, stored, wide).values()) == len(EVERYTHING)
    assert anomalies.examine(connect, stored, window("2023-01-01", "2023-02-01")) == NONE


def test_series_without_candles_has_no_flags(connect):
    stored = make.register(connect, SERIES)
    assert anomalies.examine(connect, stored, SPAN) == NONE


def test_stretch_longer_than_the_context_is_found_from_its_middle(connect):
    rows = make.walk(HOUR, SPAN)
    quiet = range(50, 50 + 3 * CONTEXT)
    for k in quiet:
        rows[k] = make.quiet(rows[k], Decimal(100))
    stored = put(connect, rows)
    assert anomalies.examine(connect, stored, part(190, 1))["zero_volume_run"] == 1
    assert told(connect) == [("zero_volume_run", 50, 3 * CONTEXT)]


@pytest.fixture(scope="module")
def stored_strange(postgres_server, market_template):
    from candlevault.storage.database import connector

    with postgres_server.database(market_template) as url:
        connect = connector(url)
        stored = put(connect, strange())
        with connect() as connection:
            yield connection, stored, anomalies.find(connection, stored, SPAN)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, 695), st.integers(1, 300), st.booleans())
def test_what_is_found_does_not_depend_on_where_the_window_is_cut(
    stored_strange, first, count, inside
):
    connection, stored, whole = stored_strange
    cut = part(first, count)
    if inside:
        cut = Window(cut.start_ms + 1, cut.end_ms)
    expected = [flag for flag in whole if flag.window.intersection(cut) is not None]
    assert anomalies.find(connection, stored, cut) == expected


def test_years_are_read_piece_by_piece_with_the_same_result(stored_strange, monkeypatch):
    connection, stored, whole = stored_strange
    monkeypatch.setattr(anomalies, "_CANDLES_AT_ONCE", 7)
    assert anomalies.find(connection, stored, SPAN) == whole
    assert len(whole) == len(EVERYTHING)
    assert whole[0].window.start_ms == ms("2024-02-01T05:00")
