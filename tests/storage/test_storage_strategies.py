"""Saved strategies: versions that never change, listed, retired, found for a payload."""

from __future__ import annotations

import threading

import pytest

from candlevault.backtest import saved
from candlevault.errors import InvalidRequest
from candlevault.storage import strategies
from candlevault.storage.database import Connect, connector

CROSS = {"name": "sma_cross", "params": {"fast": 5, "slow": 20}}


@pytest.fixture
def connect(market_db) -> Connect:
    return connector(market_db)


def test_saving_again_makes_a_version_only_of_what_changed(connect):
    first = saved.save(connect, "my cross", CROSS, note="first", saved_by="ada")
    assert (first.version, first.runs, first.params) == (1, "sma_cross", {"fast": 5, "slow": 20})
    assert (first.note, first.saved_by) == ("first", "ada")
    assert saved.save(connect, "my cross", CROSS, note="again") == first
    second = saved.save(connect, "my cross", {"name": "sma_cross", "params": {"fast": 6}})
    assert (second.strategy_id, second.version) == (first.strategy_id, 2)
    assert second.params == {"fast": 6, "slow": 50}
    assert strategies.get(connect, first.strategy_id, 1) == first
    assert strategies.get(connect, first.strategy_id) == second
    assert strategies.versions(connect, first.strategy_id) == [first, second]


def test_the_list_has_the_newest_version_of_each_by_name(connect):
    saved.save(connect, "b", CROSS)
    saved.save(connect, "a", CROSS)
    saved.save(connect, "a", {"name": "rsi_reversion"})
    assert [(one.name, one.version) for one in strategies.everything(connect)] == [
        ("a", 2), ("b", 1)]


def test_a_retired_strategy_is_neither_listed_nor_run_nor_saved_over(connect):
    one = saved.save(connect, "old", CROSS)
    strategies.retire(connect, one.strategy_id)
    strategies.retire(connect, one.strategy_id)
    assert strategies.everything(connect) == []
    assert [each.name for each in strategies.everything(connect, retired=True)] == ["old"]
    with pytest.raises(InvalidRequest, match="was retired"):
        saved.finder(connect)(one.strategy_id, None)
    with pytest.raises(InvalidRequest, match="retired strategy"):
        saved.save(connect, "old", CROSS)
    with pytest.raises(InvalidRequest, match="no such saved strategy"):
        strategies.retire(connect, one.strategy_id + 1)


def test_a_payload_finds_what_was_saved(connect):
    one = saved.save(connect, "mine", CROSS)
    find = saved.finder(connect)
    assert find(one.strategy_id, None) == (one.strategy_id, 1, "sma_cross", CROSS["params"])
    with pytest.raises(InvalidRequest) as caught:
        find(one.strategy_id, 2)
    assert (caught.value.field, "must be 1 to 1" in str(caught.value)) == ("strategy.version", True)
    with pytest.raises(InvalidRequest) as caught:
        find(one.strategy_id + 7, None)
    assert caught.value.field == "strategy.id"


@pytest.mark.parametrize(
    ("name", "strategy", "field"),
    [
        ("", CROSS, "name"),
        ("x" * 101, CROSS, "name"),
        ("two\nlines", CROSS, "name"),
        (" padded", CROSS, "name"),
        ("ok", {"name": "sma_crossing"}, "strategy.name"),
        ("ok", {}, "strategy.name"),
        ("ok", CROSS | {"parms": {}}, "strategy.parms"),
        ("ok", {"name": "sma_cross", "params": {"fast": 0}}, "strategy.params.fast"),
        ("ok", {"name": "sma_cross", "params": {"fast": 9, "slow": 3}}, "strategy.params.fast"),
    ],
)
def test_what_cannot_run_is_not_saved(connect, name, strategy, field):
    with pytest.raises(InvalidRequest) as caught:
        saved.save(connect, name, strategy)
    assert caught.value.field == field
    assert strategies.everything(connect) == []


def test_many_savers_at_once_make_versions_without_a_hole(connect):
    errors = []

    def work(fast: int) -> None:
        try:
            saved.save(connect, "shared", {"name": "sma_cross", "params": {"fast": fast}})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(fast,)) for fast in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (one,) = strategies.everything(connect)
    kept = strategies.versions(connect, one.strategy_id)
    assert [each.version for each in kept] == list(range(1, 9))
    assert {each.params["fast"] for each in kept} == set(range(1, 9))
