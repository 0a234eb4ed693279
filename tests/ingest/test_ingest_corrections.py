"""Corrections: validated as a whole, applied where different, logged, and never half."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candlevault.errors import InvalidRequest, StorageError
from candlevault.ingest import corrections, cross_validation, radar
from candlevault.ingest.load import load
from candlevault.storage import corrections as correction_log
from tests.support.candles import series
from tests.support.market import (
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    Store,
    grid,
    market_at,
    ms,
    simulated,
    span,
    values_at,
)

NOW = ms("2024-04-20T00:20")
LOADED = span("2024-02-01", "2024-04-01")
HOLE = span("2024-02-20T03:00", "2024-02-20T05:00")
AT = ms("2024-02-10T05:00")
SYMBOL = "FIXUSDT"


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    times = set(range(ms("2024-01-01"), NOW, HOUR)) - set(grid(HOLE))
    files.write(SYMBOL, times)
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.exchange.restatements.clear()
    return replay


@pytest.fixture
def market(market_db, venue):
    lines: list[str] = []
    made = market_at(market_db, venue.base_url, say=lines.append)
    made.run_id = "run-1"
    load(made, series("1h", SYMBOL), LOADED, purpose="backfill")
    lines.clear()
    return made


@pytest.fixture
def store(market, market_db) -> Store:
    return Store(market_db, SYMBOL)


def log(store: Store) -> list[tuple]:
    return store.rows(
        "SELECT kind, outcome, records_updated, records_inserted, records_removed, reason, source,"
        " dag_run_id, changed_fields FROM market.corrections WHERE series_id = %(id)s"
        " ORDER BY correction_id"
    )


def csv(*rows: dict, columns: str = "open_time,open,high,low,close,volume") -> bytes:
    names = columns.split(",")
    lines = [columns, *(",".join(str(row[name]) for name in names) for row in rows)]
    return "\n".join([*lines, ""]).encode()


def row(time: int, **changes) -> dict:
    return values_at(time) | changes


def fix(market, body: bytes, **more):
    options = {"name": "fix.csv", "reason": "typing error at the desk"} | more
    return corrections.apply_file(market, series("1h", SYMBOL), body, **options)


# -- files -----------------------------------------------------------------------------------


def test_only_what_differs_is_changed_and_the_rest_of_the_row_stays(market, store):
    before = store.read(LOADED)
    low = values_at(AT)["low"]
    body = csv(row(AT, close=low, high="1000"), row(AT + HOUR), row(AT + 2 * HOUR))
    report = fix(market, body)
    assert (report.outcome, report.records_updated, report.records_inserted) == ("applied", 1, 0)
    after = {r["open_time"]: r for r in store.read(LOADED)}
    old = {r["open_time"]: r for r in before}
    assert after == old | {AT: old[AT] | {"close": low, "high": 1000}}
    assert log(store) == [
        ("file", "applied", 1, 0, 0, "typing error at the desk", "fix.csv", "run-1",
         {"close": 1, "high": 1})
    ]  # fmt: skip


def test_the_superseded_version_stays_readable(market, store):
    before, revision = store.read(LOADED), store.revision
    fix(market, csv(row(AT, high="1000")))
    assert store.read(LOADED) != before
    assert store.read(LOADED, revision) == before
    [(reason, at)] = store.rows(
        "SELECT reason, superseded_at IS NOT NULL FROM market.candle_revisions"
        " WHERE series_id = %(id)s"
    )
    assert (reason, at) == ("typing error at the desk", True)


def test_applying_a_file_again_changes_nothing_and_is_logged(market, store):
    body = csv(row(AT, high="1000"))
    fix(market, body)
    revision = store.revision
    assert fix(market, body).outcome == "unchanged"
    assert store.revision == revision
    assert [entry[1] for entry in log(store)] == ["applied", "unchanged"]


def test_times_may_be_iso_and_optional_columns_given_or_empty(market, store):
    columns = "open_time,open,high,low,close,volume,trades_count,quote_volume"
    body = csv(
        row(AT, open_time="2024-02-10T06:00:00+01:00", trades_count=7, quote_volume=""),
        columns=columns,
    )
    assert fix(market, body).records_updated == 1
    changed = next(r for r in store.read(LOADED) if r["open_time"] == AT)
    assert changed == values_at(AT) | {"trades_count": 7}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is empty"),
        (b"open_time,open,high,low,close,volume\n", "holds no candle"),
        (b"open_time,open,high,low,close\n1,2,3,4,5\n", "lacks the column volume"),
        (csv(row(AT), columns="open_time,open,high,low,close,volume,open"), "names a column twice"),
        (csv(row(AT) | {"vwap": 3}, columns="open_time,open,high,low,close,volume,vwap"),
         "unknown column"),
        (csv(row(AT), row(AT)), "line 3: open_time was given before, in line 2"),
        (csv(row(AT, open="1e3")), "line 2: open must be a plain decimal"),
        (csv(row(AT, open="1.123456789")), "at most 8 places"),
        (csv(row(AT, open="NaN")), "line 2: open must be"),
        (csv(row(AT, open="-1")), "line 2: open must be"),
        (csv(row(AT, open="٣")), "line 2: open must be"),
        (csv(row(AT, open_time="2024-02-10T05:00:00")), "must carry a time zone"),
        (csv(row(AT, open_time="yesterday")), "must be a time such as"),
        (csv(row(AT, open_time=10**17)), "after 1970 and before 9000"),
        (csv(row(AT, open_time="1960-01-01T00:00:00Z")), "after 1970 and before 9000"),
        (csv(row(AT, open_time="9999-12-31T23:00:00Z")), "after 1970 and before 9000"),
        (csv(row(AT, open_time=253402300799999)), "after 1970 and before 9000"),
        (csv(row(AT, open_time="2024-02-10T05:00:00.000001Z")), "must be whole milliseconds"),
        (csv(row(AT)) + b"1,2\n", "line 3: has 2 fields, the header 6"),
        (b"\xff\xfe", "must be UTF-8"),
        (csv(row(AT)) + b"\0", "without NUL"),
        (csv(row(AT, high="0.5")), "2024-02-10T05:00:00Z: high"),
        (csv(row(AT, open="0")), "2024-02-10T05:00:00Z: "),
        (csv(row(AT + 1)), "grid"),
        (csv(row(NOW - NOW % HOUR)), "closed"),
        (csv(row(HOLE.start_ms)), "lies in a known absence"),
    ],
)  # fmt: skip
def test_a_file_that_breaks_a_rule_changes_nothing(market, store, body, told):
    before, revision = store.touched(), store.revision
    with pytest.raises(InvalidRequest, match=r"^file: ") as refusal:
        fix(market, body)
    assert told in str(refusal.value)
    assert (store.touched(), store.revision) == (before, revision)
    [(kind, outcome, *_)] = log(store)
    assert (kind, outcome) == ("file", "rejected")
    [(message,)] = store.rows("SELECT message FROM market.corrections WHERE series_id = %(id)s")
    assert told in message


def test_one_bad_row_among_good_ones_refuses_them_all(market, store):
    rows = [row(AT + i * HOUR, volume="123456") for i in range(50)]
    rows[31] = row(AT + 31 * HOUR, low="99999")
    before = store.touched()
    with pytest.raises(InvalidRequest, match="1 candles break a rule"):
        fix(market, csv(*rows))
    assert store.touched() == before


def test_a_series_never_loaded_cannot_be_corrected(market):
    with pytest.raises(InvalidRequest, match="ever loaded"):
        corrections.apply_file(market, series("1d", SYMBOL), csv(row(AT)), name="x", reason="y")


def test_a_manual_candle_is_labelled_as_such(market, store):
    fix(market, csv(row(AT, high="1000")))
    [(provider,)] = store.rows(
        "SELECT p.name FROM market.candles_1h c JOIN market.fetches USING (fetch_id)"
        " JOIN market.providers p USING (provider_id)"
        " WHERE c.series_id = %(id)s AND c.revision = (SELECT max(revision) FROM"
        " market.candles_1h WHERE series_id = %(id)s)"
    )
    assert provider == "binance_manual"


def test_the_fetch_of_a_file_tells_its_size(market, store):
    body = csv(row(AT, high="1000"))
    fix(market, body)
    [(size,)] = store.rows("SELECT bytes FROM market.fetches WHERE url = 'file:fix.csv'")
    assert size == len(body)


def test_a_file_that_the_store_refuses_leaves_no_batch_running(market, store, monkeypatch):
    def refuse(*arguments):
        raise StorageError("the store refused it")

    monkeypatch.setattr(corrections.publish, "publish", refuse)
    with pytest.raises(StorageError):
        fix(market, csv(row(AT, high="1000")))
    assert store.rows(
        "SELECT state, error FROM market.batches WHERE series_id = %(id)s"
        " AND purpose = 'correction'"
    ) == [("failed", "StorageError: the store refused it")]


# -- what a run has applied ------------------------------------------------------------------


def applied(market, run: str = "run-1") -> dict:
    return correction_log.applied_since(market.connect, series("1h", SYMBOL), run)


def first_change(store: Store, revision: int) -> list:
    [times] = store.rows(
        "SELECT min(superseded_at), max(superseded_at) FROM market.candle_revisions"
        " WHERE series_id = %(id)s AND superseded_revision = %(revision)s",
        revision=revision,
    )
    return list(times)


def test_what_a_run_applied_is_known_to_its_next_attempt(market, store):
    """Published, then killed: the second attempt changes nothing and still finds it."""
    fix(market, csv(row(AT, high="900")), name="other run's")
    market.run_id = "run-2"
    assert applied(market, "run-2") == {}
    body = csv(row(AT + HOUR, high="1000"), row(AT + 2 * HOUR, high="1000"))
    fix(market, body)
    first, last = first_change(store, store.revision)
    assert fix(market, body).outcome == "unchanged"
    since = applied(market, "run-2")
    assert since == {store.stored.series_id: first}
    assert first <= last, "a change is written before its revision is"
    [(earlier,)] = store.rows(
        "SELECT max(recorded_at) FROM market.series_revisions WHERE series_id = %(id)s"
        " AND revision < %(revision)s",
        revision=store.revision,
    )
    assert earlier < first, "what another run changed before does not count"


def test_of_several_changes_of_a_run_the_first_counts(market, store, venue):
    fix(market, csv(row(AT, high="1000")))
    first, _ = first_change(store, store.revision)
    reread(market)
    assert applied(market) == {store.stored.series_id: first}


def test_a_candle_that_only_came_back_counts_from_its_revision(market, store, venue):
    restate(venue, AT, None)
    market.run_id = "before"
    reread(market)
    venue.exchange.restatements.clear()
    market.run_id = "run-3"
    assert reread(market).records_inserted == 1
    [(recorded,)] = store.rows(
        "SELECT recorded_at FROM market.series_revisions WHERE series_id = %(id)s"
        " AND revision = %(revision)s",
        revision=store.revision,
    )
    assert applied(market, "run-3") == {store.stored.series_id: recorded}


# -- reading again ---------------------------------------------------------------------------


def restate(venue: SimulatedVenue, time: int, values: dict | None, *surfaces: str) -> None:
    """From now on these surfaces (all by default) serve other values, or no candle."""
    entry = {"market": "spot", "symbol": SYMBOL, "timeframe": "1h", "open_time": time,
             "values": values}  # fmt: skip
    body = {"rows": [entry]} | ({"surfaces": list(surfaces)} if surfaces else {})
    exchange = venue.exchange
    exchange.restatements.add(body, exchange.source, exchange.clock.now_ms())


def reread(market, window=LOADED, **more):
    return corrections.reread(market, series("1h", SYMBOL), window, **more)


@pytest.mark.parametrize("provider", ["rest", "archive"])
def test_a_restated_candle_is_found_by_reading_again(market, store, venue, provider):
    before, revision = store.read(LOADED), store.revision
    restate(venue, AT, {"volume": "99999.5"})
    report = reread(market, provider=provider)
    assert (report.outcome, report.records_updated) == ("applied", 1)
    assert store.read(LOADED, revision) == before
    [changed] = [r for r in store.read(LOADED) if r not in before]
    assert (changed["open_time"], str(changed["volume"])) == (AT, "99999.50000000")
    assert [e[:2] + e[5:7] for e in log(store)] == [
        ("reread", "applied", "provider_correction", provider)
    ]


def test_nothing_new_is_logged_as_unchanged(market, store):
    revision = store.revision
    assert reread(market).outcome == "unchanged"
    assert store.revision == revision
    assert [e[:2] for e in log(store)] == [("reread", "unchanged")]


def test_a_candle_the_venue_took_back_is_taken_out_and_stays_readable(market, store, venue):
    before, revision = store.read(LOADED), store.revision
    restate(venue, AT, None)
    report = reread(market)
    assert (report.records_removed, report.records_updated) == (1, 0)
    after = store.read(LOADED)
    assert [r["open_time"] for r in before if r not in after] == [AT]
    assert store.read(LOADED, revision) == before
    assert span("2024-02-10T05:00", "2024-02-10T06:00") in store.absences(LOADED)
    [(total,)] = store.rows(
        "SELECT total_candles FROM market.series_status WHERE series_id = %(id)s"
    )
    assert total == len(before) - 1


def test_a_candle_that_came_back_is_stored_again(market, store, venue):
    before = store.read(LOADED)
    restate(venue, AT, None)
    reread(market)
    venue.exchange.restatements.clear()
    assert reread(market).records_inserted == 1
    assert store.read(LOADED) == before


def test_a_candle_only_the_archive_lost_stays(market, store, venue):
    before = store.read(LOADED)
    restate(venue, AT, None, "monthly", "daily")
    assert reread(market, provider="archive").outcome == "unchanged"
    assert store.read(LOADED) == before


# -- the radar -------------------------------------------------------------------------------


def test_a_first_look_finds_nothing_rewritten(market, store):
    report = radar.examine(market, store.stored)
    assert report.files >= 2
    assert (report.rewritten, report.failed) == ([], [])


def test_a_rewritten_file_is_loaded_again_and_its_differences_published(market, store, venue):
    radar.examine(market, store.stored)
    before, revision = store.read(LOADED), store.revision
    restate(venue, AT, {"volume": "77777.5"})
    report = radar.examine(market, store.stored)
    assert any(key.endswith("FIXUSDT-1h-2024-02.zip") for key in report.rewritten)
    assert (report.candles_changed, report.candles_removed) == (1, 0)
    assert store.read(LOADED, revision) == before
    kinds = {e[:2] for e in log(store)}
    assert kinds == {("restatement", "applied")}
    again = radar.examine(market, store.stored)
    assert (again.rewritten, again.candles_changed) == ([], 0)


def test_a_file_rewritten_since_it_was_loaded_is_seen_at_the_first_look(market, store, venue):
    restate(venue, AT, {"volume": "77777.5"})
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_changed) == (1, 1)


def test_a_monthly_file_that_went_wrong_is_not_believed(market, store, venue):
    radar.examine(market, store.stored)
    before = store.read(LOADED)
    restate(venue, AT, {"volume": "88888"}, "monthly")
    report = radar.examine(market, store.stored)
    assert len(report.rewritten) == 1
    assert report.candles_changed == 0
    assert store.read(LOADED) == before
    rows = store.rows(
        "SELECT field, state, stored_value <> other_value, explanation FROM market.discrepancies"
        " WHERE series_id = %(id)s AND kind = 'archive'"
    )
    assert [r[:3] for r in rows] == [("volume", "explained", True)]
    assert "right by rule" in rows[0][3]


def test_a_daily_file_decides_where_rest_is_silent(market, store, venue):
    """REST has dropped the candle, the monthly file was rewritten, the daily one was not."""
    before = store.read(LOADED)
    restate(venue, AT, {"volume": "88888"}, "monthly")
    restate(venue, AT, None, "rest")
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_changed, report.candles_removed) == (1, 0, 0)
    assert store.read(LOADED) == before


def test_while_rest_cannot_answer_nothing_contested_is_believed(market, store, venue):
    before = store.read(LOADED)
    restate(venue, AT, {"volume": "88888"}, "monthly", "daily")
    venue.fault("503", "api/v3/klines")
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_changed) == (1, 0)
    assert "503" in report.failed[0]
    assert store.read(LOADED) == before
    venue.heal()
    again = radar.examine(market, store.stored)
    assert (len(again.rewritten), again.failed, again.candles_changed) == (1, [], 0)


def test_the_oldest_version_loaded_counts_at_the_first_look(market, store, venue):
    """A single candle read from the rewritten file does not make the rest of it compared."""
    restate(venue, AT, {"volume": "77777.5"})
    late = span("2024-02-25T05:00", "2024-02-25T06:00")
    load(market, series("1h", SYMBOL), late, purpose="x", reread=late)
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_changed) == (1, 1)


# -- symbols that REST has forgotten ---------------------------------------------------------


@pytest.fixture
def forgotten(market_db, tmp_path):
    """An ended symbol that only the archive still knows, loaded and looked at once."""
    files = ReplayFiles(tmp_path)
    files.write(SYMBOL, range(ms("2024-01-01"), ms("2024-03-10"), HOUR))
    files.end(SYMBOL, "2024-03-10T00:00:00Z", forgotten=True)
    with simulated(files.root, NOW) as venue:
        market = market_at(market_db, venue.base_url)
        report = load(market, series("1h", SYMBOL), span("2024-01-01", NOW_DAY), purpose="x")
        assert report.lost == 0
        store = Store(market_db, SYMBOL)
        radar.examine(market, store.stored)
        yield market, store, venue


NOW_DAY = "2024-04-20"


def test_a_rewritten_daily_file_corrects_a_forgotten_symbol(forgotten):
    market, store, venue = forgotten
    restate(venue, AT, {"volume": "77777.5"}, "daily")
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_changed) == (1, 1)
    assert {r["open_time"]: r for r in store.read(LOADED)}[AT]["volume"] == Decimal("77777.5")


def test_a_monthly_file_alone_takes_no_candle_out(forgotten):
    market, store, venue = forgotten
    before = store.read(LOADED)
    restate(venue, AT, None, "monthly")
    report = radar.examine(market, store.stored)
    assert (len(report.rewritten), report.candles_removed) == (1, 0)
    assert store.read(LOADED) == before


def test_both_kinds_of_files_together_do(forgotten):
    market, store, venue = forgotten
    restate(venue, AT, None)
    report = radar.examine(market, store.stored)
    assert report.candles_removed == 1
    assert AT not in {r["open_time"] for r in store.read(LOADED)}


# -- other people's files --------------------------------------------------------------------


def test_a_file_that_claims_the_same_candles_must_be_equal(market, store):
    body = csv(
        row(AT),
        row(AT + HOUR, close="2.00000001"),
        row(HOLE.start_ms),
        row(HOLE.end_ms),
    )
    report = cross_validation.against_file(market, store.stored, body, "friend.csv")
    assert (report.compared, report.only_other, report.discrepancies) == (3, 1, 2)
    rows = store.rows(
        "SELECT field, state, explanation FROM market.discrepancies WHERE series_id = %(id)s"
        " ORDER BY open_time"
    )
    assert [r[:2] for r in rows] == [("close", "open"), ("candle", "explained")]
    assert "never published" in rows[1][2]
