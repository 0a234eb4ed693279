"""A whole run: repeatable to the byte, versions inside, frame and request must agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import candlevault
from candlevault import timeframe as timeframes
from candlevault.backtest import result as results
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.payload import parse
from candlevault.backtest.versions import code_versions
from candlevault.errors import InvalidRequest
from candlevault.windows import Window, expected_open_times

H1 = timeframes.parse("1h")
CONF = {
    "symbol": "BTC",
    "timeframe": "1h",
    "start_time": "2024-01-01T00:00:00Z",
    "end_time": "2024-02-01T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 5, "slow": 12}},
    "slippage_bps": 3,
    "risk": {"stop_loss_pct": 4, "take_profit_pct": 6},
}


def frame_for(conf, absent="mark"):
    """A wave with a hole of three hours, from arithmetic that every machine does alike."""
    window = parse(conf).window
    times = expected_open_times(window, H1)
    close = np.array([100.0 + (i * 37 % 101) / 10 + 20 * abs((i % 60) - 30) / 30
                      for i in range(len(times))])
    open_ = np.concatenate((close[:1], close[:-1]))
    keep = np.ones(len(times), dtype=bool)
    keep[100:103] = False
    columns = {
        "open_time": times, "open": open_, "high": np.maximum(open_, close) + 0.5,
        "low": np.minimum(open_, close) - 0.5, "close": close, "volume": np.ones(len(times)),
    }
    return build_frame(H1, window, {k: v[keep] for k, v in columns.items()}, absent=absent)


def run(conf=CONF, **options):
    return run_on(frame_for(conf), conf, **options)


def run_on(frame, conf, **options):
    return results.run(parse(conf), Inputs.of([frame]), **options)


def test_the_same_input_gives_the_same_bytes():
    first, second = run(), run()
    assert first.trades
    assert results.canonical_bytes(first) == results.canonical_bytes(second)
    assert results.result_hash(first) == results.result_hash(second)
    assert len(results.result_hash(first)) == 64


def test_another_process_with_another_hash_seed_gives_the_same_bytes():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import test_backtest_result as t; print(t.results.result_hash(t.run()))"
    )
    plugins = Path(candlevault.__file__).parents[1]
    hashes = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(plugins), "PYTHONHASHSEED": seed,
                       "PYTHONDONTWRITEBYTECODE": "1", "TZ": "Asia/Tokyo"}
        done = subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parent)],
            capture_output=True, text=True, check=True, env=environment,
        )
        hashes.add(done.stdout.strip())
    assert hashes == {results.result_hash(run())}


@pytest.mark.parametrize(
    "change",
    [{"fee_rate": 0.002}, {"slippage_bps": 4}, {"initial_capital": 9999},
     {"strategy": {"name": "sma_cross", "params": {"fast": 5, "slow": 13}}}],
)
def test_another_request_gives_another_hash(change):
    assert results.result_hash(run(CONF | change)) != results.result_hash(run())


def test_the_bytes_are_json_that_says_it_all():
    result = run(data_version="revision 7")
    document = json.loads(results.canonical_bytes(result))
    assert set(document) == {
        "payload", "payload_hash", "versions", "data", "metrics", "bounds", "refused", "trades",
        "equity"}
    assert document["payload"]["symbol"] == "BTCUSDT"
    assert document["payload"]["risk"]["stop_loss_pct"] == 4.0
    assert document["versions"] == {**code_versions(), "strategy": "sma_cross 2"}
    assert document["data"] == {
        "fingerprint": Inputs.of([frame_for(CONF)]).fingerprint(),
        "rows": 744, "present": 741, "absent": 3, "absent_mode": "mark",
        "warmup_bars": [0], "data_version": "revision 7",
    }
    assert len(document["trades"]["pnl"]) == document["metrics"]["trade_count"]
    assert document["metrics"]["trade_count"] == len(result.trades)
    assert document["equity"]["values"] == result.equity.tolist()
    assert document["equity"]["first_open_time"] == 1_704_067_200_000
    assert document["equity"]["step"] == 3_600_000
    assert document["metrics"]["final_equity"] == result.equity[-1]


def test_the_requests_rules_are_the_ones_that_ran():
    assert {"stop_loss", "take_profit"} <= {trade.exit_reason for trade in run().trades}
    bare = run({key: value for key, value in CONF.items() if key != "risk"})
    assert {trade.exit_reason for trade in bare.trades} <= {"signal", "end_of_data"}


def test_floats_survive_the_bytes_exactly():
    result = run()
    document = json.loads(results.canonical_bytes(result))
    assert document["trades"]["pnl"] == [trade.pnl for trade in result.trades]
    assert document["trades"]["entry_price"] == [trade.entry_price for trade in result.trades]


def test_versions_name_release_engine_and_sources():
    versions = code_versions()
    assert versions["candlevault"] == candlevault.__version__
    assert versions["engine"]
    assert len(versions["code_sha256"]) == 64


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeframe": "4h"}, "frame.timeframe"),
        ({"data": {"absent": "carry"}}, "frame.absent"),
        ({"end_time": "2024-01-31T00:00:00Z"}, "frame.window"),
        ({"start_time": "2023-12-31T00:00:00Z"}, "frame.window"),
    ],
)
def test_a_frame_that_does_not_fit_the_request_is_refused(change, field):
    with pytest.raises(InvalidRequest) as caught:
        run_on(frame_for(CONF), CONF | change)
    assert caught.value.field == field


def test_an_unaligned_window_with_the_same_open_times_fits():
    conf = CONF | {"start_time": "2023-12-31T23:30:00Z", "end_time": "2024-01-31T23:30:00Z"}
    assert run_on(frame_for(CONF), conf).metrics.trade_count == len(run().trades)


def test_the_absent_mode_is_in_the_result_and_matters():
    conf = CONF | {"data": {"absent": "carry"}}
    carried = run_on(frame_for(conf, absent="carry"), conf)
    assert carried.data["absent_mode"] == "carry"
    assert carried.data["fingerprint"] != run().data["fingerprint"]


def test_a_window_of_one_bar_runs():
    conf = CONF | {"end_time": "2024-01-01T01:00:00Z"}
    window = Window(1_704_067_200_000, 1_704_070_800_000)
    one = {"open_time": np.array([window.start_ms]), "volume": np.array([0.0])}
    one |= dict.fromkeys(("open", "high", "low", "close"), np.array([5.0]))
    result = run_on(build_frame(H1, window, one), conf)
    assert result.metrics.trade_count == 0
    assert json.loads(results.canonical_bytes(result))["equity"]["step"] is None
