"""The months of a stored series: how far each reaches, its verdict, its figures, its hash."""

from __future__ import annotations

import pytest

from candlevault.quality import months
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
SERIES = make.series("1h")
QUARTER = window("2024-01-01", "2024-04-01")


def stored_rows(*spans: Window) -> list[make.Row]:
    return [row for span in spans for row in make.rows(HOUR, span)]


def load(connect, *spans: Window, **options):
    """Store the candles of these windows; returns the series."""
    return make.store(connect, SERIES, stored_rows(*spans), QUARTER, **options)[0]


def profile(connect, stored, span: Window) -> list[months.Month]:
    with connect() as connection:
        return months.profile(connection, stored, span)


def record(connect, stored, span: Window) -> dict[str, dict[str, object]]:
    """Record the months of a window; returns the partition ledger by month."""
    with connect() as connection:
        months.record(connection, stored, months.profile(connection, stored, span))
    return ledger(connect)


def ledger(connect) -> dict[str, dict[str, object]]:
    with connect() as connection:
        cursor = connection.execute("SELECT * FROM market.series_months ORDER BY month")
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {f"{row['month']:%Y-%m}": row for row in rows}


def figures(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[k] for k in ("verdict", "expected", "stored", "known_absent", "lost"))


def test_verdicts_tell_complete_incomplete_and_running_months(connect):
    outage = make.absence("2024-01-10", "2024-01-10T05:00")
    stored = load(
        connect,
        window("2024-01-01", "2024-01-10"),
        window("2024-01-10T05:00", "2024-02-20"),
        window("2024-02-20T02:00", "2024-03-02"),
        absences=[outage],
    )
    kept = record(connect, stored, window("2024-01-01", "2024-03-02"))
    assert {month: figures(row) for month, row in kept.items()} == {
        "2024-01": ("complete", 744, 739, 5, 0),
        "2024-02": ("incomplete", 696, 694, 0, 2),
        "2024-03": ("running", 24, 24, 0, 0),
    }


def test_running_month_with_a_loss_is_incomplete_already(connect):
    stored = load(connect, window("2024-03-01", "2024-03-02"))
    kept = record(connect, stored, window("2024-03-01", "2024-03-03"))
    assert figures(kept["2024-03"]) == ("incomplete", 48, 24, 0, 24)


@pytest.mark.parametrize(
    "checked",
    [
        window("2024-01-10", "2024-01-12"),
        window("2024-01-01", "2024-01-12"),
        window("2024-01-10", "2024-02-01"),
    ],
)
def test_check_window_inside_a_month_takes_the_whole_month(connect, checked):
    stored = load(connect, window("2024-01-01", "2024-02-03"))
    kept = record(connect, stored, checked)
    assert {m: figures(row) for m, row in kept.items()} == {"2024-01": ("complete", 744, 744, 0, 0)}


def test_history_that_begins_and_ends_inside_months_is_not_lost_outside(connect):
    stored = load(connect, window("2024-01-20", "2024-03-10"))
    whole = record(connect, stored, window("2024-01-31", "2024-03-05"))
    assert {month: figures(row) for month, row in whole.items()} == {
        "2024-01": ("complete", 12 * 24, 12 * 24, 0, 0),
        "2024-02": ("complete", 696, 696, 0, 0),
        "2024-03": ("running", 9 * 24, 9 * 24, 0, 0),
    }


def test_window_reaching_beyond_history_finds_what_lies_there_lost(connect):
    stored = load(connect, window("2024-01-20", "2024-01-30"))
    [january] = profile(connect, stored, window("2024-01-19", "2024-02-01"))
    assert (len(january.account.lost), january.verdict) == (24 + 48, "incomplete")
    assert january.part == window("2024-01-19", "2024-02-01")


def test_series_without_candles_is_lost_over_the_window(connect):
    stored = make.register(connect, SERIES)
    january, february = profile(connect, stored, window("2024-01-31", "2024-02-02"))
    assert (len(january.account.lost), len(february.account.lost)) == (24, 24)
    assert (january.counted, january.as_row()["obtainable_ratio"]) == (0, 0.0)


def test_week_that_spans_two_months_belongs_to_the_month_it_opens_in(connect):
    week, of_week = timeframe("1w"), make.series("1w")
    span = window("2024-01-01", "2024-03-04")
    stored, _ = make.store(connect, of_week, make.rows(week, span), span)
    kept = record(connect, stored, window("2024-01-01", "2024-03-01"))
    assert [figures(row)[:3] for row in kept.values()] == [("complete", 5, 5), ("complete", 4, 4)]


def test_month_of_the_same_revision_is_not_hashed_again(connect):
    stored = load(connect, window("2024-01-01", "2024-02-03"))
    record(connect, stored, QUARTER)
    with connect() as connection:
        connection.execute("UPDATE market.series_months SET content_hash = 'untouched'")
    record(connect, stored, QUARTER)
    assert [row["content_hash"] for row in ledger(connect).values()] == ["untouched"] * 3


def test_month_that_goes_on_without_new_candles_is_recorded_anew(connect):
    stored = load(connect, window("2024-01-01", "2024-01-15"))
    first = record(connect, stored, window("2024-01-01", "2024-01-15"))
    later = record(connect, stored, window("2024-01-01", "2024-02-01"))
    assert figures(first["2024-01"]) == ("running", 336, 336, 0, 0)
    assert figures(later["2024-01"]) == ("incomplete", 744, 336, 0, 408)
    assert later["2024-01"]["revision"] == first["2024-01"]["revision"]


def test_hash_changes_with_a_candle_and_with_an_absence_and_with_nothing_else(connect):
    span = window("2024-01-01", "2024-01-10")
    rows = stored_rows(span)
    late = window("2024-01-09T23:00", "2024-01-10")
    hashes = []

    def load_and_hash(made, absences=()):
        stored, _ = make.store(connect, SERIES, made, span, absences=absences)
        row = record(connect, stored, span)["2024-01"]
        hashes.append(row["content_hash"])
        return row

    load_and_hash(rows[:-1])
    load_and_hash([], [make.absence(f"{late.start:%FT%T}", f"{late.end:%FT%T}")])
    load_and_hash(rows)
    restated = [dict(row) for row in rows]
    restated[5]["trades_count"] = 8
    load_and_hash(restated)
    back = load_and_hash(rows)
    assert len(set(hashes)) == 4
    assert hashes[4] == hashes[2]
    assert back["revision"] == 5


def test_month_untouched_by_a_change_keeps_its_hash(connect):
    rows = stored_rows(window("2024-01-01", "2024-03-01"))
    stored, _ = make.store(connect, SERIES, rows, QUARTER)
    before = record(connect, stored, QUARTER)
    rows[-1]["trades_count"] = 8
    make.store(connect, SERIES, rows, QUARTER)
    after = record(connect, stored, QUARTER)
    same = {month: before[month]["content_hash"] == after[month]["content_hash"] for month in after}
    assert same == {"2024-01": True, "2024-02": False, "2024-03": True}
    assert {row["revision"] for row in after.values()} == {2}


@pytest.mark.parametrize(
    ("constraint", "change", "figure"),
    [
        ("high_is_highest", "high = low, open = low + 1, close = low", "out_of_range_prices"),
        ("prices_positive", "low = 0", "out_of_range_prices"),
        ("low_is_lowest", "low = close + 0.5", "out_of_range_prices"),
        ("prices_finite", "high = 'NaN'", "out_of_range_prices"),
        ("prices_finite", "open = 'NaN', high = 'NaN'", "out_of_range_prices"),
        ("volumes_not_negative", "taker_buy_base_volume = -1", "bad_volumes"),
        ("volumes_not_negative", "taker_buy_quote_volume = -1", "bad_volumes"),
        ("volumes_finite", "volume = 'NaN'", "bad_volumes"),
        ("volumes_finite", "quote_volume = 'NaN'", "bad_volumes"),
        ("trades_not_negative", "taker_buy_base_volume = volume + 1", "bad_volumes"),
        ("trades_not_negative", "taker_buy_quote_volume = quote_volume + 1", "bad_volumes"),
        ("trades_not_negative", "volume = 0, taker_buy_base_volume = 0", "zero_volume"),
        ("open_time_on_grid", "open_time = open_time + interval '1 minute'", "off_grid"),
    ],
)
def test_bad_stored_candle_is_counted_once_its_constraint_is_gone(
    planted_month, constraint, change, figure
):
    found = planted_month(constraint, change)
    counts = ("out_of_range_prices", "bad_volumes", "off_grid", "zero_volume")
    assert {name: getattr(found, name) for name in counts if getattr(found, name)} == {figure: 1}
    assert found.as_row()["unaccounted"] == 0


@pytest.fixture(scope="module")
def planted_month(postgres_server, market_template):
    """A function that changes one stored candle and profiles its month, then undoes it."""
    from candlevault.storage.database import connector

    with postgres_server.database(market_template) as url:
        connect = connector(url)
        stored = load(connect, window("2024-01-01", "2024-01-03"))

        def profiled(constraint: str, change: str) -> months.Month:
            with connect() as connection:
                table = "market.candles_1h"
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
                changed = connection.execute(
                    f"UPDATE {table} SET {change} WHERE open_time = '2024-01-02T05:00Z'"
                )
                assert changed.rowcount == 1
                [month] = months.profile(connection, stored, window("2024-01-01", "2024-01-03"))
                connection.rollback()
            return month

        yield profiled


def test_profile_of_a_clean_month_counts_nothing_bad(connect):
    stored = load(connect, window("2024-01-01", "2024-02-01"))
    [january] = profile(connect, stored, window("2024-01-15", "2024-01-16"))
    assert january.as_row() == {
        "expected": 744,
        "stored": 744,
        "lost": 0,
        "obtainable_ratio": 1.0,
        "unaccounted": 0,
        "off_grid": 0,
        "out_of_range_prices": 0,
        "bad_volumes": 0,
        "zero_volume_ratio": 0.0,
    }
    assert january.part.start_ms == ms("2024-01-01")
