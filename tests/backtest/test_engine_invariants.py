"""What must hold for any candles, signals and settings, with everything that can be set."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC, RESOLVED
from candlevault.backtest.risk import KELLY
from tests.support.trading_cases import Case, drawn_case, random_case

QUIET = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def cases(draw, plain: bool = False) -> Case:
    """Small cases; `plain`: without slippage and spread."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    case = drawn_case(draw(st.randoms(use_true_random=False)), *shape)
    if plain:
        case = replace(case, settings=replace(case.settings, slippage_bps=0.0, half_spread=0.0))
    return case


def seeded(test):
    """The same for larger cases, by seed."""
    return pytest.mark.parametrize("batch", range(8))(test)


def of(batch: int, size: int = 60):
    return (random_case(seed) for seed in range(50_000 + batch * size, 50_000 + (batch + 1) * size))


def check_books(case: Case) -> None:
    got = case.simulated()
    marks = np.zeros(len(case.frames))
    for row in range(len(case.frames[0])):
        for symbol, frame in enumerate(case.frames):
            if frame.present[row]:
                marks[symbol] = frame.close[row]
        worth = got.cash[row] + math.fsum(got.quantity[:, row] * marks)
        scale = abs(got.cash[row]) + 1000.0
        assert got.equity[row] == pytest.approx(worth, rel=1e-12, abs=1e-12 * scale)
    trades = got.trades
    final, capital = got.equity[-1], case.settings.initial_capital
    turnover = math.fsum(t.quantity * (t.entry_price + abs(t.exit_price)) for t in trades) + capital
    assert final == pytest.approx(capital + math.fsum(t.pnl for t in trades), abs=1e-12 * turnover)
    way = {"long": 1.0, "short": -1.0}
    gross = math.fsum(way[t.side] * (t.exit_price - t.entry_price) * t.quantity for t in trades)
    costs = math.fsum(t.fees + t.funding for t in trades)
    assert final == pytest.approx(capital + gross - costs, abs=1e-12 * turnover)
    assert not got.quantity[:, -1].any()
    check_funding(case, got)
    check_fees(case, trades)
    check_limits(case, got)


def check_funding(case: Case, got) -> None:
    """What the lots paid is what the position carried into each row owed."""
    if case.funding is None:
        assert all(trade.funding == 0.0 for trade in got.trades)
        return
    for symbol, frame in enumerate(case.frames):
        owed = math.fsum(
            got.quantity[symbol, row - 1] * frame.open[row] * case.funding[symbol, row]
            for row in range(1, len(frame))
            if frame.present[row]
        )
        paid = math.fsum(trade.funding for trade in got.trades if trade.symbol == symbol)
        assert paid == pytest.approx(owed, rel=1e-9, abs=1e-9)


def check_fees(case: Case, trades) -> None:
    taker, maker = case.settings.fee_rate, case.settings.maker_fee_rate
    maker = taker if maker is None else maker
    for trade in trades:
        exit_rate = maker if trade.exit_reason == "take_profit" else taker
        value = trade.exit_price * trade.quantity
        assert trade.exit_fee == pytest.approx(value * exit_rate, rel=1e-9, abs=1e-15)
        if trade.entry_order in ("market", "stop", "limit"):
            rate = maker if trade.entry_order == "limit" else taker
            value = trade.entry_price * trade.quantity
            assert trade.entry_fee == pytest.approx(value * rate, rel=1e-9, abs=1e-15)


def check_limits(case: Case, got) -> None:
    """Lots, positions, exposure at the entry, and what the excursions can be."""
    rules = case.settings.risk
    records = got.log.records
    held = (got.quantity != 0.0).sum(axis=0)
    assert held.max() <= (rules.max_open_positions or len(case.frames))
    for row in range(len(case.frames[0])):
        open_at_close = (records["entry_row"] <= row) & (row < records["exit_row"])
        for symbol in range(len(case.frames)):
            mine = records[open_at_close & (records["symbol"] == symbol)]
            assert len(np.unique(mine["entry_row"])) <= rules.max_entries
            assert len(np.unique(mine["side"])) <= 1
            signed = math.fsum(mine["side"] * mine["quantity"])
            assert got.quantity[symbol, row] == pytest.approx(signed, rel=1e-9)
    for trade in got.trades:
        assert trade.quantity > 0.0
        assert trade.signal_time < trade.entry_time <= trade.exit_time
        assert trade.mae_pct <= 0.0 <= trade.mfe_pct
    # An entry into an empty account spends at most its share of the equity.
    for row in range(1, len(case.frames[0])):
        entered = records[records["entry_row"] == row]
        if len(entered) and len(np.unique(entered["symbol"])) == 1 and held[row - 1] == 0:
            spent = math.fsum(entered["entry_price"] * entered["quantity"] + entered["entry_fee"])
            assert spent <= rules.max_exposure * got.equity[row - 1] * (1 + 1e-9)


@QUIET
@given(cases())
def test_the_books_agree_at_every_row(case):
    check_books(case)


@seeded
def test_the_books_agree_in_larger_cases(batch):
    for case in of(batch):
        check_books(case)


def check_fills(case: Case) -> None:
    got = case.simulated()
    for trade, record in zip(got.trades, got.log.records, strict=True):
        frame = case.frames[trade.symbol]
        for row, price in (
            (record["entry_row"], trade.entry_price),
            (record["exit_row"], trade.exit_price),
        ):
            assert frame.present[row]
            assert frame.low[row] * (1 - 1e-11) <= price <= frame.high[row] * (1 + 1e-11)


@QUIET
@given(cases(plain=True))
def test_without_costs_of_price_every_fill_lies_in_its_bar(case):
    check_fills(case)


@seeded
def test_without_costs_of_price_every_fill_lies_in_its_bar_in_larger_cases(batch):
    for case in of(batch):
        costless = replace(case.settings, slippage_bps=0.0, half_spread=0.0)
        check_fills(replace(case, settings=costless))


def check_past(case: Case, rows: int) -> None:
    head = case.head(rows)
    if head is None:
        return
    whole, early = case.simulated(), head.simulated()
    # From the first symbol's last candle on positions are closed at the end of the data.
    safe = min(int(np.flatnonzero(frame.present)[-1]) for frame in head.frames)
    for name in ("equity", "cash", "held"):
        assert getattr(whole, name)[:safe].tobytes() == getattr(early, name)[:safe].tobytes()
    before = [r for r in whole.log.records.tolist() if r[records_row(whole)] < safe]
    assert before == [r for r in early.log.records.tolist() if r[records_row(early)] < safe]


def records_row(simulation) -> int:
    return simulation.log.records.dtype.names.index("exit_row")


@QUIET
@given(cases(), st.data())
def test_the_future_never_changes_the_past(case, data):
    check_past(case, data.draw(st.integers(1, len(case.frames[0]))))


@seeded
def test_the_future_never_changes_the_past_of_larger_cases(batch):
    for case in of(batch):
        for rows in (len(case.frames[0]) // 3, len(case.frames[0]) - 3):
            check_past(case, max(1, rows))


def test_the_same_input_gives_the_same_bytes():
    for case in of(0):
        one, other = case.simulated(), case.simulated()
        assert one.log.records.tolist() == other.log.records.tolist()
        for name in ("equity", "cash", "held", "quantity", "questions"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def unentangled(case: Case) -> Case:
    """One symbol, long, nothing borrowed, one lot, and no limit on losses."""
    risk = replace(
        case.settings.risk, max_exposure=1.0, max_entries=1, daily_loss_pct=None,
        max_drawdown_pct=None, max_open_positions=None,
    )  # fmt: skip
    return replace(
        case,
        frames=case.frames[:1],
        signals=case.signals[:1],
        parts={key: value for key, value in case.parts.items() if key[0] == 0},
        funding=None if case.funding is None else case.funding[:1],
        settings=replace(case.settings, direction="long", risk=risk),
    )


@pytest.mark.parametrize("batch", range(10))
def test_resolved_ends_between_pessimistic_and_optimistic(batch):
    """Where no doubt leaves another position, and a better answer cannot hurt later.

    It can where more equity may lose more than there is of it (shorts, money borrowed), where
    it moves a limit on losses, or where a share depends on what was won before (Kelly).
    """
    compared = 0
    for case in map(unentangled, of(batch, 150)):
        low, high, resolved = (
            case.simulated(mode=mode) for mode in (PESSIMISTIC, OPTIMISTIC, RESOLVED)
        )
        if low.branching + high.branching or case.settings.risk.sizing.method == KELLY:
            continue
        compared += len(low.questions)
        slack = 1e-9 * case.settings.initial_capital
        assert low.equity[-1] - slack <= resolved.equity[-1] <= high.equity[-1] + slack
    assert compared > 20
