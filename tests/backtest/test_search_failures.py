"""Sweeps that fail or are refused: the record says at which step, by which field or point."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.search import concluding, jobs
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Parameter, Strategy
from candlevault.errors import (
    CandlevaultError,
    DataMissing,
    InvalidRequest,
    NotRepeated,
    StorageError,
    StrategyFailed,
)
from candlevault.storage import sweep_results
from tests.support.market import venue_at
from tests.support.sweep_jobs import WALK, begin, conf, connect, record, rows, url, venue

__all__ = ["begin", "connect", "url", "venue"]


def made(name: str, signals) -> Strategy:
    return Strategy(
        name=name,
        version="1",
        title=name,
        description=name,
        parameters=(Parameter("bars", "integer", 3, 1, 100, "Bars."),),
        signals=signals,
        lines=lambda bars, params: {},
    )


def fragile(bars, params):
    if params["bars"] == 7:
        raise RuntimeError("seven is too many")
    wished = np.arange(len(bars.close)) % params["bars"] == 0
    return Signals(enter_long=wished, exit_long=~wished)


def prophet(bars, params):
    later = np.roll(bars.close, -params["bars"]) > bars.close
    return Signals(enter_long=later, exit_long=~later)


@pytest.fixture
def strategies(monkeypatch):
    everyone = registry.builtin() | {
        "fragile": made("fragile", fragile),
        "prophet": made("prophet", prophet),
    }
    monkeypatch.setattr(registry, "builtin", lambda: everyone)


class TestFailures:
    def test_a_point_that_fails_fails_the_sweep_by_name(self, begin, connect, strategies):
        begin(
            "fragile",
            conf({"params": {"bars": [5, 6, 7, 8]}}, backtest={"strategy": {"name": "fragile"}}),
        )
        with pytest.raises(StrategyFailed):
            jobs.run_batch(connect, "fragile", 1)
        held = record(connect, "fragile")
        assert held.status == "failed"
        assert 'point 3, {"bars": 7}' in held.message and "seven is too many" in held.message
        ((step, batch, advice),) = rows(
            connect,
            "SELECT failed_step, failed_batch, advice FROM market.sweeps WHERE sweep_id = %s",
            "fragile",
        )
        assert (step, batch) == ("run_batch", 1) and "strategy" in advice
        assert list(sweep_results.points(connect, "fragile")) == []

    def test_what_cannot_run_at_all_fails_before_the_batches(self, begin, connect, strategies):
        given = conf({"params": {"bars": [7, 8]}}, backtest={"strategy": {"name": "fragile"}})
        with pytest.raises(StrategyFailed, match="point 1"):
            begin("hopeless", given)
        assert rows(
            connect, "SELECT status, failed_step FROM market.sweeps WHERE sweep_id = %s", "hopeless"
        ) == [("failed", "plan")]

    def test_a_strategy_that_knows_the_future_is_found_out(self, begin, connect, strategies):
        begin(
            "prophet",
            conf({"params": {"bars": [1, 2]}}, backtest={"strategy": {"name": "prophet"}}),
        )
        jobs.run_batch(connect, "prophet", 1)
        with pytest.raises(StrategyFailed):
            concluding.conclude(connect, "prophet")
        assert record(connect, "prophet").status == "failed"

    def test_a_best_point_that_comes_out_different_is_refused(self, begin, connect):
        begin("tampered", conf())
        jobs.run_batch(connect, "tampered", 1)
        with connect() as connection:
            connection.execute(
                "UPDATE market.sweep_points p SET metrics = metrics || '{\"sharpe\": 99}'"
                " FROM market.sweeps s WHERE s.sweep_id = p.sweep_id"
                " AND s.dag_run_id = 'tampered' AND point_no = 5"
            )
        with pytest.raises(NotRepeated, match="point 5"):
            concluding.conclude(connect, "tampered")
        assert record(connect, "tampered").status == "failed"

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            (conf(backtest={"symbol": "NOPEUSDT"}), "backtest.symbol"),
            (conf(backtest={"end_time": "2024-04-20T01:00:00Z"}), "backtest.end_time"),
            (conf(backtest={"data": {"as_of": "2999-01-01T00:00:00Z"}}), "backtest.data.as_of"),
            (conf(backtest={"fee_rate": float("inf")}), "backtest.fee_rate"),
            (conf({"params": {"fast\x00": [3]}}), "search.params.fast\ufffd"),
            (conf({"params": {"fsat": [3]}}), "search.params.fsat"),
            (conf(surprise=1), "surprise"),
        ],
    )
    def test_a_refusal_ends_the_record_and_names_the_field(self, begin, connect, given, field):
        run_id = f"refused {id(given)}"
        with pytest.raises(InvalidRequest):
            begin(run_id, given)
        held = record(connect, run_id)
        assert (held.status, held.failed_field) == ("failed", field)
        with pytest.raises(StorageError, match="no accepted sweep"):
            jobs.plan(connect, run_id)

    def test_an_as_of_before_the_candles_were_recorded_is_refused(self, begin, connect):
        given = conf(backtest={"data": {"as_of": "2020-01-01T00:00:00Z"}})
        with pytest.raises(InvalidRequest, match="complete as of"):
            begin("early", given)
        assert record(connect, "early").failed_field == "backtest.data.as_of"

    def test_lost_candles_end_the_sweep_with_the_way_to_load_them(self, connect, venue):
        given = conf(
            backtest={"start_time": "2024-03-05T00:00:00Z", "end_time": "2024-03-20T00:00:00Z"}
        )
        jobs.accept(
            connect, lambda *_: venue_at(venue.base_url), "lost", given, default_venue="binance"
        )
        with pytest.raises(DataMissing, match=r"360 candles .*initial_load"):
            jobs.gather(connect, "lost", lambda series, window: None)
        assert record(connect, "lost").status == "failed"

    def test_a_venue_that_does_not_answer_leaves_the_record_open_for_a_retry(self, connect, venue):
        given = conf(
            backtest={"start_time": "2024-03-05T00:00:00Z", "end_time": "2024-03-20T00:00:00Z"}
        )
        jobs.accept(
            connect, lambda *_: venue_at(venue.base_url), "later", given, default_venue="binance"
        )

        class Away(CandlevaultError):
            transient = True

        def away(series, window):
            raise Away("not now")

        with pytest.raises(Away):
            jobs.gather(connect, "later", away)
        held = record(connect, "later")
        assert (held.status, held.message) == ("fetching_data", "Away: not now")

    def test_a_fold_without_a_candle_is_refused_by_the_plan(self, begin, connect):
        with pytest.raises(InvalidRequest, match=r"2024-02-14.* holds no candle"):
            begin("hole", conf(backtest={"symbol": "HOLEUSDT"}, walk_forward=WALK))
        held = record(connect, "hole")
        assert (held.status, held.failed_field) == ("failed", "walk_forward")
