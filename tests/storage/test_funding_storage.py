"""Funding as rows: nothing overwritten, every state readable, silence told from ignorance."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault import funding as core
from candlevault import identities
from candlevault.errors import InvalidRequest, LeaseLost, StorageError
from candlevault.funding import FundingEvent, FundingPage
from candlevault.identities import Lifetime
from candlevault.instruments import InstrumentFacts
from candlevault.series import parse
from candlevault.storage import funding, instruments
from candlevault.storage.database import connector
from candlevault.storage.funding import Written
from candlevault.storage.locks import begin_funding_write
from candlevault.windows import Window, merge, subtract
from tests.support import candles as made
from tests.support.market import DAY, HOUR, ms, new_symbol, span

START = ms("2024-03-01")
WEEK = Window(START, START + 7 * DAY)
_urls = itertools.count(1)


def event(hours: float, rate: str = "0.0001", mark: str | None = None, late: int = 0):
    when = START + int(hours * HOUR) + late
    return FundingEvent(when, Decimal(rate), None if mark is None else Decimal(mark))


def page(window: Window, *events: FundingEvent) -> FundingPage:
    series = parse("binance", "um", "BTCUSDT", "1h")
    fetch = made.fetch(series, "binance_um_rest", timeframe="funding", rows=len(events))
    return FundingPage(window, events, fetch)


class Contract:
    """An instrument of its own in the shared database."""

    def __init__(self, url: str, symbol: str | None = None, lifetime: int = 1) -> None:
        self.connect = connector(url)
        self.symbol = symbol or new_symbol()
        facts = InstrumentFacts(self.symbol, self.symbol, "", "USDT", "TRADING", trading=True)
        begins = None if lifetime == 1 else START
        with self.connect() as connection:
            self.id = instruments.record(
                connection, "binance", "um", facts, Lifetime(lifetime, begins)
            )

    def write(self, *pages: FundingPage) -> Written:
        with self.connect() as connection:
            after = funding.newest_load(connection, self.id)
        return funding.write(self.connect, self.id, pages, after=after)

    def read(self, window: Window = WEEK, as_of: datetime | None = None) -> funding.Funding:
        with self.connect() as connection:
            return funding.read(connection, self.id, window, as_of)

    def pairs(self, as_of: datetime | None = None) -> list[tuple[int, float]]:
        events = self.read(as_of=as_of).events
        return list(zip(events.times.tolist(), events.rates.tolist(), strict=True))

    def rows(self, statement: str) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(statement, {"id": self.id}).fetchall()

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) FROM market.{table} WHERE instrument_id = %(id)s")[0][0]

    def now(self) -> datetime:
        return self.rows("SELECT clock_timestamp()")[0][0]


@pytest.fixture
def contract(database: str) -> Contract:
    return Contract(database)


def test_what_was_written_is_read_as_plain_arrays(contract):
    done = contract.write(
        page(WEEK, event(0, "0.00010000", "61440.20"), event(8, "-0.00037525", late=11))
    )
    assert done == Written(inserted=2)
    found = contract.read()
    assert found.events.times.tolist() == [START, START + 8 * HOUR + 11]
    assert found.events.rates.tolist() == [0.0001, -0.00037525]
    assert (found.events.times.dtype, found.events.rates.dtype) == ("int64", "float64")
    assert (found.window, found.missing) == (WEEK, ())


def test_a_window_without_funding_is_not_one_that_was_never_loaded(contract):
    never = contract.read()
    assert (len(never.events.times), never.missing) == (0, (WEEK,))
    contract.write(page(WEEK))
    silent = contract.read()
    assert (len(silent.events.times), silent.missing) == (0, ())
    assert silent.fingerprint != never.fingerprint


def test_what_is_missing_is_told_part_by_part(contract):
    contract.write(page(Window(START + DAY, START + 2 * DAY), event(24), event(32)))
    contract.write(page(Window(START + 2 * DAY, START + 3 * DAY)))
    contract.write(page(Window(START + 5 * DAY, START + 9 * DAY)))
    assert contract.read().missing == (
        Window(START, START + DAY),
        Window(START + 3 * DAY, START + 5 * DAY),
    )
    inside = Window(START + 26 * HOUR, START + 60 * HOUR)
    assert contract.read(inside).missing == ()
    assert contract.read(inside).events.times.tolist() == [START + 32 * HOUR]


def test_ends_of_a_read_are_half_open(contract):
    contract.write(page(WEEK, event(0), event(8), event(16)))
    window = Window(START + 8 * HOUR, START + 16 * HOUR)
    assert contract.read(window).events.times.tolist() == [START + 8 * HOUR]


def test_a_restated_rate_is_read_as_of_before_and_after(contract):
    contract.write(page(WEEK, event(0, "0.0001"), event(8, "0.0002")))
    before = contract.now()
    first = contract.read()
    assert contract.write(page(WEEK, event(0, "0.0001"), event(8, "0.0005"))) == Written(
        changed=1, unchanged=1
    )
    assert contract.pairs() == [(START, 0.0001), (START + 8 * HOUR, 0.0005)]
    assert contract.pairs(before) == [(START, 0.0001), (START + 8 * HOUR, 0.0002)]
    assert contract.read(as_of=before).fingerprint == first.fingerprint
    assert contract.read().fingerprint != first.fingerprint
    assert contract.pairs(contract.now()) == contract.pairs()
    assert contract.count("funding_rates") == 3


def test_before_anything_was_stored_everything_was_missing(contract):
    before = contract.now()
    contract.write(page(WEEK, event(8)))
    assert contract.read(as_of=before).missing == (WEEK,)
    assert contract.pairs(before) == []


def test_an_event_that_the_venue_tells_no_more_is_withdrawn_and_may_come_back(contract):
    contract.write(page(WEEK, event(0), event(8, mark="100"), event(16)))
    states = [contract.now()]
    assert contract.write(page(WEEK, event(0), event(16))) == Written(unchanged=2, withdrawn=1)
    states.append(contract.now())
    assert contract.write(page(WEEK, event(0), event(8, "0.0003"), event(16))) == Written(
        inserted=1, unchanged=2
    )
    states.append(contract.now())
    assert [len(contract.pairs(state)) for state in states] == [3, 2, 3]
    assert dict(contract.pairs())[START + 8 * HOUR] == 0.0003


def test_only_events_inside_the_windows_that_were_asked_for_are_withdrawn(contract):
    contract.write(page(WEEK, event(0), event(8), event(16), event(24)))
    part = Window(START + 8 * HOUR, START + 24 * HOUR)
    assert contract.write(page(part, event(16))) == Written(unchanged=1, withdrawn=1)
    assert [when for when, _ in contract.pairs()] == [
        START, START + 16 * HOUR, START + 24 * HOUR
    ]  # fmt: skip


def test_pages_read_again_leave_each_others_events_alone(contract):
    days = [Window(START + n * DAY, START + (n + 1) * DAY) for n in range(3)]
    events = [event(8), event(32), event(56)]
    pages = [page(day, one) for day, one in zip(days, events, strict=True)]
    assert contract.write(*pages) == Written(inserted=3)
    assert contract.write(*pages) == Written(unchanged=3)
    assert contract.write(pages[0], page(days[1]), pages[2]) == Written(unchanged=2, withdrawn=1)


def test_a_mark_price_that_is_not_told_does_not_take_one_away(contract):
    marks = "SELECT mark_price FROM market.funding WHERE instrument_id = %(id)s"
    contract.write(page(WEEK, event(8)))
    content = contract.read().fingerprint
    assert contract.write(page(WEEK, event(8, mark="61440.2"))) == Written(changed=1)
    assert contract.write(page(WEEK, event(8))) == Written(unchanged=1)
    assert contract.rows(marks) == [(Decimal("61440.20000000"),)]
    # A changed rate without a mark price keeps the one known.
    assert contract.write(page(WEEK, event(8, "0.0002"))) == Written(changed=1)
    assert contract.rows(marks) == [(Decimal("61440.20000000"),)]
    contract.write(page(WEEK, event(8)))
    assert contract.read().fingerprint == content


def test_the_fingerprint_is_the_hash_of_times_rates_and_missing_windows(contract):
    part = Window(START, START + DAY)
    contract.write(page(part, event(0, "0.00010000"), event(8, "-0.00037525", late=11)))
    text = (
        f"{START},0.0001\n{START + 8 * HOUR + 11},-0.00037525\n"
        f"missing\n{part.end_ms},{WEEK.end_ms}\n"
    )
    assert contract.read().fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_equal_content_has_the_same_fingerprint_however_it_was_loaded(database):
    once, twice = Contract(database), Contract(database)
    once.write(page(WEEK, event(0), event(8), event(16, "0")))
    middle = START + 12 * HOUR
    twice.write(page(Window(middle, WEEK.end_ms), event(16, "-0.0")))
    twice.write(page(Window(START, middle), event(0, "0.5"), event(8)))
    twice.write(page(Window(START, middle), event(0, "0.00010"), event(8)))
    assert once.read().fingerprint == twice.read().fingerprint


def test_every_row_leads_to_the_answer_it_came_from(contract):
    middle = START + 12 * HOUR
    first, second = page(Window(START, middle), event(8)), page(Window(middle, WEEK.end_ms))
    contract.write(first, second)
    found = contract.rows(
        "SELECT f.url, f.sha256, p.name, p.market, f.batch_id, w.events, w.window_end"
        " FROM market.funding_windows w JOIN market.fetches f USING (fetch_id)"
        " JOIN market.providers p USING (provider_id) WHERE w.instrument_id = %(id)s"
        " ORDER BY w.window_start"
    )
    assert found == [
        (one.fetch.url, one.fetch.sha256, "binance_um_rest", "um", None, len(one.events),
         one.covers.end)
        for one in (first, second)
    ]  # fmt: skip
    assert contract.rows(
        "SELECT f.url FROM market.funding_rates r JOIN market.fetches f USING (fetch_id)"
        " WHERE r.instrument_id = %(id)s"
    ) == [(first.fetch.url,)]


def test_one_answer_to_several_windows_is_one_fetch(contract):
    middle = START + DAY
    first = page(Window(START, middle))
    contract.write(first, replace(first, covers=Window(middle, WEEK.end_ms)))
    assert contract.count("funding_windows") == 2
    with contract.connect() as connection:
        answers = connection.execute(
            "SELECT count(*) FROM market.fetches WHERE url = %s", (first.fetch.url,)
        ).fetchone()
    assert answers == (1,)


def test_the_view_shows_the_events_of_today_only(contract):
    contract.write(page(WEEK, event(0), event(8, "0.0002", "50"), event(16)))
    contract.write(page(WEEK, event(8, "0.0004"), event(16)))
    shown = contract.rows(
        "SELECT venue, market, symbol, funding_time, rate, mark_price FROM market.funding"
        " WHERE instrument_id = %(id)s ORDER BY funding_time"
    )
    assert [row[:3] for row in shown] == [("binance", "um", contract.symbol)] * 2
    assert [row[4:] for row in shown] == [
        (Decimal("0.0004"), Decimal("50")), (Decimal("0.0001"), None)
    ]  # fmt: skip


def test_instruments_do_not_see_each_other(database):
    mine, other = Contract(database), Contract(database)
    mine.write(page(WEEK, event(8)))
    assert (other.pairs(), other.read().missing) == ([], (WEEK,))
    other.write(page(WEEK, event(8, "0.9")))
    assert mine.pairs() == [(START + 8 * HOUR, 0.0001)]


# -- all or nothing -----------------------------------------------------------------------------


def nothing_stored(contract: Contract) -> bool:
    tables = ("funding_rates", "funding_windows")
    return not any(contract.count(table) for table in tables)


def test_rates_and_ledger_are_written_together_or_not_at_all(contract):
    """The ledger comes last: where it cannot be written, the rates before it go too."""
    with contract.connect() as connection:
        connection.execute(
            "CREATE FUNCTION market.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no ledger today'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON market.funding_windows FOR EACH ROW"
            f" WHEN (NEW.instrument_id = {contract.id}) EXECUTE FUNCTION market.refuse()"
        )
    with pytest.raises(psycopg.errors.RaiseException, match="no ledger today"):
        contract.write(page(WEEK, event(8), event(16)))
    assert nothing_stored(contract)
    with contract.connect() as connection:
        connection.execute("DROP FUNCTION market.refuse CASCADE")
    assert contract.write(page(WEEK, event(8), event(16))) == Written(inserted=2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (event(8, "1"), "check constraint"),
        (event(8, "-1"), "check constraint"),
        (event(8, "NaN"), "check constraint"),
        (event(8, "0.1", "0"), "check constraint"),
        (event(8, "0.1", "1e13"), "overflow"),
        (event(0), "duplicate key"),
    ],
)
def test_a_value_that_breaks_a_rule_of_the_tables_stores_nothing(contract, bad, words):
    with pytest.raises(StorageError, match=words):
        contract.write(page(WEEK, event(0), bad))
    assert nothing_stored(contract)


DAYS = [Window(START + n * DAY, START + (n + 1) * DAY) for n in range(4)]


@pytest.mark.parametrize(
    "pages",
    [
        [],
        [page(DAYS[0]), page(DAYS[2])],
        [page(DAYS[1]), page(DAYS[0])],
        [page(DAYS[0]), page(DAYS[0])],
        [page(DAYS[0], event(24))],
        [page(DAYS[1], event(23))],
    ],
    ids=["none", "a hole", "backwards", "twice", "an event after", "an event before"],
)
def test_pages_that_do_not_hold_what_they_cover_are_refused(contract, pages):
    with pytest.raises(StorageError, match="of funding"):
        contract.write(*pages)
    assert nothing_stored(contract)


def test_a_writer_that_was_overtaken_stores_nothing(contract):
    """Its answers may be older than what is stored by now."""
    contract.write(page(WEEK, event(8, "0.0001")))
    with contract.connect() as connection:
        seen = funding.newest_load(connection, contract.id)
    contract.write(page(WEEK, event(8, "0.0009")))
    for stale in (seen, None):
        with pytest.raises(LeaseLost, match="written meanwhile"):
            funding.write(contract.connect, contract.id, [page(WEEK, event(8))], after=stale)
    assert contract.pairs() == [(START + 8 * HOUR, 0.0009)]


def test_of_writers_at_once_one_wins_and_the_others_lose_their_lease(contract):
    gate = threading.Barrier(4)

    def write(number: int) -> Written | str:
        brought = [page(WEEK, event(8, f"0.000{number + 1}"), event(16))]
        gate.wait()
        try:
            return funding.write(contract.connect, contract.id, brought, after=None)
        except LeaseLost:
            return "lost"

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(write, range(4)))
    assert sorted(map(str, done)) == [str(Written(inserted=2)), "lost", "lost", "lost"]
    assert contract.count("funding_rates") == 2


def test_the_time_of_recording_grows_even_when_the_clock_was_set_back(contract):
    contract.write(page(WEEK, event(8)))
    ahead = contract.now() + timedelta(days=400)
    with contract.connect() as connection:
        for table, column in (("funding_windows", "loaded_at"), ("funding_rates", "recorded_at")):
            connection.execute(
                f"UPDATE market.{table} SET {column} = %s WHERE instrument_id = %s",
                (ahead, contract.id),
            )
    contract.write(page(WEEK, event(8, "0.0007")))
    with contract.connect() as connection:
        newest = funding.newest_load(connection, contract.id)
    assert newest == ahead + timedelta(microseconds=1)
    assert contract.pairs() == [(START + 8 * HOUR, 0.0007)]
    assert contract.pairs(ahead) == [(START + 8 * HOUR, 0.0001)]


def test_an_instant_is_read_only_after_writes_that_may_lie_before_it(contract):
    """What was recorded before as_of counts even if it is committed after the question."""
    with contract.connect() as writer, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            begin_funding_write(writer, contract.id)
            fetch_id = funding._insert_fetches(writer, contract.id, [page(WEEK).fetch])[0]
            as_of = writer.execute(
                "INSERT INTO market.funding_windows VALUES"
                " (%s, %s, %s, clock_timestamp(), 1, %s) RETURNING loaded_at",
                (contract.id, WEEK.start, WEEK.end, fetch_id),
            ).fetchone()[0]
            writer.execute(
                "INSERT INTO market.funding_rates VALUES (%s, %s, %s, 0.0001, NULL, %s)",
                (contract.id, WEEK.start, as_of, fetch_id),
            )
            asked = pool.submit(contract.pairs, as_of)
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND objid = %(id)s"
            )
            deadline = time.monotonic() + 30
            while contract.rows(waiting) != [(1,)] and time.monotonic() < deadline:
                assert not asked.done(), "the reader did not wait"
                time.sleep(0.01)
        assert asked.result(30) == [(START, 0.0001)]


def test_an_instant_without_a_zone_is_refused(contract):
    contract.write(page(WEEK))
    with pytest.raises(InvalidRequest) as refused:
        contract.read(as_of=datetime(2024, 1, 1))  # noqa: DTZ001
    assert refused.value.field == "as_of"


# -- any sequence of writes ----------------------------------------------------------------------

SLOTS = 6
slot_pages = st.tuples(
    st.integers(0, SLOTS - 1),
    st.integers(1, SLOTS),
    st.dictionaries(st.integers(0, SLOTS - 1), st.integers(-2, 2), max_size=SLOTS),
)


@settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(slot_pages, min_size=1, max_size=5))
def test_any_sequence_of_writes_reads_back_like_a_model(database, sequence):
    contract = Contract(database)
    whole = Window(START, START + SLOTS * HOUR)
    stored: dict[int, int] = {}
    loaded: list[Window] = []
    history = [(contract.now(), {}, [])]
    for first, length, rates in sequence:
        window = Window(START + first * HOUR, START + min(first + length, SLOTS) * HOUR)
        brought = {s: r for s, r in rates.items() if window.contains(START + s * HOUR)}
        events = [event(slot, f"{rate}e-4") for slot, rate in sorted(brought.items())]
        done = contract.write(page(window, *events))
        before = {s: r for s, r in stored.items() if window.contains(START + s * HOUR)}
        assert done == Written(
            inserted=len(brought.keys() - before.keys()),
            changed=sum(s in before and before[s] != r for s, r in brought.items()),
            unchanged=sum(before.get(s) == r for s, r in brought.items()),
            withdrawn=len(before.keys() - brought.keys()),
        )
        stored = {s: r for s, r in stored.items() if s not in before} | brought
        loaded = merge([*loaded, window])
        history.append((contract.now(), stored, loaded))
    prints: dict[str, tuple] = {}
    for as_of, events_then, loaded_then in history:
        found = contract.read(whole, as_of)
        slots = sorted(events_then)
        assert found.events.times.tolist() == [START + slot * HOUR for slot in slots]
        assert found.events.rates.tolist() == [float(f"{events_then[s]}e-4") for s in slots]
        assert found.missing == tuple(subtract(whole, loaded_then))
        state = (events_then, found.missing)
        assert prints.setdefault(found.fingerprint, state) == state
    assert contract.read(whole).fingerprint == contract.read(whole, contract.now()).fingerprint


# -- symbols that have meant two instruments ------------------------------------------------------


def series(symbol: str, code: str = "1h"):
    return parse("binance", "um", symbol, code)


def read_series(contract: Contract, code: str = "1h", window: Window = WEEK) -> funding.Funding:
    with contract.connect() as connection:
        return funding.read_series(connection, series(contract.symbol, code), window)


def test_a_series_is_read_by_its_instrument_whatever_the_timeframe(contract):
    contract.write(page(WEEK, event(8), event(16)))
    plain = contract.read()
    for code in ("1m", "1h", "1d", "1w"):
        found = read_series(contract, code)
        assert found.fingerprint == plain.fingerprint
        assert found.events.times.tolist() == plain.events.times.tolist()


def test_of_an_unknown_instrument_everything_is_missing(contract, database):
    nobody = Contract(database)
    nobody.symbol = "NOBODYUSDT"
    assert read_series(nobody).missing == (WEEK,)


def test_a_window_over_two_instruments_is_read_from_both(database, monkeypatch):
    symbol = new_symbol()
    # A Wednesday: no week begins there.
    begins = ms("2024-03-06")
    known = {("binance", "um", symbol): (Lifetime(), Lifetime(2, begins))}
    monkeypatch.setattr(identities, "catalogue", lambda: known)
    old, new = Contract(database, symbol), Contract(database, symbol, lifetime=2)
    window = span("2024-03-04", "2024-03-08")
    old.write(page(window, *(event(h) for h in (80, 120))))
    for code in ("1h", "1w"):
        found = read_series(old, code, window)
        assert found.events.times.tolist() == [START + 80 * HOUR]
        assert found.missing == (Window(begins, window.end_ms),)
    new.write(page(window, event(112, "0.5"), event(128, "0.25")))
    for code in ("1h", "1w"):
        found = read_series(old, code, window)
        assert found.events.times.tolist() == [START + 80 * HOUR, START + 128 * HOUR]
        assert found.events.rates.tolist() == [0.0001, 0.25]
        assert found.missing == ()


# -- what is pure ---------------------------------------------------------------------------------


def test_windows_are_widened_to_whole_minutes():
    assert core.whole_minutes(Window(60_001, 119_999)) == Window(60_000, 120_000)
    assert core.whole_minutes(Window(60_000, 120_000)) == Window(60_000, 120_000)


def test_a_pause_longer_than_any_interval_is_a_silence(contract):
    hours = (0, 8, 16, 24, 32.5, 33, 49)
    contract.write(page(WEEK, *(event(h, late=int(h)) for h in hours)))
    assert core.silences(contract.read().events.times) == [
        Window(START + 24 * HOUR + 24, START + int(32.5 * HOUR) + 32),
        Window(START + 33 * HOUR + 33, START + 49 * HOUR + 49),
    ]
    assert core.silences(contract.read(Window(START, START + HOUR)).events.times) == []


def test_perpetual_futures_pay_funding_and_spot_does_not():
    assert core.is_paid("um")
    assert not any(map(core.is_paid, ("spot", "crypto", "stocks", "forex")))
