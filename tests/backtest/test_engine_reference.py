"""The engine against the reference: trade by trade, row by row, doubt by doubt."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest

from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC, RESOLVED
from candlevault.backtest.risk import EntryOrders, RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.timeframe import parse
from candlevault.windows import Window
from tests.support.reference_engine import DAY_MS
from tests.support.trading_cases import Case, differences, random_case

BATCH = 100
CASES = int(os.environ.get("CANDLEVAULT_REFERENCE_CASES", "40000"))
"""How many cases the slow comparison takes."""


def disagreements(seeds) -> dict[int, list[str]]:
    found = {}
    for seed in seeds:
        case = random_case(seed)
        if said := differences(case.simulated(), case.referred()):
            found[seed] = said[:5]
    return found


@pytest.mark.parametrize("batch", range(12))
def test_agrees_with_the_reference(batch):
    assert disagreements(range(batch * BATCH, (batch + 1) * BATCH)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_agrees_with_the_reference_in_many_more_cases(part):
    share = CASES // 20
    assert disagreements(range(10_000 + part * share, 10_000 + (part + 1) * share)) == {}


def test_the_cases_reach_every_corner():
    """What never happens in them is not tested by them."""
    reasons, orders, refused = Counter(), set(), set()
    unresolved, branching, parts, ambiguous = 0, 0, 0, {True: 0, False: 0}
    for seed in range(600):
        got = random_case(seed).simulated()
        reasons.update(trade.exit_reason for trade in got.trades)
        orders |= {(trade.side, trade.entry_order) for trade in got.trades}
        refused |= {reason for reason, count in got.refused.items() if count}
        unresolved += got.unresolved
        branching += got.branching
        for trade in got.trades:
            ambiguous[trade.ambiguous] += 1
        keys = [(trade.symbol, trade.entry_time) for trade in got.trades]
        parts += len(keys) - len(set(keys))
    assert len(reasons) == 8
    assert min(reasons.values()) > 20
    assert len(orders) == 8
    assert len(refused) == 5
    assert min(unresolved, branching, parts, *ambiguous.values()) > 25


def test_choices_are_answered_alike():
    for seed in range(150):
        case = random_case(seed)
        for choices in ((1,), (0, 1), (1, 0, 1, 1)):
            said = differences(case.simulated(choices=choices), case.referred(choices=choices))
            assert said == [], f"seed {seed}, choices {choices}"


DAYS = {
    "levels, long and short": Settings(
        1000.0, fee_rate=0.001, slippage_bps=5.0, direction="both",
        risk=RiskRules(stop_loss_pct=3, take_profit_pct=5, trailing_stop_pct=4),
    ),
    "limits below the close, lots": Settings(
        1000.0, fee_rate=0.001, maker_fee_rate=0.0, direction="both",
        entry=EntryOrders("limit", offset_pct=1.0, valid_bars=5),
        risk=RiskRules(Sizing("fixed_amount", 400.0), stop_loss_pct=4, take_profit_pct=4,
                       max_entries=3),
    ),
    "stops, risk by the stop, borrowed": Settings(
        1000.0, fee_rate=0.0005, slippage_bps=2.0, direction="both",
        entry=EntryOrders("stop", offset_pct=0.5),
        risk=RiskRules(Sizing("fixed_risk", 0.05), trailing_stop_pct=3, take_profit_pct=6,
                       max_exposure=4.0, daily_loss_pct=8),
    ),
    "stop-limits, drawdown": Settings(
        1000.0, fee_rate=0.001, direction="both",
        entry=EntryOrders("stop_limit", offset_pct=0.5, limit_offset_pct=0.5, valid_bars=3),
        risk=RiskRules(Sizing("equity_fraction", 0.5), stop_loss_pct=2, take_profit_pct=4,
                       max_drawdown_pct=30),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def days(real_candles):
    """Daily candles of two symbols and, by symbol and row, the hours they are made of."""
    frames, parts = [], {}
    start, end = 1_609_459_200_000, 1_735_689_600_000  # 2021-01-01 to 2025-01-01
    for symbol, name in enumerate(("BTCUSDT", "ETHUSDT")):
        hours, candles = (
            frame[(frame["open_time"] >= start) & (frame["open_time"] < end)]
            for frame in (real_candles("spot", name, "1h"), real_candles("spot", name, "1d"))
        )
        columns = {column: candles[column].to_numpy() for column in candles}
        frames.append(build_frame(parse("1d"), Window(start, end), columns))
        prices = hours[["open", "high", "low", "close"]].itertuples(index=False, name=None)
        for time, price in zip(hours["open_time"].tolist(), prices, strict=True):
            parts.setdefault((symbol, (time - start) // DAY_MS), []).append(price)
    return tuple(frames), parts


@pytest.mark.parametrize("name", DAYS)
@pytest.mark.parametrize("symbols", [1, 2])
def test_agrees_with_the_reference_on_real_candles(days, name, symbols):
    frames, parts = days[0][:symbols], {k: v for k, v in days[1].items() if k[0] < symbols}
    wishes = []
    for frame in frames:
        close = frame.bars().close
        up = np.diff((close > np.convolve(close, np.full(5, 0.2))[: len(close)]).astype(int),
                     prepend=0)  # fmt: skip
        wishes.append(Signals(enter_long=up == 1, enter_short=up == -1))
    funding = np.array([[1e-4 * ((row + s) % 5 - 2) for row in range(len(frames[0]))]
                        for s in range(symbols)])  # fmt: skip
    for mode in (PESSIMISTIC, OPTIMISTIC, RESOLVED):
        case = Case("1d", frames, parts, tuple(wishes), DAYS[name], funding, mode)
        found = case.simulated()
        assert differences(found, case.referred()) == []
        assert len(found.questions) > 5
    assert len(found.log) > 50
