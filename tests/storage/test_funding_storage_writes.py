"""Writes of funding: all or nothing, one at a time, and in any sequence."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault.errors import InvalidRequest, LeaseLost, StorageError
from candlevault.storage import funding
from candlevault.storage.funding import Written
from candlevault.storage.locks import begin_funding_write
from candlevault.windows import Window, merge, subtract
from tests.support.funding_rows import START, WEEK, Contract, contract, event, page
from tests.support.market import DAY, HOUR

__all__ = ["contract"]

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
