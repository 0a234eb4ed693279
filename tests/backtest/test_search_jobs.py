"""A sweep from payload to conclusion, against a real store and a simulated venue."""

from __future__ import annotations

import json

import numpy as np
import pytest

from candlevault.backtest import result as results
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.search import concluding, jobs
from candlevault.backtest.search.parsing import parse
from candlevault.storage import sweep_results
from tests.support.sweep_jobs import WALK, begin, conf, connect, record, rows, run, url, venue

__all__ = ["begin", "connect", "run", "url", "venue"]


class TestWhole:
    def test_missing_candles_are_loaded_first_and_every_point_is_stored(self, run, connect):
        figures = run("whole")
        assert record(connect, "whole").status == "completed"
        assert figures["points"] == 30
        stored = list(sweep_results.points(connect, "whole"))
        assert [one.number for one in stored] == list(range(1, 31))
        assert stored[0].params == {"fast": 2, "slow": 12}
        ranked = rows(
            connect,
            "SELECT point_no FROM market.sweep_points WHERE sweep_id = %s ORDER BY rank",
            "whole",
        )
        by_sharpe = sorted(stored, key=lambda one: (-one.metrics["sharpe"], one.number))
        assert [number for (number,) in ranked] == [one.number for one in by_sharpe]
        assert figures["best_point"] == by_sharpe[0].number
        assert figures["best_params"] == by_sharpe[0].params
        assert figures["ranking"]["best_value"] == by_sharpe[0].metrics["sharpe"]
        deflated = figures["deflated_sharpe"]
        assert deflated["trials"] == 30
        assert deflated["deflated"] < deflated["probabilistic"]

    def test_every_stored_point_is_the_single_backtest(self, run, connect):
        run("singles", conf({"params": {"fast": [3, 7], "risk.stop_loss_pct": [None, 2]}}))
        request = parse(record(connect, "singles").payload)
        for one in sweep_results.points(connect, "singles"):
            single_request = request.request(one.number)
            single = results.run(single_request, prepare(connect, single_request).inputs)
            assert one.metrics == single.metrics.as_dict()

    def test_the_hash_covers_every_figure_of_every_point(self, run, begin, connect):
        wanted = run("clean")
        begin("touched", conf())
        jobs.run_batch(connect, "touched", 1)
        other = next(number for number in (1, 2) if number != wanted["best_point"])
        with connect() as connection:
            connection.execute(
                "UPDATE market.sweep_points p SET metrics = metrics || '{\"fees_paid\": 1.5}'"
                " FROM market.sweeps s WHERE s.sweep_id = p.sweep_id"
                " AND s.dag_run_id = 'touched' AND point_no = %s",
                (other,),
            )
        found = concluding.conclude(connect, "touched")
        assert found["best_point"] == wanted["best_point"]
        assert found["ranking"] == wanted["ranking"]
        assert found["result_hash"] != wanted["result_hash"]

    def test_positions_in_futures_pay_funding_in_every_point_and_fold(self, run, connect):
        given = conf({"params": {"fast": [3, 7]}}, backtest={"market": "um"}, walk_forward=WALK)
        run("futures", given)
        request = parse(record(connect, "futures").payload)
        for one in sweep_results.points(connect, "futures"):
            single_request = request.request(one.number)
            single = results.run(single_request, prepare(connect, single_request).inputs)
            assert one.metrics == single.metrics.as_dict()
            assert one.metrics["funding_paid"] > 0
        paid = rows(
            connect,
            "SELECT (out_of_sample ->> 'funding_paid')::float8 FROM market.walk_forward_folds"
            " WHERE sweep_id = %s",
            "futures",
        )
        assert sum(one for (one,) in paid) > 0

    def test_the_same_sweep_gives_the_same_hash_however_it_is_split(
        self, run, connect, monkeypatch
    ):
        given = conf(walk_forward=WALK)
        hashes = set()
        for run_id, least, most in (("one", 50, 8), ("many", 4, 8), ("three", 4, 3)):
            monkeypatch.setattr(jobs, "LEAST_POINTS", least)
            monkeypatch.setenv("CANDLEVAULT_SWEEP_BATCHES", str(most))
            hashes.add(run(run_id, given)["result_hash"])
        counts = [
            len(rows(connect, "SELECT 1 FROM market.sweep_batches WHERE sweep_id = %s", run_id))
            for run_id in ("one", "many", "three")
        ]
        assert counts == [1, 7, 3]
        assert len(hashes) == 1

    def test_what_decides_the_result_changes_the_hash(self, run):
        one = run("fees", conf(backtest={"fee_rate": 0.002}))
        assert one["result_hash"] != run("no-fees", conf(backtest={"fee_rate": 0}))["result_hash"]

    def test_the_walk_forward_analysis_is_stored_fold_by_fold(self, run, connect):
        figures = run("walk", conf(walk_forward=WALK))
        assert figures["walk_forward"]["folds"] == 4
        scores = [one.fold_scores for one in sweep_results.points(connect, "walk")]
        found = rows(
            connect,
            "SELECT fold_no, in_sample_start::text, out_of_sample_start::text,"
            " out_of_sample_end::text, point_no, params, (in_sample ->> 'sharpe')::float8,"
            " (out_of_sample ->> 'total_return_pct')::float8"
            " FROM market.walk_forward_folds WHERE sweep_id = %s ORDER BY fold_no",
            "walk",
        )
        assert [row[1:4] for row in found] == [
            ("2024-02-05 00:00:00+00", "2024-02-14 00:00:00+00", "2024-02-18 00:00:00+00"),
            ("2024-02-09 00:00:00+00", "2024-02-18 00:00:00+00", "2024-02-22 00:00:00+00"),
            ("2024-02-13 00:00:00+00", "2024-02-22 00:00:00+00", "2024-02-26 00:00:00+00"),
            ("2024-02-17 00:00:00+00", "2024-02-26 00:00:00+00", "2024-03-01 00:00:00+00"),
        ]
        for position, row in enumerate(found):
            column = [one[position] for one in scores]
            assert row[6] == max(column)
            assert row[4] == column.index(max(column)) + 1
        ((equity, first),) = rows(
            connect,
            "SELECT equity, first_open_time::text FROM market.walk_forward_curves"
            " WHERE sweep_id = %s",
            "walk",
        )
        growth = np.prod([1.0 + row[7] / 100.0 for row in found])
        assert len(equity) == 16 * 24 and first == "2024-02-14 00:00:00+00"
        assert equity[-1] == pytest.approx(10_000 * growth)
        assert figures["walk_forward"]["metrics"]["final_equity"] == equity[-1]

    def test_a_completed_sweep_answers_with_what_is_stored(self, run, connect):
        first = run("twice")
        assert concluding.conclude(connect, "twice") == first
        assert jobs.run_batch(connect, "twice", 1) == 0
        assert concluding.conclude(connect, "twice") == first

    def test_headline_figures_are_small(self, run):
        assert len(json.dumps(run("small", conf(walk_forward=WALK)))) < 8_000
