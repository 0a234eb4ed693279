"""BTCUSDT 1h 2020-2025 against a naive pandas re-implementation, real outages included."""

from __future__ import annotations

import pandas as pd
import pytest

from candlevault import timeframe as timeframes
from candlevault.backtest import result as results
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.payload import parse

CONF = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "start_time": "2020-01-01T00:00:00Z",
    "end_time": "2025-10-01T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
}


def naive(table: pd.DataFrame, fast=20, slow=50, capital=10_000.0, fee=0.001):
    """(entry time, exit time, entry, exit) per trade, and the final cash; rows as stored."""
    quick, slack = (table["close"].rolling(n).mean() for n in (fast, slow))
    gap = (quick - slack).where((quick - slack).abs() > 1e-12 * slack.abs(), 0.0)
    gap = gap.where(quick.notna() & slack.notna())
    up = (gap > 0) & (gap.shift() <= 0)
    down = (gap < 0) & (gap.shift() >= 0)
    trades, cash, units, entry = [], capital, 0.0, None
    orders = zip(table["open_time"], table["open"], up.shift(fill_value=False),
                 down.shift(fill_value=False), strict=True)
    for time, price, buy, sell in orders:
        if buy and entry is None:
            units, cash, entry = cash / (price * (1 + fee)), 0.0, (time, price)
        elif sell and entry is not None:
            cash = units * price * (1 - fee)
            trades.append((entry[0], time, entry[1], price))
            entry = None
    if entry is not None:
        last = table.iloc[-1]
        cash = units * last["close"] * (1 - fee)
        trades.append((entry[0], int(last["open_time"]), entry[1], last["close"]))
    return trades, cash


@pytest.fixture(scope="module")
def table(real_candles):
    return real_candles("spot", "BTCUSDT", "1h")


def test_real_hours_give_the_same_trades_and_money_as_a_naive_pandas_loop(table):
    request = parse(CONF)
    frame = build_frame(timeframes.parse("1h"), request.window, table)
    assert (len(frame), int((~frame.present).sum())) == (50_400, 32)
    result = results.run(request, Inputs.of([frame]))
    expected, cash = naive(table)
    got = [(t.entry_time, t.exit_time, t.entry_price, t.exit_price) for t in result.trades]
    assert len(got) > 400
    assert got == expected
    assert result.metrics.final_equity == pytest.approx(cash, rel=1e-9)
    assert result.equity[-1] == result.metrics.final_equity


def test_real_hours_give_the_same_bytes_twice(table):
    request = parse(CONF)
    hashes = {
        results.result_hash(
            results.run(
                request,
                Inputs.of([build_frame(timeframes.parse("1h"), request.window, table)]),
            )
        )
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_real_outages_fail_a_run_that_forbids_them_and_pass_when_carried(table):
    from candlevault.errors import DataMissing

    request = parse(CONF | {"data": {"absent": "carry"}})
    with pytest.raises(DataMissing, match="and 5 more windows"):
        build_frame(timeframes.parse("1h"), request.window, table, absent="forbid")
    frame = build_frame(timeframes.parse("1h"), request.window, table, absent="carry")
    result = results.run(request, Inputs.of([frame]))
    absent = set(frame.open_time[~frame.present].tolist())
    assert len(absent) == 32
    for trade in result.trades:
        assert trade.entry_time not in absent
        assert trade.exit_time not in absent


def test_one_year_of_daily_candles_runs_with_every_rule_switched_on(real_candles):
    daily = real_candles("spot", "ETHUSDT", "1d")
    conf = CONF | {
        "symbol": "ETH", "timeframe": "1d",
        "strategy": {"name": "rsi_reversion", "params": {"lower": 45, "upper": 60}},
        "slippage_bps": 5,
        "risk": {"stop_loss_pct": 8, "take_profit_pct": 15, "trailing_stop_pct": 10,
                 "sizing": {"value": 0.5}},
    }
    request = parse(conf)
    result = results.run(
        request,
        Inputs.of([build_frame(request.series.timeframe, request.window, daily)]),
    )
    reasons = {trade.exit_reason for trade in result.trades}
    assert {"stop_loss", "take_profit", "trailing_stop", "signal"} <= reasons
    total = 10_000 + sum(trade.pnl for trade in result.trades)
    assert result.metrics.final_equity == pytest.approx(total, rel=1e-9)
