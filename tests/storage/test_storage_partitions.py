"""Partitions: made ahead of need, split at the right instant, by two makers at once."""

from __future__ import annotations

import threading

import pytest

from candlevault.storage.database import connector
from tests.support.market import HOUR, Store, grid, made, ms, span


def partition_of(store: Store) -> dict[int, str]:
    rows = store.rows(
        "SELECT (extract(epoch FROM open_time) * 1000)::bigint, tableoid::regclass::text"
        f" FROM market.candles_{store.series.timeframe} WHERE series_id = %(id)s"
    )
    return {time: name.removeprefix("market.").strip('"') for time, name in rows}


def test_the_turn_of_the_year_is_where_the_partition_ends(store):
    window = span("2031-12-31T22:00", "2032-01-01T02:00")
    store.publish_made(window)
    found = partition_of(store)
    assert found == {
        ms("2031-12-31T22:00"): "candles_1h_2031",
        ms("2031-12-31T23:00"): "candles_1h_2031",
        ms("2032-01-01T00:00"): "candles_1h_2032",
        ms("2032-01-01T01:00"): "candles_1h_2032",
    }


def test_minutes_are_kept_by_month(database):
    store = Store(database, code="1m")
    store.publish_made(span("2031-03-31T23:59", "2031-04-01T00:01"))
    assert set(partition_of(store).values()) == {"candles_1m_2031_03", "candles_1m_2031_04"}


def test_the_next_partition_is_there_before_it_is_needed(store):
    store.publish_made(span("2035-12-15", "2035-12-16"))
    [(name,)] = store.rows("SELECT to_regclass('market.candles_1h_2036')::text")
    assert name is not None


def test_a_partition_carries_the_constraints_and_the_key(store):
    store.publish_made(span("2037-01-01", "2037-01-02"))
    kinds = store.rows(
        "SELECT contype, count(*) FROM pg_constraint"
        " WHERE conrelid = 'market.candles_1h_2037'::regclass GROUP BY contype"
    )
    assert dict(kinds)["p"] == 1
    assert dict(kinds)["c"] >= 10


@pytest.mark.parametrize("year", range(2041, 2045))
def test_two_publishers_at_once_in_a_fresh_year_both_succeed(database, year):
    stores = [Store(database) for _ in range(4)]
    window = span(f"{year}-06-01", f"{year}-06-02")
    start = threading.Barrier(len(stores))
    failures = []

    def work(store: Store) -> None:
        start.wait()
        try:
            store.publish_made(window)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [len(store.read(window)) for store in stores] == [24] * 4


def test_asking_for_partitions_twice_makes_them_once(database):
    with connector(database)() as connection:
        ask = "SELECT market.ensure_partitions('1d', '2050-06-01', '2052-06-01')"
        assert connection.execute(ask).fetchone()[0] == 3
        assert connection.execute(ask).fetchone()[0] == 0


def test_a_session_in_another_time_zone_makes_the_same_partitions(store):
    with store.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        connection.execute("SELECT market.ensure_partitions('1h', '2060-06-01Z', '2060-06-02Z')")
    window = span("2060-01-01", "2060-01-01T01:00")
    store.publish(made(grid(window)), window)
    assert partition_of(store) == {window.start_ms: "candles_1h_2060"}
    last = ms("2060-12-31T23:00")
    store.publish(made([last]))
    assert partition_of(store)[last] == "candles_1h_2060"
    assert last + HOUR == ms("2061-01-01")
