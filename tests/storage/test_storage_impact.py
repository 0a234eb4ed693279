"""The impact of changed candles: exactly the runs that read one, exactly the trades on one."""

from __future__ import annotations

from datetime import datetime

import pytest

from candlevault.storage import backtests, impact
from candlevault.storage.backtests import Read
from candlevault.timeframe import from_ms
from candlevault.windows import Window
from tests.support.market import HOUR, Store, absence, grid, ms, span
from tests.support.outcomes import outcome

ALL = span("2024-01-01", "2024-01-03")
HOLE = span("2024-01-01T10:00", "2024-01-01T14:00")
METRICS = {"final_equity": 1.0, "total_return_pct": 0.0}


@pytest.fixture
def store(database) -> Store:
    store = Store(database)
    store.publish_made(ALL, without=grid(HOLE), absences=[absence(HOLE)])
    return store


def trade(entry: int, exit: int) -> dict:
    return {
        "side": "long", "signal_time": entry - HOUR, "entry_time": entry, "entry_price": 1.0,
        "exit_time": exit, "exit_price": 1.0, "quantity": 1.0, "entry_fee": 0.0, "exit_fee": 0.0,
        "pnl": 0.0, "return_pct": 0.0, "bars_held": 1, "exit_reason": "signal",
        "ambiguous": False, "mae_pct": 0.0, "mfe_pct": 0.0,
    }  # fmt: skip


def ran(store: Store, name: str, window, *trades: dict) -> str:
    """A completed backtest that read `window` as it is now."""
    run = f"{name} {store.series.symbol}"
    backtests.open_record(store.connect, run, {})
    read = Read(store.stored.series_id, window, store.revision)
    backtests.complete(store.connect, run, outcome([read], METRICS, trades))
    return run


def hour(time: int) -> Window:
    return Window(time, time + HOUR)


def change(store: Store, time: int) -> None:
    store.publish_made(hour(time), changes={time: {"volume": 99_999}})


def found(store: Store, since: datetime | None = None) -> dict[str, impact.AffectedBacktest]:
    return {
        one.dag_run_id: one for one in impact.affected(store.connect, store.stored.series_id, since)
    }


def test_only_runs_whose_window_holds_the_candle_are_named(store):
    inside = ran(store, "inside", span("2024-01-01", "2024-01-02"))
    ran(store, "before", span("2024-01-01", "2024-01-01T05:00"))
    ran(store, "after", span("2024-01-01T06:00", "2024-01-02"))
    change(store, ms("2024-01-01T05:00"))
    ran(store, "later", span("2024-01-01", "2024-01-02"))
    assert set(found(store)) == {inside}
    assert found(store)[inside].changed_candles == 1


def test_trades_lie_on_a_candle_by_signal_entry_exit_or_holding(store):
    at = ms("2024-01-02T05:00")
    trades = [
        trade(at, at + 2 * HOUR),
        trade(at - 3 * HOUR, at),
        trade(at + HOUR, at + 2 * HOUR),
        trade(at - HOUR, at + HOUR),
        trade(at + 3 * HOUR, at + 4 * HOUR),
    ]
    run = ran(store, "trades", ALL, *trades)
    change(store, at)
    assert [(t.trade_no, t.relation) for t in found(store)[run].trades] == [
        (1, "entry"), (2, "exit"), (3, "signal"), (4, "held"),
    ]  # fmt: skip


def test_a_candle_published_after_all_is_named_at_its_own_time(store):
    run = ran(store, "early", ALL, trade(ms("2024-01-01T12:00"), ms("2024-01-01T15:00")))
    ran(store, "late", span("2024-01-01T13:00", "2024-01-02"))
    store.publish_made(span("2024-01-01T12:00", "2024-01-01T13:00"))
    told = found(store)
    assert set(told) == {run}
    [one] = told[run].changes
    assert (one["change"], one["open_time"]) == ("published", "2024-01-01T12:00:00+00:00")
    assert [t.relation for t in told[run].trades] == ["entry"]


def test_a_change_back_is_a_change_too(store):
    run = ran(store, "twice", ALL)
    at = ms("2024-01-01T05:00")
    change(store, at)
    store.publish_made(hour(at))
    assert found(store)[run].changed_candles == 1
    assert len(found(store)[run].changes) == 1, "the version that was read was superseded once"


def test_changes_can_be_limited_in_time(store):
    run = ran(store, "since", ALL)
    change(store, ms("2024-01-01T05:00"))
    [(now,)] = store.rows("SELECT clock_timestamp()")
    change(store, ms("2024-01-01T07:00"))
    assert found(store, now)[run].changed_candles == 1
    assert found(store)[run].changed_candles == 2
    assert from_ms(ms("2024-01-01T07:00")).isoformat() in {
        one["open_time"] for one in found(store, now)[run].changes
    }
