"""Stored results on real hours and minutes: bounds resolved, trust reported, verified again."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from candlevault.backtest import __main__ as command
from candlevault.backtest import jobs
from candlevault.backtest.data.finer import FinerCandles
from candlevault.backtest.data.gate import database_now
from candlevault.backtest.tear_sheet import of_backtest, render
from candlevault.backtest.trust import verification
from candlevault.errors import InvalidRequest
from candlevault.ingest.load import load
from candlevault.storage import backtests, series_registry
from candlevault.storage.database import connector
from tests.support.market import HEADER, HOUR, market_at, ms, simulated, venue_at

NOW = ms("2023-04-30T00:00")
MINUTES = "1m_2023-03-16_2023-05-01.csv.gz"
CONF = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "start_time": "2023-03-20T00:00:00Z",
    "end_time": "2023-04-29T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 3, "slow": 8}},
    "risk": {"stop_loss_pct": 0.3, "take_profit_pct": 0.3},
}
"""Levels so near that many hours touch both."""


def shared() -> Path:
    given = os.environ.get("CANDLEVAULT_SHARED_DATA")
    repository = Path(__file__).resolve().parents[2]
    root = Path(given) if given else repository.parent / "shared" / "data"
    folder = root / "klines" / "spot" / "BTCUSDT"
    if not folder.is_dir():
        pytest.skip(f"real candles are not at hand: {folder} is missing")
    return folder


def copied(source: Path, target: Path, first: int) -> None:
    """The rows of a file from `first` to NOW."""
    with gzip.open(source, "rt") as text:
        header, *rows = text.read().splitlines()
    kept = [row for row in rows if first <= int(row.split(",")[0]) < NOW]
    assert header == HEADER
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress("\n".join([header, *kept, ""]).encode(), 1))


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    folder = root / "spot" / "BTCUSDT"
    copied(shared() / "1h.csv.gz", folder / "1h.csv.gz", ms("2023-03-17"))
    copied(shared() / MINUTES, folder / "1m.csv.gz", ms("2023-03-17"))
    copied(shared().parent / "ETHUSDT" / "1h.csv.gz", root / "spot" / "ETHUSDT" / "1h.csv.gz",
           ms("2023-03-17"))
    with simulated(root, NOW) as venue:
        yield venue


@pytest.fixture
def connect(market_db):
    return connector(market_db)


@pytest.fixture
def run(connect, market_db, replay):
    """Runs a payload to its end; gives the id of the stored backtest."""
    market = market_at(market_db, replay.base_url)
    numbers = iter(range(1000))

    def fetch(series, window):
        return load(market, series, window, purpose="backtest")

    def work(**changes) -> int:
        run_id = f"run-{next(numbers)}"
        request = jobs.accept(
            connect, lambda *_: venue_at(replay.base_url), run_id, CONF | changes,
            default_venue="binance",
        )
        jobs.gather(connect, run_id, request, fetch)
        return jobs.execute(connect, run_id, request, fetch=fetch)["backtest_id"]

    return work


def stored(connect, number):
    return backtests.stored_result(connect, number)


def minutes() -> dict[int, list[tuple[float, float]]]:
    """(high, low) of the real minutes by the hour they lie in, in order."""
    hours: dict[int, list[tuple[float, float]]] = {}
    with gzip.open(shared() / MINUTES, "rt") as text:
        for row in text.read().splitlines()[1:]:
            time, _, high, low, *_ = row.split(",")
            hours.setdefault(int(time) // HOUR * HOUR, []).append((float(high), float(low)))
    return hours


def test_hours_in_doubt_are_settled_by_their_own_minutes_only(run, connect):
    plain = stored(connect, run())
    number = run(intrabar={"mode": "resolved"})
    result = stored(connect, number)
    doubts = [i for i, doubt in enumerate(result.trades["ambiguous"]) if doubt]
    assert len(doubts) >= 5
    hours, settled = minutes(), 0
    for i in doubts:
        entry = result.trades["entry_price"][i]
        inside = hours[result.trades["exit_time"][i]]
        if result.trades["exit_time"][i] == result.trades["entry_time"][i]:
            assert result.trades["entry_order"][i] == "market"
        first = next(
            "both" if low <= entry * 0.997 and high >= entry * 1.003
            else "stop_loss" if low <= entry * 0.997 else "take_profit"
            for high, low in inside
            if low <= entry * 0.997 or high >= entry * 1.003
        )
        # One minute may hold both levels itself: then the stop is taken and counted.
        assert result.trades["exit_reason"][i] == ("stop_loss" if first == "both" else first)
        settled += first != "both"
    assert result.bounds["unresolved"] == len(doubts) - settled
    assert "take_profit" in {result.trades["exit_reason"][i] for i in doubts}
    assert result.bounds["exact"] is True
    final = result.metrics["final_equity"]
    assert result.bounds["lowest"] < final < result.bounds["highest"]
    assert plain.metrics["final_equity"] == result.bounds["pessimistic"]
    # Read: the minutes of those hours, nothing else; loaded: not the whole window.
    with connect() as connection:
        finer = [one for one in result.reads
                 if series_registry.by_id(connection, one.series_id).series.timeframe.code == "1m"]
    assert sorted(one.window.start_ms for one in finer) == sorted(
        {result.trades["exit_time"][i] for i in doubts})
    assert {one.window.end_ms - one.window.start_ms for one in finer} == {HOUR}
    assert result.data_summary["finer"]["bars_with_candles"] == len(finer)
    assert result.trust["data"]["finer"] == {
        "timeframe": "1m", "bars": len(finer), "bars_with_candles": len(finer),
        "reason": None, "problems": []}
    assert verification.verify(connect, number).verdict == verification.IDENTICAL


def test_doubts_that_follow_from_settled_ones_rest_on_the_same_state(run, connect, monkeypatch):
    loads, look = [], FinerCandles.look

    def noted(finer, simulation):
        before = len(finer._asked)
        found = look(finer, simulation)
        loads.append(len(finer._asked) - before)
        return found

    monkeypatch.setattr(FinerCandles, "look", noted)
    number = run(
        strategy={"name": "rsi_reversion", "params": {"period": 8, "lower": 40, "upper": 60}},
        risk={"stop_loss_pct": 0.8, "take_profit_pct": 0.8},
        entry={"order": "stop", "offset_pct": 0.3},
        intrabar={"mode": "resolved"},
    )
    # With the first hours settled another one comes into doubt, and its minutes are loaded, too.
    assert len([count for count in loads if count]) == 2
    revisions: dict[int, set[int]] = {}
    for one in stored(connect, number).reads:
        revisions.setdefault(one.series_id, set()).add(one.revision)
    assert len(revisions) == 2
    assert all(len(those) == 1 for those in revisions.values())
    assert verification.verify(connect, number).verdict == verification.IDENTICAL


def test_a_stored_result_comes_out_again_to_the_byte(run, connect):
    verdict = verification.verify(connect, run())
    assert (verdict.verdict, verdict.differences, verdict.versions) == ("identical", (), {})


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE market.trades SET pnl = pnl + 1e-9 WHERE trade_no = 3", "pnl of trade 3"),
        ("DELETE FROM market.trades WHERE trade_no = 1", "trades are stored"),
        ("UPDATE market.equity_curves SET equity[5] = 1", "the equity curve"),
        ("UPDATE market.equity_curves SET drawdown_pct[5] = 99", "the drawdown curve"),
        ("UPDATE market.performance_summaries SET metrics = metrics || '{\"sharpe\": 9}'",
         "metrics.sharpe"),
        ("UPDATE market.backtests SET bounds = bounds || '{\"exact\": null}'", "bounds.exact"),
        ("UPDATE market.backtests SET result_hash = repeat('0', 64)", "the hash"),
        ("UPDATE market.candles_1h SET close = high WHERE open_time = '2023-04-01T05:00Z'",
         "the candles that were read"),
    ],
)
def test_what_was_changed_behind_its_back_is_named(run, connect, statement, words):
    number = run()
    with connect() as connection:
        assert connection.execute(statement).rowcount >= 1
    verdict = verification.verify(connect, number)
    assert verdict.verdict == verification.DIFFERENT
    assert words in "; ".join(verdict.differences)


def test_other_code_with_the_same_figures_is_told_apart(run, connect):
    number = run()
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET result_hash = repeat('0', 64),"
            " versions = versions || '{\"code_sha256\": \"another\"}'"
        )
    verdict = verification.verify(connect, number)
    assert verdict.verdict == verification.SAME_FIGURES
    assert verdict.versions["code_sha256"][0] == "another"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("engine", verification.OTHER_VERSION),
        ("strategy", verification.OTHER_VERSION),
        ("strategy_source", verification.OTHER_VERSION),
        ("code_sha256", verification.DIFFERENT),
    ],
)
def test_other_figures_are_excused_only_by_a_declared_change(run, connect, name, verdict):
    number = run()
    with connect() as connection:
        connection.execute("UPDATE market.trades SET pnl = pnl + 1 WHERE trade_no = 1")
        connection.execute(
            "UPDATE market.backtests SET versions = versions || jsonb_build_object(%s::text, '0')",
            (name,))
    first = verification.verify(connect, number)
    assert (first.verdict, name in first.versions) == (verdict, True)
    assert first.differences[0].startswith("pnl of trade 1")
    assert ("another version" in verification.summary([first])) == (
        verdict == verification.OTHER_VERSION)
    with connect() as connection:
        connection.execute(
            "UPDATE market.candles_1h SET close = high WHERE open_time = '2023-04-01T05:00Z'")
    assert verification.verify(connect, number).verdict == verification.DIFFERENT


def test_the_trust_report_is_verified_but_for_marks_that_come_and_go(run, connect):
    number = run()
    with connect() as connection:
        connection.execute(
            "INSERT INTO market.anomalies (series_id, kind, window_start, window_end, candles)"
            " SELECT series_id, 'spike', '2023-04-03T10:00Z', '2023-04-03T12:00Z', 2"
            " FROM market.series_names WHERE symbol = 'BTCUSDT' AND timeframe = '1h'")
    assert verification.verify(connect, number).verdict == verification.IDENTICAL
    changes = {
        "{repeats}": "false", "{warm_up,bars}": "1", "{lookahead,cuts}": "0",
        "{data,revisions}": "[]", "{touching,known_absent,trades}": "99",
    }
    with connect() as connection:
        for place, value in changes.items():
            connection.execute(
                "UPDATE market.backtests SET trust = jsonb_set(trust, %s, %s)", (place, value))
        connection.execute(
            "UPDATE market.backtests SET data_summary = jsonb_set(data_summary, '{rows}', '7')")
    verdict = verification.verify(connect, number)
    assert verdict.verdict == verification.DIFFERENT
    assert [one.partition(":")[0] for one in verdict.differences] == [
        "data_summary.rows", "trust.data.revisions", "trust.lookahead", "trust.repeats",
        "trust.touching.known_absent", "trust.warm_up"]


def test_a_strategy_that_is_gone_takes_neither_the_sheet_nor_other_verdicts_away(
    run, connect, market_db, monkeypatch, tmp_path, capsys
):
    number, other = run(risk={"sizing": {"method": "fixed_risk", "value": 0.01},
                              "stop_loss_pct": 1}), run()
    before = of_backtest(connect, number)
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET payload = jsonb_set(payload, '{strategy}',"
            " '{\"name\": \"gone_by_now\", \"params\": {\"a\": 1}}') WHERE backtest_id = %s",
            (number,))
    verdict = verification.verify(connect, number)
    assert verdict.verdict == verification.CANNOT_BE_RUN
    assert "strategy.name" in verdict.differences[0]
    assert verification.summary([verdict, verification.verify(connect, other)]) == (
        f"1 of 2 backtests could not be run: {number}")
    after = of_backtest(connect, number)
    assert after["curve"] == before["curve"]
    assert after["curve"]["buy_and_hold"][-1] == pytest.approx(
        10_000 * (1 + after["metrics"]["buy_and_hold_return_pct"] / 100))
    monkeypatch.setenv("CANDLEVAULT_DB_URL", market_db)
    page = tmp_path / "sheet.html"
    assert command.main(["tear-sheet", str(number), "--out", str(page)]) == 0
    assert "gone_by_now" in page.read_text()
    assert [command.main(["verify", str(one)]) for one in (number, other)] == [2, 0]
    said = capsys.readouterr().out
    assert f"backtest {number}: cannot be run\n  strategy.name" in said


def test_candles_that_are_gone_are_a_difference_and_leave_one_line_out(run, connect):
    number = run()
    with connect() as connection:
        connection.execute(
            "DELETE FROM market.candles_1h WHERE open_time = '2023-04-01T05:00Z'")
    verdict = verification.verify(connect, number)
    assert verdict.verdict == verification.DIFFERENT
    assert "cannot be read any more" in verdict.differences[0]
    assert "2023-04-01T05:00" in verdict.differences[0]
    assert verification.summary([verdict]) == f"1 of 1 backtests came out different: {number}"
    document = of_backtest(connect, number)
    assert document["curve"]["buy_and_hold"] is None
    page = render(document)
    assert "Buy and hold is not drawn: candles of 1h are lost in" in page
    assert "2023-04-01T05:00" in page


def test_finer_candles_as_of_a_past_time_are_not_loaded_and_the_sheet_says_so(
    run, connect, replay
):
    run()
    now = database_now(connect).isoformat()
    replay.forget()
    number = run(intrabar={"mode": "resolved"}, data={"as_of": now})
    assert replay.asked_for_candles() == 0
    result = stored(connect, number)
    finer = result.trust["data"]["finer"]
    assert finer["bars"] == result.data_summary["finer"]["bars"] >= 5
    assert finer["bars_with_candles"] == 0
    page = render(of_backtest(connect, number))
    assert f"1m candles were at hand for 0 of {finer['bars']} bars in doubt." in page
    assert "nothing is loaded for a run with data.as_of" in page
    assert verification.verify(connect, number).verdict == verification.IDENTICAL


def test_verifying_needs_a_completed_backtest(connect):
    with pytest.raises(InvalidRequest, match="no such backtest"):
        verification.verify(connect, 77)


def test_trades_that_touch_candles_in_doubt_are_counted_with_their_profit(run, connect):
    run()
    with connect() as connection:
        series_id = connection.execute(
            "SELECT series_id FROM market.series_names WHERE symbol = 'BTCUSDT'"
            " AND timeframe = '1h'").fetchone()[0]
        connection.execute(
            "INSERT INTO market.anomalies (series_id, kind, window_start, window_end, candles)"
            " VALUES (%s, 'spike', '2023-04-03T10:00Z', '2023-04-03T12:00Z', 2)", (series_id,))
        connection.execute(
            "INSERT INTO market.discrepancies (series_id, open_time, kind, other, field, state,"
            " explanation) VALUES (%s, '2023-04-10T00:00Z', 'archive', 'a', 'close', 'open', NULL),"
            " (%s, '2023-04-11T00:00Z', 'archive', 'a', 'high', 'settled', 'agrees')",
            (series_id, series_id))
        connection.execute(
            "INSERT INTO market.candle_revisions SELECT series_id, open_time, open, high, low,"
            " close, volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume,"
            " trades_count, close_time, fetch_id, 0, revision, now(), 'test'"
            " FROM market.candles_1h WHERE series_id = %s AND open_time IN"
            " ('2023-04-20T00:00Z', '2023-04-20T01:00Z')", (series_id,))
    result = stored(connect, run(risk={}))
    touching = result.trust["touching"]
    assert {kind: one["candles"] for kind, one in touching.items()} == {
        # The venue was down for an hour on 2023-03-24.
        "known_absent": 1, "restated": 2, "flagged": 2, "discrepant": 1, "any": 6}
    spots = {
        "known_absent": [ms("2023-03-24T13:00")],
        "restated": [ms("2023-04-20T00:00"), ms("2023-04-20T01:00")],
        "flagged": [ms("2023-04-03T10:00"), ms("2023-04-03T11:00")],
        "discrepant": [ms("2023-04-10T00:00")],
    }
    spots["any"] = [time for times in spots.values() for time in times]
    trades = result.trades
    gains = sum(pnl for pnl in trades["pnl"] if pnl > 0)
    for kind, times in spots.items():
        hit = [i for i in range(len(trades["pnl"]))
               if any(trades["signal_time"][i] <= t <= trades["exit_time"][i] for t in times)]
        one = touching[kind]
        assert one["trades"] == len(hit)
        assert one["trades_share"] == pytest.approx(len(hit) / len(trades["pnl"]))
        assert one["pnl"] == pytest.approx(sum(trades["pnl"][i] for i in hit))
        assert one["profit_share"] == pytest.approx(
            sum(max(trades["pnl"][i], 0) for i in hit) / gains)
    assert touching["any"]["trades"] > 0


def test_the_report_names_revision_and_time_and_checks_the_strategy(run, connect):
    trust = stored(connect, run()).trust
    (revision,) = trust["data"]["revisions"]
    assert revision["revision"] > 0
    assert revision["recorded_at"].endswith("+00:00")
    assert trust["lookahead"]["cuts"] > 5
    assert trust["repeats"] is True


def test_the_sensitivity_to_warm_up_is_measured_on_stored_candles_only(run, connect, replay):
    run(start_time="2023-03-17T00:00:00Z")
    replay.forget()
    trust = stored(connect, run()).trust
    assert replay.asked_for_candles() == 0
    warm = trust["warm_up"]
    assert (warm["status"], warm["bars"]) == ("measured", 72)
    assert warm["trades"] > 0
    assert warm["total_return_pct"] != warm["warmed_total_return_pct"] or not warm["changed_trades"]
    nothing = stored(connect, run(start_time="2023-03-17T00:00:00Z")).trust["warm_up"]
    assert nothing == {"status": "not measured", "reason": "no earlier candles are stored"}


def test_a_warm_up_defines_the_indicators_at_the_start_and_trades_nothing_before(run, connect):
    slow = {"name": "sma_cross", "params": {"fast": 5, "slow": 60}}
    first = "2023-03-25T00:00:00Z"
    cold = stored(connect, run(strategy=slow, start_time=first))
    warm = stored(connect, run(strategy=slow, start_time=first, data={"warmup_bars": 60}))
    # The venue was down for one of the sixty hours.
    assert warm.data_summary["warmup_bars"] == [59]
    start = ms("2023-03-25")
    assert min(warm.trades["signal_time"]) >= start
    assert min(warm.trades["signal_time"]) < start + 59 * HOUR <= min(cold.trades["signal_time"])
    # From where both are defined they wish the same.
    later = start + 100 * HOUR
    assert [t for t in warm.trades["signal_time"] if t > later] == [
        t for t in cold.trades["signal_time"] if t > later]


def test_two_symbols_share_one_capital(run, connect):
    number = run(also=["ETH"], risk={"sizing": {"value": 0.5}}, fee_rate=0)
    both = stored(connect, number)
    assert set(both.trades["symbol"]) == {"BTCUSDT", "ETHUSDT"}
    assert sum(both.trades["pnl"]) == pytest.approx(both.metrics["final_equity"] - 10_000)
    assert verification.verify(connect, number).verdict == verification.IDENTICAL
    alone = stored(connect, run(risk={"sizing": {"value": 0.5}}, fee_rate=0))
    own = [t for t, s in zip(both.trades["entry_time"], both.trades["symbol"], strict=True)
           if s == "BTCUSDT"]
    assert own == alone.trades["entry_time"]


def test_a_symbol_among_several_that_nobody_knows_is_named(run, connect):
    with pytest.raises(InvalidRequest) as caught:
        run(also=["ETH", "NOPE"])
    assert caught.value.field == "also[1]"
    record = backtests.get(connect, "run-0")
    assert (record.status, record.failed_field) == ("failed", "also[1]")
    with connect() as connection:
        step, advice = connection.execute(
            "SELECT failed_step, advice FROM market.backtests").fetchone()
    assert step == "accept"
    assert "Correct this field" in advice


def test_everything_stored_is_plain_json(run, connect):
    result = stored(connect, run())
    for part in (result.trust, result.significance, result.bounds, result.metrics):
        json.dumps(part, allow_nan=False)
    assert result.significance["bootstrap"]["reason"] is None
    assert result.significance["random_entry"]["reason"] is None
