"""The series lock: the second waits and is told; it ends with its process, however that ends."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest

from candlevault.errors import SeriesBusy
from candlevault.storage.database import connector
from candlevault.storage.locks import series_lock


def _hold(url: str, series_id: int, told) -> None:
    with series_lock(connector(url), series_id):
        told.send("held")
        time.sleep(600)


def test_the_second_waits_until_the_first_is_done(store):
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with series_lock(store.connect, 7001):
            inside.set()
            go_on.wait(10)
            order.append("first done")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        go_on.set()
        time.sleep(0.02)

    told: list[str] = []
    with series_lock(store.connect, 7001, waiting=lambda: told.append("waiting"), sleep=sleep):
        order.append("second in")
    thread.join()
    assert order == ["first done", "second in"]
    assert told == ["waiting"]
    assert waits


def test_another_series_does_not_wait(store):
    with series_lock(store.connect, 7002), series_lock(store.connect, 7003, wait_s=0):
        pass


def test_waiting_ends_with_an_error_that_can_be_retried(store):
    with (
        series_lock(store.connect, 7004),
        pytest.raises(SeriesBusy, match="still being loaded") as raised,
        series_lock(store.connect, 7004, wait_s=0, sleep=lambda seconds: None),
    ):
        pass
    assert raised.value.transient


def test_the_lock_is_free_again_after_an_error(store):
    with pytest.raises(ZeroDivisionError), series_lock(store.connect, 7005):
        raise ZeroDivisionError
    with series_lock(store.connect, 7005, wait_s=0):
        pass


def test_the_lock_of_a_killed_process_is_freed(store):
    context = multiprocessing.get_context("spawn")
    hears, tells = context.Pipe(duplex=False)
    holder = context.Process(target=_hold, args=(store.url, 7006, tells), daemon=True)
    holder.start()
    assert hears.poll(60)
    hears.recv()
    with pytest.raises(SeriesBusy), series_lock(store.connect, 7006, wait_s=0):
        pass
    holder.kill()
    holder.join(10)
    with series_lock(store.connect, 7006, wait_s=20):
        pass


def test_a_server_that_went_away_meanwhile_does_not_hide_the_result(store):
    with series_lock(store.connect, 7007), store.connect() as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND objid = 7007"
        )


def test_a_waiter_whose_connection_is_cut_goes_on_waiting_and_tells_once(store):
    told: list[str] = []

    def sleep(seconds: float) -> None:
        with store.connect() as other:
            if len(told) == 1:
                told.append("cut")
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock%'"
                    " AND pid <> pg_backend_pid() AND pid NOT IN"
                    " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
                )
            else:
                go_on.set()
        time.sleep(0.02)

    go_on, inside = threading.Event(), threading.Event()

    def first() -> None:
        with series_lock(store.connect, 7008):
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with series_lock(store.connect, 7008, waiting=lambda: told.append("waiting"), sleep=sleep):
        pass
    thread.join()
    assert told == ["waiting", "cut"]
