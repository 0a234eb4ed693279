"""Quiet rows of a single symbol are skipped over: that must not change a byte.

The engine looks at every row where a limit on losses is set, where lots can be added, or where
there is another symbol; limits out of reach and symbols that never trade change nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.engine.simulation import Simulation, simulate, stage
from candlevault.backtest.risk import EntryOrders, RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.timeframe import parse
from candlevault.windows import Window
from tests.support.trading_cases import Case, random_case

BOOKS = ("equity", "cash", "held", "questions")


def assert_same_bytes(one: Simulation, other: Simulation) -> None:
    for name in BOOKS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert one.quantity[0].tobytes() == other.quantity[0].tobytes()
    assert one.log.records.tolist() == other.log.records.tolist()
    counts = ("unresolved", "branching", "refused")
    assert [getattr(one, name) for name in counts] == [getattr(other, name) for name in counts]


def watched(case: Case) -> Case:
    """With a limit on losses that is never hit."""
    risk = replace(case.settings.risk, daily_loss_pct=1e12)
    return replace(case, settings=replace(case.settings, risk=risk))


def accompanied(case: Case) -> Case:
    """With a second symbol that never trades."""
    flat = replace(
        case.frames[0],
        **{name: np.full(len(case.frames[0]), 7.0) for name in ("open", "high", "low", "close")},
        present=np.ones(len(case.frames[0]), dtype=bool),
        carried=np.zeros(len(case.frames[0]), dtype=bool),
    )
    funding = None if case.funding is None else np.vstack([case.funding, case.funding])
    return replace(
        case,
        frames=(*case.frames, flat),
        signals=(*case.signals, Signals()),
        funding=funding,
    )


def single(seed: int) -> Case | None:
    case = random_case(seed)
    risk = case.settings.risk
    if len(case.frames) > 1:
        case = replace(
            case,
            frames=case.frames[:1],
            signals=case.signals[:1],
            funding=None if case.funding is None else case.funding[:1],
            parts={key: value for key, value in case.parts.items() if key[0] == 0},
        )
    risk = replace(
        risk, max_entries=1, daily_loss_pct=None, max_drawdown_pct=None, max_open_positions=None
    )
    return replace(case, settings=replace(case.settings, risk=risk))


@pytest.mark.parametrize("batch", range(6))
def test_random_cases_skipped_and_not(batch):
    for seed in range(batch * 150, (batch + 1) * 150):
        case = single(seed)
        fast = case.simulated()
        assert_same_bytes(fast, watched(case).simulated())
        assert_same_bytes(fast, accompanied(case).simulated())


def test_the_books_make_no_difference():
    for seed in range(200):
        case = random_case(seed)
        with_books, without = case.simulated(), case.simulated(books=False)
        assert with_books.equity.tobytes() == without.equity.tobytes()
        assert with_books.log.records.tolist() == without.log.records.tolist()
        assert len(without.cash) == without.quantity.size == 0


@pytest.fixture(scope="module")
def bitcoin(real_candles):
    candles = real_candles("spot", "BTCUSDT", "1h")
    times = candles["open_time"].to_numpy()
    hour = parse("1h")
    window = Window(int(times[0]), int(times[-1]) + hour.step_ms)
    return build_frame(hour, window, {name: candles[name].to_numpy() for name in candles})


def crossing(frame) -> Signals:
    """Long above the average of 50 closes, short below it, where that changes."""
    close = frame.bars().close
    sums = np.cumsum(np.insert(close, 0, 0.0))
    average = np.full(len(close), np.inf)
    average[49:] = (sums[50:] - sums[:-50]) / 50
    above = np.where(np.isinf(average), False, close > average)
    change = np.diff(above.astype(np.int8), prepend=0)
    up, down = change == 1, change == -1
    return Signals(enter_long=up, exit_long=down, enter_short=down, exit_short=up)


LEVELS = RiskRules(stop_loss_pct=3.0, take_profit_pct=6.0, trailing_stop_pct=4.0)
REAL = {
    "long": Settings(fee_rate=0.001, slippage_bps=2.0),
    "long with levels": Settings(fee_rate=0.001, slippage_bps=2.0, risk=LEVELS),
    "both with levels": Settings(fee_rate=0.0004, direction="both", risk=LEVELS),
    "short, leveraged": Settings(
        fee_rate=0.0004,
        direction="short",
        risk=RiskRules(Sizing("equity_fraction", 1.0), trailing_stop_pct=2.0, max_exposure=3.0),
    ),
    "risk by the stop, limit orders": Settings(
        fee_rate=0.001,
        maker_fee_rate=0.0,
        direction="both",
        entry=EntryOrders("limit", offset_pct=0.5, valid_bars=12),
        risk=replace(LEVELS, sizing=Sizing("fixed_risk", 0.01)),
    ),
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("funded", [False, True])
def test_real_candles_skipped_and_not(bitcoin, name, funded):
    settings, signals = REAL[name], [crossing(bitcoin)]
    funding = None
    if funded:
        # every eight hours, a rate that follows the hour
        rows = np.arange(len(bitcoin))
        funding = [np.where(rows % 8 == 0, ((rows // 8) % 7 - 3) * 1e-4, 0.0)]
    laid_out = stage([bitcoin], funding)
    fast = simulate(laid_out, signals, settings, books=True)
    slow_risk = replace(settings.risk, max_drawdown_pct=1e12)
    slow = simulate(laid_out, signals, replace(settings, risk=slow_risk), books=True)
    assert len(fast.log) > 300
    assert_same_bytes(fast, slow)
