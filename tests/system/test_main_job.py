"""The main job through Airflow's real processes: load, check, keep up to date, backtest."""

from __future__ import annotations

import requests

from tests.system.conftest import END, WINDOW

SERIES = "symbol = 'BTCUSDT' AND timeframe = '1d'"


def test_backfill_loads_and_checks_every_candle(run_dag, rows):
    run = run_dag("backfill__BTCUSDT__1d", WINDOW)
    assert run["state"] == "success"
    assert rows(f"SELECT total_candles, sync_status FROM market.sync_status WHERE {SERIES}") == [
        (639, "completed")
    ]
    quality = rows(
        "SELECT expected_records, actual_records + known_absent, missing_records, dag_run_id"
        f" FROM market.data_quality WHERE {SERIES}"
    )
    assert quality == [(639, 639, 0, run["dag_run_id"])]
    assert rows("SELECT DISTINCT venue FROM market.ohlcv_data_all") == [("simulated",)]


def test_a_second_backfill_changes_no_row(run_dag, rows):
    state = "SELECT max(revision), count(*), max(fetch_id) FROM market.candles_1d"
    run_dag("backfill__BTCUSDT__1d", WINDOW)
    before = rows(state)
    assert run_dag("backfill__BTCUSDT__1d", WINDOW)["state"] == "success"
    assert rows(state) == before
    assert rows(
        "SELECT requests, inserted, changed FROM market.sync_log ORDER BY sync_id DESC LIMIT 1"
    ) == [(2, 0, 0)]


def test_increment_gap_fill_and_retention_run_on_what_is_stored(run_dag, rows):
    run_dag("backfill__BTCUSDT__1d", WINDOW)
    assert run_dag("increment__BTCUSDT__1d")["state"] == "success"
    assert run_dag("gap_fill__BTCUSDT__1d", {"days": 30})["state"] == "success"
    assert run_dag("retention__BTCUSDT__1d", {"retention_months": 12})["state"] == "success"
    purposes = {row[0] for row in rows("SELECT DISTINCT purpose FROM market.sync_log")}
    assert {"backfill", "increment", "gap_fill"} <= purposes
    assert rows(f"SELECT total_candles FROM market.sync_status WHERE {SERIES}") == [(639,)]


def test_initial_load_takes_many_series_and_one_bad_symbol_stops_none(run_dag, rows):
    conf = {"symbols": ["ETH", "NOPE", "SOL"], "timeframes": ["1d"], **WINDOW}
    assert run_dag("initial_load", conf)["state"] == "failed"
    loaded = rows(
        "SELECT symbol, total_candles FROM market.sync_status"
        " WHERE symbol IN ('ETHUSDT', 'SOLUSDT') AND timeframe = '1d' ORDER BY symbol"
    )
    assert loaded == [("ETHUSDT", 639), ("SOLUSDT", 639)]


def test_market_sync_and_quality_check_run_on_request(vault, run_dag, rows):
    conf = {"symbols": ["LTC"], "candles": 50}
    assert run_dag("market_sync", conf, timeout=400)["state"] == "success"
    vault.api.set_paused("market_sync", True)
    assert rows("SELECT total_candles FROM market.sync_status WHERE symbol = 'LTCUSDT'") == [(50,)]
    conf = {"symbols": ["LTC"], "days": 2, "timeframe": "1h"}
    assert run_dag("quality_check", conf)["state"] == "success"
    assert rows("SELECT count(*) FROM market.data_quality WHERE symbol = 'LTCUSDT'") == [(1,)]


def test_a_backtest_loads_what_it_lacks_and_is_repeatable(run_dag, rows):
    conf = {
        "symbol": "ALGO",
        "timeframe": "1h",
        "start_time": "2025-06-01T00:00:00Z",
        "end_time": "2025-09-01T00:00:00Z",
        "strategy": {"name": "rsi_reversion", "params": {"period": 14}},
    }
    first, second = run_dag("backtest", conf), run_dag("backtest", conf)
    assert first["state"] == second["state"] == "success"
    results = rows(
        "SELECT b.dag_run_id, b.status, b.result_hash, s.trade_count,"
        " (SELECT count(*) FROM market.trades t WHERE t.backtest_id = b.backtest_id)"
        " FROM market.backtests b JOIN market.performance_summaries s USING (backtest_id)"
        " WHERE b.dag_run_id = ANY(%s)",
        [first["dag_run_id"], second["dag_run_id"]],
    )
    assert len(results) == 2
    assert {row[1] for row in results} == {"completed"}
    assert len({row[2] for row in results}) == 1
    assert all(row[3] == row[4] > 0 for row in results)
    loads = rows("SELECT purpose, inserted + absent FROM market.sync_log JOIN market.series_names n"
                 " USING (series_id) WHERE n.symbol = 'ALGOUSDT'")  # fmt: skip
    assert loads == [("backtest", 92 * 24)]


def test_the_increment_uses_the_venues_clock(vault, run_dag, rows):
    run_dag("backfill__BTCUSDT__1d", WINDOW)
    clock = f"{vault.exchange.simulator_url}/_control/clock"
    try:
        requests.post(clock, json={"now": "2025-10-02T00:01:00Z"}, timeout=10).raise_for_status()
        assert run_dag("increment__BTCUSDT__1d")["state"] == "success"
        newest = rows(f"SELECT newest_data_time FROM market.sync_status WHERE {SERIES}")
        assert f"{newest[0][0]:%Y-%m-%d}" == END[:10]
    finally:
        requests.post(clock, json={"now": "2025-10-01T00:01:00Z"}, timeout=10)
