"""What our engine and the others are given, what each is asked, and our side of the answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from candlevault.backtest.data.frame import BacktestFrame
from candlevault.backtest.engine.simulation import Simulation, simulate, stage
from candlevault.backtest.risk import RiskRules, Settings
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import rsi_reversion, sma_cross
from candlevault.windows import Window

HOUR_MS = 3_600_000
WINDOW = Window(1_577_836_800_000, 1_759_276_800_000)  # [2020-01-01, 2025-10-01)
CAPITAL, FEE_RATE = 10_000.0, 0.001
SAME_PRICE, SAME_EQUITY = 1e-12, 1e-9

LEVELS = {"sma": (), "rsi": (), "sma_stops": (1.0, 1.5), "rsi_stops": (2.0, 4.0)}
"""Stop loss and target in percent, by strategy. All are long-only."""
SMA = {"name": "sma", "fast": 20, "slow": 50}
RSI = {"name": "rsi", "period": 14, "lower": 30.0, "upper": 70.0}
TOOLS = ("backtesting", "vectorbt", "nautilus")


def plan(name: str, strategy: str, layout: str, **more) -> dict:
    """One run of a peer, as its script is asked for it."""
    levels = dict(zip(("stop_pct", "target_pct"), LEVELS[strategy], strict=False))
    run = {"name": name, "market": "real", "strategy": strategy, "layout": layout}
    return {**run, **levels, **more}


EQUAL = [
    *(plan(f"equal {name}", name, "open_first") for name in LEVELS),
    *(
        plan(f"gaps {name}", name, "open_first", market="gaps")
        for name in ("sma_stops", "rsi_stops")
    ),
]
PLANS = {
    "backtesting": [
        *EQUAL,
        *(plan(f"whole {name}", name, "whole") for name in LEVELS),
        plan("levels", "sma_stops", "whole", levels="signal_close"),
        plan("end", "sma", "whole", own_end=True),
        plan("satoshi", "sma", "whole", unit=1e-8),
        plan("own sma", "sma", "open_first", indicator=SMA),
    ],
    "vectorbt": [
        *EQUAL,
        plan("rust", "sma_stops", "open_first", engine="rust"),
        plan("whole sma", "sma", "whole"),
        plan("whole rsi", "rsi", "whole"),
        plan("whole sma_stops", "sma_stops", "whole"),
        plan("end", "sma", "whole", own_end=True),
        plan("own sma", "sma", "open_first", indicator=SMA),
        plan("own rsi", "rsi", "open_first", indicator=RSI),
    ],
    "nautilus": [
        *EQUAL,
        plan("adaptive sma_stops", "sma_stops", "open_first", adaptive=True),
        plan("adaptive rsi_stops", "rsi_stops", "open_first", adaptive=True),
        plan("whole sma", "sma", "whole"),
        plan("whole rsi", "rsi", "whole"),
        plan("whole sma_stops", "sma_stops", "whole"),
        plan("own sma", "sma", "open_first", indicator=SMA),
        plan("own rsi", "rsi", "open_first", indicator=RSI),
    ],
}


@dataclass(frozen=True)
class Market:
    """The candles that exist, and our wishes on them. A candle is named by its number."""

    frame: BacktestFrame
    open_time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    wishes: dict[str, Signals]

    def name(self, candle: int) -> str:
        moment = datetime.fromtimestamp(self.open_time[candle] / 1000, UTC)
        return f"{moment:%Y-%m-%d %H:%M}"


def made(frame: BacktestFrame) -> Market:
    """The market of a frame."""
    bars, wishes = frame.bars(), {}
    for name, strategy in (("sma", sma_cross.STRATEGY), ("rsi", rsi_reversion.STRATEGY)):
        both = strategy.signals(bars, strategy.parse_params({}))
        wishes[name] = wishes[f"{name}_stops"] = Signals(
            enter_long=both.enter_long, exit_long=both.exit_long
        )
    return Market(frame, *bars[:5], wishes)


def arrays_of(market: Market) -> dict[str, np.ndarray]:
    """What a peer is given: candles and wishes by name."""
    names = ("open_time", "open", "high", "low", "close")
    arrays = {name: getattr(market, name) for name in names}
    for name, wishes in market.wishes.items():
        arrays |= {f"{name}_enter": wishes.enter_long, f"{name}_exit": wishes.exit_long}
    return arrays


@dataclass(frozen=True)
class Result:
    """Trades as (entry candle, exit candle, entry price, exit price), and the final equity."""

    trades: list[tuple]
    reasons: list[str]
    ambiguous: list[bool]
    equity: float


def traded(market: Market, strategy: str, frame: BacktestFrame | None = None, **how) -> Simulation:
    """Our run of a strategy; `how` is what `simulate` takes."""
    stop, target = LEVELS[strategy] or (None, None)
    settings = Settings(
        initial_capital=CAPITAL,
        fee_rate=FEE_RATE,
        risk=RiskRules(stop_loss_pct=stop, take_profit_pct=target),
    )
    return simulate(stage([frame or market.frame]), [market.wishes[strategy]], settings, **how)


def ours(market: Market, strategy: str, **how) -> Result:
    """Our run of a strategy, in the words of the peers."""
    done = traded(market, strategy, **how)
    row = dict(zip(market.open_time.tolist(), range(len(market.close)), strict=True))
    trades = done.trades
    return Result(
        [(row[t.entry_time], row[t.exit_time], t.entry_price, t.exit_price) for t in trades],
        [t.exit_reason for t in trades],
        [t.ambiguous for t in trades],
        float(done.equity[-1]),
    )


def same(one, other) -> bool:
    """Whether entry and exit are those of the other trade, in time and in price."""
    return tuple(one[:2]) == tuple(other[:2]) and all(
        math.isclose(a, b, rel_tol=SAME_PRICE) for a, b in zip(one[2:4], other[2:4], strict=True)
    )


def differing(mine: list, theirs: list) -> list[int]:
    """Which trades differ, for two logs of the same number of trades."""
    assert len(mine) == len(theirs)
    return [i for i, pair in enumerate(zip(mine, theirs, strict=True)) if not same(*pair)]


def grown(trades: list, fee_rate: float = FEE_RATE) -> float:
    """The equity after spending everything in each trade, both fees paid."""
    cash = CAPITAL
    for _, _, paid, got, *_ in trades:
        cash = cash / (paid * (1.0 + fee_rate)) * got * (1.0 - fee_rate)
    return cash
