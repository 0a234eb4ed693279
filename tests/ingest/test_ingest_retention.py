"""Retention: old months leave the hot tables, and no reading can tell."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from candlevault import candles
from candlevault.errors import ColdFileDamaged, InvalidRequest
from candlevault.ingest import retention
from candlevault.quality import check, months, overlay, sql_tests
from candlevault.storage import candle_reads, cold, freezing
from candlevault.storage import publish as publishing
from candlevault.storage.publish import Batch, NewAbsence, publish
from candlevault.timeframe import to_ms
from tests.support.market import HOUR, Store, grid, ms, span

NOW = datetime(2024, 4, 1, 4, tzinfo=UTC)
HELD = span("2023-12-30", "2024-02-10")
HOLE = span("2024-01-05T03:00", "2024-01-05T05:00")
EVER = span("2023-01-01", "2025-01-01")


@pytest.fixture
def store(database) -> Store:
    """Six weeks of hours with a hole in January, one of them revised once."""
    store = Store(database)
    store.publish_made(HELD, without=grid(HOLE), absences=[ABSENCE])
    store.publish_made(span("2024-01-10", "2024-01-11"), changes={ms("2024-01-10T05:00"): OTHER})
    return store


ABSENCE = NewAbsence(
    HOLE,
    "not_published",
    {
        "neighbours_ms": [HOLE.start_ms - HOUR, HOLE.end_ms],
        "rest": [{"url": "x"}],
        "archive": [{"url": "y"}],
    },
)
OTHER = {"volume": 99_999, "close": 3, "high": 1_000, "low": 1, "open": 2}


def apply(
    store: Store, keep: int = 2, now: datetime = NOW, linger: timedelta = timedelta(0)
) -> retention.RetentionReport:
    return retention.apply(
        store.connect, store.stored, keep, now, say=lambda line: None, linger=linger
    )


def hot(store: Store) -> int:
    [(count,)] = store.rows("SELECT count(*) FROM market.candles_1h WHERE series_id = %(id)s")
    return count


def file_of(store: Store, month: date, cold_tier: Path) -> Path:
    with store.connect() as connection:
        [file] = cold.files(connection, store.stored.series_id, cold.month_window(month))
    return cold_tier / file.path


def test_whole_months_before_the_cutoff_leave_the_hot_table(store):
    report = apply(store)
    assert (report.cutoff, report.months_moved, report.candles_moved) == (
        "2024-02-01",
        2,
        33 * 24 - 2,
    )
    assert hot(store) == report.hot_candles == 9 * 24
    assert report.cold_months == 2
    assert "moved to the cold tier" in str(report)


def test_every_reading_is_as_before(store):
    windows = [EVER, HELD, span("2024-01-10", "2024-01-12"), span("2024-01-31", "2024-02-02")]
    revisions = range(store.revision + 1)
    before = [(store.read(w, r), store.fingerprint(w, r)) for w in windows for r in revisions]
    with store.connect() as connection:
        account = candle_reads.account(connection, store.stored, HELD)
    apply(store)
    assert [(store.read(w, r), store.fingerprint(w, r)) for w in windows for r in revisions] == (
        before
    )
    with store.connect() as connection:
        after = candle_reads.account(connection, store.stored, HELD)
    assert (len(after.stored), len(after.absent), len(after.lost)) == (
        len(account.stored),
        len(account.absent),
        len(account.lost),
    )
    assert before[0][0] != before[1][0], "the revised candle must show at its revision"


def test_status_and_range_count_what_is_cold(store):
    told = store.rows(
        "SELECT total_candles, oldest_data_time, newest_data_time FROM market.series_status"
        " WHERE series_id = %(id)s"
    )
    apply(store)
    assert told == store.rows(
        "SELECT total_candles, oldest_data_time, newest_data_time FROM market.series_status"
        " WHERE series_id = %(id)s"
    )


def test_the_check_of_a_cold_window_passes_and_counts_the_same(store):
    def figures() -> dict[str, object]:
        found = check.check(store.connect, store.stored, HELD, to_ms(NOW)).as_dict()
        return {name: found[name] for name in found if name not in ("warnings",)}

    before = figures()
    assert before["failures"] == []
    apply(store)
    assert figures() == before


def test_the_ledger_says_which_tier_and_keeps_its_hashes(store):
    months.take(store.connect, store.stored, HELD)
    ledger = "SELECT month, stored, lost, content_hash FROM market.series_months"
    before = store.rows(f"{ledger} WHERE series_id = %(id)s ORDER BY month")
    apply(store)
    assert store.rows(f"{ledger} WHERE series_id = %(id)s ORDER BY month") == before
    assert store.rows(
        "SELECT month, tier FROM market.series_months WHERE series_id = %(id)s ORDER BY month"
    ) == [(date(2023, 12, 1), "cold"), (date(2024, 1, 1), "cold"), (date(2024, 2, 1), "hot")]


def test_running_again_moves_nothing(store):
    apply(store)
    again = apply(store)
    assert (again.months_moved, again.candles_moved, again.cold_months) == (0, 0, 2)


def test_nothing_older_is_nothing_to_move(store):
    report = apply(store, keep=12)
    assert (report.cutoff, report.months_moved, hot(store)) == ("2023-04-01", 0, 42 * 24 - 2)


def test_a_month_written_to_while_its_file_is_made_stays_hot(store, monkeypatch):
    write = cold.write

    def write_and_be_overtaken(*arguments):
        file = write(*arguments)
        store.publish_made(
            span("2024-01-20", "2024-01-21"), changes={ms("2024-01-20T07:00"): OTHER}
        )
        return file

    months.take(store.connect, store.stored, HELD)
    monkeypatch.setattr(cold, "write", write_and_be_overtaken)
    assert freezing.freeze(store.connect, store.stored, date(2024, 1, 1)) == 0
    monkeypatch.undo()
    assert hot(store) == 42 * 24 - 2
    assert store.rows("SELECT FROM market.cold_files WHERE series_id = %(id)s") == []


def test_a_move_cut_off_at_any_point_leaves_the_month_whole_and_is_done_again(store, monkeypatch):
    rows = store.read(HELD)
    for where in (cold, "write"), (cold, "enter"), (freezing, "begin_publication"):
        with monkeypatch.context() as patch:
            patch.setattr(*where, _cut_off)
            with pytest.raises(KeyboardInterrupt):
                apply(store)
        assert hot(store) == 42 * 24 - 2
        assert store.rows("SELECT FROM market.cold_files WHERE series_id = %(id)s") == []
        assert store.read(HELD) == rows
    assert apply(store).months_moved == 2
    assert store.read(HELD) == rows


def _cut_off(*arguments):
    raise KeyboardInterrupt


def test_a_correction_cut_off_after_the_thaw_leaves_the_month_cold(store, cold_tier, monkeypatch):
    apply(store)
    file, rows = file_of(store, date(2024, 1, 1), cold_tier), store.read(HELD)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_close_batch", _cut_off)
        with pytest.raises(KeyboardInterrupt):
            store.publish_made(
                span("2024-01-20", "2024-01-21"), changes={ms("2024-01-20T07:00"): OTHER}
            )
    assert hot(store) == 9 * 24
    assert file_of(store, date(2024, 1, 1), cold_tier) == file
    assert store.read(HELD) == rows


# -- corrections into cold months ------------------------------------------------------------


def test_an_equal_candle_of_a_cold_month_touches_nothing(store, cold_tier):
    apply(store)
    file = file_of(store, date(2024, 1, 1), cold_tier)
    done = store.publish_made(span("2024-01-20", "2024-01-21"))
    assert (done.inserted, done.changed, done.unchanged, done.revision) == (0, 0, 24, None)
    assert file_of(store, date(2024, 1, 1), cold_tier) == file


def test_a_correction_into_a_cold_month_is_written_to_a_new_file(store, cold_tier):
    apply(store)
    old_file = file_of(store, date(2024, 1, 1), cold_tier)
    old_revision, window = store.revision, span("2024-01-20", "2024-01-21")
    before = store.read(HELD), store.fingerprint(HELD)
    done = store.publish_made(window, changes={ms("2024-01-20T07:00"): OTHER})
    assert (done.inserted, done.changed, done.unchanged) == (0, 1, 23)
    assert hot(store) == 9 * 24 + 31 * 24 - 2, "the month is hot until it is put back"
    assert retention.refreeze(store.connect, store.stored) == 31 * 24 - 2
    assert hot(store) == 9 * 24
    new_file = file_of(store, date(2024, 1, 1), cold_tier)
    assert new_file != old_file
    assert old_file.exists(), "somebody may just be reading it"
    changed = [row for row in store.read(HELD) if row not in before[0]]
    assert [row["open_time"] for row in changed] == [ms("2024-01-20T07:00")]
    assert (store.read(HELD, old_revision), store.fingerprint(HELD, old_revision)) == before


def test_a_month_stays_readable_between_correction_and_refreezing(store):
    apply(store)
    store.publish_made(span("2024-01-20", "2024-01-21"), changes={ms("2024-01-20T07:00"): OTHER})
    rows = store.read(HELD)
    retention.refreeze(store.connect, store.stored)
    assert store.read(HELD) == rows


def test_a_candle_that_fills_a_hole_of_a_cold_month_is_stored(store):
    apply(store)
    done = store.publish_made(HOLE)
    assert (done.inserted, done.revision) == (2, store.revision)
    retention.refreeze(store.connect, store.stored)
    assert len(store.read(HELD)) == 42 * 24
    assert store.absences(HELD) == []


@pytest.mark.parametrize(
    "edge", [span("2024-01-01", "2024-01-01T05:00"), span("2024-01-31T20:00", "2024-02-01")]
)
def test_candles_at_the_edge_of_a_cold_month_belong_to_it(database, edge):
    store = Store(database)
    store.publish_made(span("2023-12-01", "2024-02-10"), without=grid(edge))
    apply(store)
    done = store.publish_made(edge)
    assert done.inserted == len(grid(edge))
    assert retention.refreeze(store.connect, store.stored) == 31 * 24
    assert hot(store) == 9 * 24
    assert len(store.read(span("2023-12-01", "2024-02-10"))) == 71 * 24
    report = check.check(store.connect, store.stored, span("2023-12-01", "2024-02-10"), to_ms(NOW))
    assert report.failures == []
    assert apply(store).months_moved == 0


# -- files that cannot be trusted ------------------------------------------------------------


def test_a_flipped_byte_is_an_error_that_names_the_file(store, cold_tier):
    apply(store)
    file = file_of(store, date(2024, 1, 1), cold_tier)
    body = bytearray(file.read_bytes())
    for position in (4, len(body) // 2, len(body) - 9):
        body[position] ^= 1
        file.write_bytes(bytes(body))
        with pytest.raises(ColdFileDamaged, match=re.escape(file.name)):
            store.read(HELD)
        body[position] ^= 1
    file.write_bytes(bytes(body))
    assert len(store.read(HELD)) == 42 * 24 - 2


def test_a_missing_file_is_an_error_never_an_empty_answer(store, cold_tier):
    apply(store)
    file = file_of(store, date(2023, 12, 1), cold_tier)
    file.rename(file.with_suffix(".away"))
    for read in (store.read, store.fingerprint):
        with pytest.raises(ColdFileDamaged, match=re.escape(file.name)):
            read(HELD)
    with store.connect() as connection, pytest.raises(ColdFileDamaged):
        candle_reads.account(connection, store.stored, HELD)
    with pytest.raises(ColdFileDamaged):
        check.check(store.connect, store.stored, HELD, to_ms(NOW))
    assert len(store.read(span("2024-02-01", "2024-03-01"))) == 9 * 24, "other months can be read"


def test_a_correction_into_a_damaged_month_changes_nothing(store, cold_tier):
    apply(store)
    file = file_of(store, date(2024, 1, 1), cold_tier)
    file.write_bytes(file.read_bytes()[:-1])
    revision = store.revision
    with pytest.raises(ColdFileDamaged):
        store.publish_made(
            span("2024-01-20", "2024-01-21"), changes={ms("2024-01-20T07:00"): OTHER}
        )
    assert (store.revision, hot(store)) == (revision, 9 * 24)


# -- partitions, files, policies -------------------------------------------------------------


def test_a_partition_goes_when_all_of_it_has_left_and_comes_back_when_needed(database):
    store = Store(database, code="1m")
    window = span("2023-11-03", "2023-11-04")
    store.publish_made(window)
    named = "SELECT to_regclass('market.candles_1m_2023_11')"
    assert store.rows(named) != [(None,)]
    report = apply(store, keep=1)
    assert "candles_1m_2023_11" in report.partitions_dropped
    assert store.rows(named) == [(None,)]
    assert len(store.read(window)) == 24 * 60
    done = store.publish_made(
        span("2023-11-03T05:00", "2023-11-03T06:00"),
        changes={ms("2023-11-03T05:07"): OTHER},
    )
    assert (done.changed, done.unchanged) == (1, 59)
    assert len(store.read(window)) == 24 * 60


def test_an_emptied_partition_stays_for_readers_of_an_older_state(database):
    store = Store(database, code="1m")
    window = span("2023-09-03", "2023-09-04")
    store.publish_made(window)
    with store.connect() as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        revision = candle_reads.current_revision(reader, store.stored)
        report = apply(store, keep=1, linger=timedelta(hours=1))
        assert report.candles_moved == 24 * 60
        assert "candles_1m_2023_09" not in report.partitions_dropped
        assert candle_reads.read(reader, store.stored, window, revision).num_rows == 24 * 60
    assert "candles_1m_2023_09" in apply(store, keep=1).partitions_dropped
    assert len(store.read(window)) == 24 * 60


def test_dropping_never_waits_long_nor_fails_for_a_busy_reader(database):
    store = Store(database, code="1m")
    store.publish_made(span("2023-08-03", "2023-08-04"))
    with store.connect() as reader:
        reader.execute("SELECT count(*) FROM market.candles_1m")
        assert apply(store, keep=1).partitions_dropped == []
    assert "candles_1m_2023_08" in apply(store, keep=1).partitions_dropped


def test_a_check_sees_a_month_that_goes_cold_while_it_begins(store, monkeypatch):
    months.take(store.connect, store.stored, HELD)
    found = overlay._cold_series
    calls = []

    def and_freeze_meanwhile(connection, series_id, window):
        frozen = found(connection, series_id, window)
        if not calls:
            calls.append(freezing.freeze(store.connect, store.stored, date(2024, 1, 1)))
        return frozen

    monkeypatch.setattr(overlay, "_cold_series", and_freeze_meanwhile)
    with store.connect() as connection:
        outcomes = sql_tests.run(
            connection, sql_tests.project_tests(), store.stored.series_id, HELD, NOW
        )
    assert calls == [31 * 24 - 2]
    assert [o.test.name for o in outcomes if not o.passed and o.test.severity == "fail"] == []


def test_a_candle_is_taken_out_of_a_cold_month_whose_partition_is_gone(database):
    store = Store(database, code="1m")
    window = span("2023-10-03", "2023-10-04")
    gone = span("2023-10-03T05:07", "2023-10-03T05:08")
    store.publish_made(window)
    assert "candles_1m_2023_10" in apply(store, keep=1).partitions_dropped
    evidence = ABSENCE.evidence
    batch = Batch(
        candles=candles.empty(),
        fetches=[],
        absences=[NewAbsence(gone, "not_published", evidence)],
        removes=True,
    )
    done = publish(store.connect, store.stored, store.claim(gone), batch)
    assert (done.removed, done.absent, done.lost) == (1, 1, 0)
    assert len(store.read(window)) == 24 * 60 - 1
    assert len(store.read(window, done.revision - 1)) == 24 * 60


def test_files_that_do_not_count_any_more_are_swept_after_two_days(store, cold_tier, monkeypatch):
    apply(store)
    old = file_of(store, date(2024, 1, 1), cold_tier)
    store.publish_made(span("2024-01-20", "2024-01-21"), changes={ms("2024-01-20T07:00"): OTHER})
    retention.refreeze(store.connect, store.stored)
    assert apply(store).files_removed == 0
    monkeypatch.setattr(cold, "_KEPT_DAYS", -1)
    assert apply(store).files_removed == 1
    assert not old.exists()
    assert file_of(store, date(2024, 1, 1), cold_tier).exists()


def test_the_cold_tier_can_be_any_file_system(store, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_COLD_URL", "memory://vault")
    rows = store.read(HELD)
    apply(store)
    assert hot(store) == 9 * 24
    assert store.read(HELD) == rows


@pytest.mark.parametrize(
    ("months_kept", "expected"),
    [(1, (2024, 3)), (3, (2024, 1)), (4, (2023, 12)), (15, (2023, 1)), (16, (2022, 12)),
     (600, (1974, 4))],
)  # fmt: skip
def test_months_are_counted_across_years(months_kept, expected):
    assert retention.months_before(NOW, months_kept) == datetime(*expected, 1, tzinfo=UTC)


@pytest.mark.parametrize("months_kept", [0, -1, 601])
def test_a_senseless_policy_is_refused(store, months_kept):
    with pytest.raises(InvalidRequest, match="retention_months"):
        apply(store, keep=months_kept)
