"""Collecting a batch: two providers, one truth, and evidence for what was never published."""

from __future__ import annotations

import pytest

from candlevault.ingest.collect import ARCHIVE_FIRST, REST_FIRST, Collector
from candlevault.quality.judge import judge
from candlevault.timeframe import from_ms
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    grid,
    made,
    ms,
    plain,
    simulated,
    span,
    values_at,
    venue_at,
)

BTC = series("1h")
FIRST, LAST = ms("2024-01-01"), ms("2024-04-10T10:00")
NOW = LAST + 20 * 60_000
HOLE = span("2024-01-15T04:00", "2024-01-15T09:00")
OVER_MONTHS = span("2024-01-31T22:00", "2024-02-01T03:00")
PAGE_CUT = next(t for t in range(ms("2024-02-10"), LAST, HOUR) if t % (1000 * HOUR) == 0)
OVER_PAGES = Window(PAGE_CUT - 2 * HOUR, PAGE_CUT + 3 * HOUR)
HOLES = [HOLE, OVER_MONTHS, OVER_PAGES]
AROUND = span("2024-01-15", "2024-01-16")
QUIET = span("2024-03-05", "2024-03-06")
NOON = ms("2024-03-05T12:00")


def published(window: Window) -> list[int]:
    return [t for t in grid(window) if not any(hole.contains(t) for hole in HOLES)]


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("BTCUSDT", published(Window(FIRST, LAST + HOUR)))
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.forget()
    return replay


def collect(venue: SimulatedVenue, window: Window, order=ARCHIVE_FIRST):
    return Collector(venue_at(venue.base_url), BTC, NOW - 2000, judge).collect([window], order)


def found(collected) -> list[dict]:
    return plain(collected.candles)


def absent(collected) -> list[Window]:
    return [absence.window for absence in collected.absences]


def sources(collected) -> set[str]:
    used = set(collected.candles["source"].to_pylist())
    return {collected.fetches[i].provider for i in used}


def drop(venue: SimulatedVenue, window: Window, *surfaces: str) -> None:
    venue.fault(
        "drop_rows",
        start=from_ms(window.start_ms).isoformat(),
        end=from_ms(window.end_ms).isoformat(),
        **({"surfaces": list(surfaces)} if surfaces else {}),
    )


def restate(venue: SimulatedVenue, open_time: int, *surfaces: str, **values: str) -> None:
    venue.fault(
        "restated", rows=[{"open_time": open_time, **values}], surfaces=list(surfaces)
    )  # fmt: skip


# -- candles -----------------------------------------------------------------------------------


def test_the_archive_alone_answers_a_whole_past_window(venue):
    collected = collect(venue, QUIET)
    assert found(collected) == plain(made(grid(QUIET)))
    assert sources(collected) == {"binance_archive"}
    assert "spot.klines" not in venue.asked()


def test_a_hole_of_the_archive_is_filled_by_rest(venue):
    drop(venue, span("2024-03-05T10:00", "2024-03-05T14:00"), "archive")
    collected = collect(venue, QUIET)
    assert found(collected) == plain(made(grid(QUIET)))
    assert sources(collected) == {"binance_archive", "binance_rest"}
    assert venue.asked()["spot.klines"] == 1
    assert (absent(collected), collected.rejected) == ([], [])


def test_a_hole_of_rest_is_filled_by_the_archive(venue):
    drop(venue, span("2024-03-05T10:00", "2024-03-05T14:00"), "rest")
    collected = collect(venue, QUIET, REST_FIRST)
    assert found(collected) == plain(made(grid(QUIET)))
    assert absent(collected) == []


def test_the_tail_that_the_archive_does_not_hold_yet_comes_from_rest(venue):
    window = span("2024-04-08", "2024-04-10T12:00")
    collected = collect(venue, window)
    assert found(collected) == plain(made(range(window.start_ms, LAST, HOUR)))


def test_where_the_two_disagree_rest_wins_and_the_archives_row_is_quarantined(venue):
    restate(venue, NOON, "archive", close=f"{values_at(NOON)['low']:.8f}")
    drop(venue, Window(NOON + HOUR, NOON + 2 * HOUR), "archive")
    collected = collect(venue, QUIET)
    assert found(collected) == plain(made(grid(QUIET)))
    [refused] = collected.rejected
    assert refused.reasons == ("archive_disagrees_with_rest",)
    assert refused.open_time_ms == NOON
    assert refused.url.endswith("BTCUSDT-1h-2024-03.zip")
    assert refused.row["close"] == f"{values_at(NOON)['low']:.8f}"


def test_where_both_agree_the_archives_row_is_kept(venue):
    hour = Window(NOON, NOON + HOUR)
    drop(venue, hour, "archive")
    collected = collect(venue, QUIET)
    by_source = dict(
        zip(collected.candles["open_time"].to_pylist(), collected.candles["source"].to_pylist(),
            strict=True)
    )  # fmt: skip
    providers = {t: collected.fetches[i].provider for t, i in by_source.items()}
    assert [t for t, name in providers.items() if name == "binance_rest"] == [NOON]


def test_nothing_outside_the_window_is_brought_along(venue):
    """The neighbours that REST is asked for belong to another batch."""
    drop(venue, Window(QUIET.start_ms, QUIET.start_ms + HOUR), "archive")
    assert [row["open_time"] for row in found(collect(venue, QUIET))] == grid(QUIET)


def test_identical_duplicates_are_collapsed(venue):
    venue.fault("duplicate_rows", surfaces=["rest"])
    collected = collect(venue, QUIET, REST_FIRST)
    assert found(collected) == plain(made(grid(QUIET)))
    assert collected.rejected == []


def test_conflicting_duplicates_are_both_refused_and_the_archive_answers(venue):
    venue.fault(
        "duplicate_rows", surfaces=["rest"], conflict=True, open_times=[NOON], times=1
    )  # fmt: skip
    collected = collect(venue, QUIET, REST_FIRST)
    assert found(collected) == plain(made(grid(QUIET)))
    assert [one.open_time_ms for one in collected.rejected] == [NOON, NOON]
    assert all("open_time_unique" in one.reasons for one in collected.rejected)


def test_a_reversed_page_is_put_in_order(venue):
    venue.fault("reversed", surfaces=["rest"])
    assert found(collect(venue, QUIET, REST_FIRST)) == plain(made(grid(QUIET)))


# -- absences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [ARCHIVE_FIRST, REST_FIRST])
def test_a_hole_of_both_between_two_candles_is_a_known_absence(venue, order):
    collected = collect(venue, AROUND, order)
    assert absent(collected) == [HOLE]
    assert len(found(collected)) == 24 - 5
    [absence] = collected.absences
    assert absence.reason == "not_published"
    assert absence.evidence["neighbours_ms"] == [HOLE.start_ms - HOUR, HOLE.end_ms]
    assert "2024-01.zip" in absence.evidence["archive"][0]["url"]
    assert "/api/v3/klines" in absence.evidence["rest"][0]["url"]


@pytest.mark.parametrize("hole", [OVER_MONTHS, OVER_PAGES], ids=["months", "pages"])
def test_a_gap_across_a_month_or_page_boundary_is_one_absence(venue, hole):
    window = Window(hole.start_ms - 24 * HOUR, hole.end_ms + 24 * HOUR)
    assert absent(collect(venue, window)) == [hole]


@pytest.mark.parametrize(
    "window",
    [
        Window(HOLE.start_ms - 3 * HOUR, HOLE.start_ms + 2 * HOUR),
        Window(HOLE.start_ms + 2 * HOUR, HOLE.end_ms + 3 * HOUR),
        Window(HOLE.start_ms + HOUR, HOLE.end_ms - HOUR),
        HOLE,
    ],
    ids=["starts before", "ends after", "lies inside", "is the hole"],
)
@pytest.mark.parametrize("order", [ARCHIVE_FIRST, REST_FIRST])
def test_a_batch_cut_through_a_hole_still_explains_its_part(venue, window, order):
    """Neither batch sees both ends of the hole: REST is asked for its nearest candles."""
    collected = collect(venue, window, order)
    assert absent(collected) == [window.intersection(HOLE)]
    [absence] = collected.absences
    before, after = absence.evidence["neighbours_ms"]
    assert before == HOLE.start_ms - HOUR
    assert after == HOLE.end_ms
    assert len(found(collected)) == len(grid(window)) - len(grid(window.intersection(HOLE)))


@pytest.mark.parametrize("calls", ["klines", "limit=1000"], ids=["all", "pages only"])
def test_without_rests_answer_a_hole_is_lost_not_absent(venue, calls):
    """Knowing the nearest candles is not enough: the hole itself must have been asked for."""
    venue.fault("503", match=calls)
    collected = collect(venue, AROUND)
    assert absent(collected) == []
    assert collected.problems


def test_without_the_archives_answer_a_hole_is_lost_not_absent(venue):
    venue.fault("503", match="archive/")
    collected = collect(venue, AROUND)
    assert absent(collected) == []
    assert len(found(collected)) == 24 - 5


def test_a_damaged_archive_is_no_evidence(venue):
    venue.fault("bad_zip", match="2024-01")
    collected = collect(venue, AROUND)
    assert absent(collected) == []
    assert len(found(collected)) == 24 - 5


def test_a_missing_candle_of_the_tail_without_an_archive_stays_lost(venue):
    gone = span("2024-04-10T05:00", "2024-04-10T06:00")
    drop(venue, gone)
    collected = collect(venue, span("2024-04-09", "2024-04-10T10:00"))
    assert absent(collected) == []
    assert gone.start_ms not in [row["open_time"] for row in found(collected)]


def test_the_first_candles_missing_are_lost_when_rest_has_none_before(venue):
    window = Window(FIRST, FIRST + 24 * HOUR)
    drop(venue, Window(FIRST, FIRST + 2 * HOUR))
    collected = collect(venue, window)
    assert absent(collected) == []
    assert len(found(collected)) == 22


def test_a_refused_row_is_not_an_absence(venue):
    low = f"{values_at(NOON)['low']:.8f}"
    restate(venue, NOON, "rest", "archive", high=low, close=low)
    collected = collect(venue, QUIET)
    assert absent(collected) == []
    assert len(found(collected)) == 23
    assert {one.open_time_ms for one in collected.rejected} == {NOON}
    assert {one.url.partition("?")[0].rpartition("/")[2] for one in collected.rejected} == {
        "klines",
        "BTCUSDT-1h-2024-03.zip",
    }


def test_a_row_off_the_grid_is_refused_and_not_taken_for_an_absence(venue):
    venue.fault("misaligned", surfaces=["rest", "archive"], open_times=[NOON], shift_ms=1)
    collected = collect(venue, QUIET)
    assert absent(collected) == []
    assert len(found(collected)) == 23
    assert all("open_time_on_grid" in one.reasons for one in collected.rejected)
    assert {one.open_time_ms for one in collected.rejected} == {NOON + 1}


def test_a_candle_next_to_a_refused_row_is_still_explained(venue):
    low = f"{values_at(HOLE.end_ms)['low']:.8f}"
    restate(venue, HOLE.end_ms, "rest", "archive", high=low, close=low)
    collected = collect(venue, AROUND)
    assert absent(collected) == [HOLE]


def test_a_forming_candle_is_neither_stored_nor_absent_nor_refused(venue):
    window = Window(LAST - 3 * HOUR, LAST + 3 * HOUR)
    collected = collect(venue, window)
    assert [row["open_time"] for row in found(collected)] == grid(Window(LAST - 3 * HOUR, LAST))
    assert (absent(collected), collected.rejected) == ([], [])
