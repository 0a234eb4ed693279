"""The life of a backtest record: opened, advanced, ended once, results all or none."""

from __future__ import annotations

import dataclasses

import pytest

from candlevault.errors import InvalidRequest, StorageError
from candlevault.storage import backtests
from candlevault.storage.backtests import EquityCurve, Outcome, Read
from candlevault.storage.database import Connect, connector
from candlevault.storage.run_records import Failure
from tests.support.candles import window
from tests.support.market import Store

TRADE = {
    "symbol": "BTCUSDT",
    "side": "long",
    "signal_time": 1_700_000_000_000,
    "entry_time": 1_700_003_600_000,
    "entry_price": 100.0,
    "exit_time": 1_700_007_200_000,
    "exit_price": 110.0,
    "quantity": 2.0,
    "entry_fee": 0.2,
    "exit_fee": 0.22,
    "funding": 0.0,
    "pnl": 19.58,
    "return_pct": 9.77,
    "bars_held": 1,
    "exit_reason": "signal",
    "entry_order": "market",
    "ambiguous": False,
    "mae_pct": -1.0,
    "mfe_pct": 11.0,
}
OUTCOME = Outcome(
    trades={name: [value] for name, value in TRADE.items()},
    equity=EquityCurve(1_700_000_000_000, "1h", [1000.0, 1019.58, 1019.58], [0.0, 0.0, 0.0]),
    bounds={"lowest": 1019.58},
    refused={"no_buying_power": 0},
    trust={"repeats": True},
    significance={"random_entry": None},
    metrics={"final_equity": 1019.58, "total_return_pct": 1.958, "sharpe": None},
    versions={"engine": "1"},
    data_summary={"rows": 3},
    data_fingerprint="f" * 64,
    reads=[Read(1, window("2023-11-14", "2023-11-15"), 7)],
    result_hash="a" * 64,
)


@pytest.fixture
def connect(market_db) -> Connect:
    Store(market_db, "BTCUSDT")
    return connector(market_db)


def status(connect: Connect, run: str) -> str:
    return backtests.get(connect, run).status


def count(connect: Connect, table: str) -> int:
    with connect() as connection:
        return connection.execute(f"SELECT count(*) FROM market.{table}").fetchone()[0]


def test_a_record_goes_from_pending_to_completed_with_its_results(connect):
    backtests.open_record(connect, "run", {"symbol": "BTCUSDT"})
    assert status(connect, "run") == "pending"
    backtests.advance(connect, "run", "fetching_data")
    backtests.advance(connect, "run", "running")
    backtests.complete(connect, "run", OUTCOME)
    assert status(connect, "run") == "completed"
    assert (count(connect, "trades"), count(connect, "performance_summaries")) == (1, 1)
    with connect() as connection:
        row = connection.execute(
            "SELECT trade_count, final_equity, total_return_pct, sharpe"
            " FROM market.performance_summaries"
        ).fetchone()
    assert row == (1, 1019.58, 1.958, None)


def test_completing_twice_stores_once(connect):
    backtests.open_record(connect, "run", {})
    first = backtests.complete(connect, "run", OUTCOME)
    assert backtests.complete(connect, "run", OUTCOME) == first
    assert count(connect, "trades") == 1


def test_a_completed_record_neither_fails_nor_starts_over(connect):
    backtests.open_record(connect, "run", {"a": 1})
    backtests.complete(connect, "run", OUTCOME)
    assert backtests.fail(connect, "run", Failure("too late")) is False
    backtests.advance(connect, "run", "running")
    assert backtests.open_record(connect, "run", {"a": 2}).status == "completed"


def test_the_first_reason_of_a_failure_stays(connect):
    backtests.open_record(connect, "run", {})
    first = Failure("symbol: unknown", "accept", "symbol", "Correct it.")
    assert backtests.fail(connect, "run", first) is True
    assert backtests.fail(connect, "run", Failure("the DAG run failed")) is False
    record = backtests.get(connect, "run")
    assert (record.message, record.failed_field) == ("symbol: unknown", "symbol")
    with connect() as connection:
        row = connection.execute("SELECT failed_step, advice FROM market.backtests").fetchone()
    assert row == ("accept", "Correct it.")


def test_a_record_ended_while_it_ran_stores_nothing(connect):
    backtests.open_record(connect, "run", {})
    backtests.advance(connect, "run", "running")
    backtests.cancel(connect, "run", "cancelled")
    with pytest.raises(StorageError):
        backtests.complete(connect, "run", OUTCOME)
    assert (count(connect, "trades"), count(connect, "performance_summaries")) == (0, 0)


def test_a_task_cleared_after_a_failure_opens_the_record_again(connect):
    backtests.open_record(connect, "run", {})
    backtests.fail(connect, "run", Failure("venue away"))
    backtests.advance(connect, "run", "running")
    backtests.complete(connect, "run", OUTCOME)
    record = backtests.get(connect, "run")
    assert (record.status, record.message) == ("completed", None)


def test_a_result_that_cannot_be_stored_leaves_nothing(connect):
    backtests.open_record(connect, "run", {})
    broken = Outcome(**{**{f: getattr(OUTCOME, f) for f in OUTCOME.__slots__},
                        "trades": {name: [value, "sideways" if name == "side" else value]
                                   for name, value in TRADE.items()}})  # fmt: skip
    with pytest.raises(Exception, match="side"):
        backtests.complete(connect, "run", broken)
    assert count(connect, "trades") == 0
    assert status(connect, "run") == "pending"


def test_a_record_that_is_ended_from_outside_failed_in_the_step_that_began_last(connect):
    backtests.open_record(connect, "run", {})
    for step in ("accept", "gather"):
        backtests.RECORDS.begin_step(connect, "run", step)
    backtests.fail(connect, "run", Failure("killed"))
    # Cleared: what it ended with is forgotten, and the next step is another one.
    backtests.RECORDS.begin_step(connect, "run", "execute")
    backtests.advance(connect, "run", "running")
    with connect() as connection:
        row = "SELECT step, failed_step, message FROM market.backtests"
        assert connection.execute(row).fetchone() == ("execute", None, None)
    backtests.cancel(connect, "run", "cancelled: on request")
    with connect() as connection:
        assert connection.execute(row).fetchone() == ("execute", None, "cancelled: on request")


def test_what_held_a_record_up_is_told_once(connect):
    for run, last in (("same", "venue away"), ("other", "venue slow")):
        backtests.open_record(connect, run, {})
        backtests.note(connect, run, last)
        backtests.fail(connect, run, Failure("venue away"))
    assert backtests.get(connect, "same").message == "venue away"
    assert backtests.get(connect, "other").message == "venue away; last: venue slow"


def test_a_completed_record_is_not_described_anew(connect):
    backtests.open_record(connect, "run", {"strategy": {"name": "old"}})
    backtests.complete(connect, "run", OUTCOME)
    changed = {"strategy": {"name": "new"}}
    backtests.describe(connect, "run", changed, window("2023-11-14", "2023-11-15"))
    assert backtests.get(connect, "run").payload == {"strategy": {"name": "old"}}


def test_what_was_stored_comes_back_to_the_last_bit(connect):
    backtests.open_record(connect, "run", {"symbol": "BTCUSDT"})
    third = 1.0 / 3.0
    odd = dataclasses.replace(
        OUTCOME,
        trades={**OUTCOME.trades, "pnl": [third]},
        equity=EquityCurve(
            1_700_000_000_000, "1h", [1000.0, 1e-300, 0.1 + 0.2], [0.0, 100.0, third]
        ),
    )
    stored = backtests.stored_result(connect, backtests.complete(connect, "run", odd))
    assert stored.trades == odd.trades
    assert stored.equity == odd.equity
    assert stored.reads == odd.reads
    assert (stored.bounds, stored.trust, stored.refused) == (odd.bounds, odd.trust, odd.refused)


def test_a_result_is_asked_for_by_an_id_that_has_one(connect):
    backtests.open_record(connect, "run", {})
    number = backtests.get(connect, "run").backtest_id
    with pytest.raises(InvalidRequest, match="its status is pending"):
        backtests.stored_result(connect, number)
    with pytest.raises(InvalidRequest, match="no such backtest"):
        backtests.stored_result(connect, number + 1)


def test_a_cancel_is_asked_for_once_and_seen_by_the_run(connect):
    backtests.open_record(connect, "run", {})
    number = backtests.get(connect, "run").backtest_id
    with connect() as connection:
        assert backtests.cancel_requested(connection, "run") is False
    assert backtests.request_cancel(connect, number) == "pending"
    assert backtests.request_cancel(connect, number) == "pending"
    with connect() as connection:
        assert backtests.cancel_requested(connection, "run") is True
        assert backtests.cancel_requested(connection, "another") is False
    assert backtests.cancel(connect, "run", "cancelled: on request") is True
    assert status(connect, "run") == "cancelled"
    with pytest.raises(InvalidRequest, match="has ended already: cancelled"):
        backtests.request_cancel(connect, number)
    with pytest.raises(InvalidRequest, match="no such backtest"):
        backtests.request_cancel(connect, number + 1)


@pytest.mark.parametrize("step", ["open", "advance"])
def test_a_cancelled_run_that_is_cleared_runs_again(connect, step):
    backtests.open_record(connect, "run", {})
    backtests.request_cancel(connect, backtests.get(connect, "run").backtest_id)
    # Asked for and not ended yet: a task that is tried again still has to stop.
    backtests.advance(connect, "run", "running")
    with connect() as connection:
        assert backtests.cancel_requested(connection, "run") is True
    backtests.cancel(connect, "run", "cancelled: on request")
    if step == "open":
        backtests.open_record(connect, "run", {})
    else:
        backtests.advance(connect, "run", "running")
    with connect() as connection:
        assert backtests.cancel_requested(connection, "run") is False
    backtests.complete(connect, "run", OUTCOME)
    assert status(connect, "run") == "completed"


def test_the_newest_completed_backtests_come_first(connect):
    numbers = []
    for run in ("one", "two", "open"):
        backtests.open_record(connect, run, {})
        if run != "open":
            numbers.append(backtests.complete(connect, run, OUTCOME))
    assert backtests.newest(connect, 5) == numbers[::-1]
    assert backtests.newest(connect, 1) == numbers[-1:]
