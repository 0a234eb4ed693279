"""Random backtests: candles with holes, signals of every kind, settings of every kind.

Prices are whole numbers of a tick, so that levels are touched exactly now and then, and every
bar is made of four finer candles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from candlevault import timeframe as timeframes
from candlevault.backtest.data.frame import BacktestFrame, build_frame
from candlevault.backtest.engine.simulation import Simulation, simulate, stage
from candlevault.backtest.engine.tables import Finer
from candlevault.backtest.risk import EntryOrders, RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.windows import Window
from tests.support.reference_engine import Outcome, Reference

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
PARTS = 4

Candle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """One backtest. `parts` holds the finer candles of every present bar by symbol and row."""

    timeframe: str
    frames: tuple[BacktestFrame, ...]
    parts: dict[tuple[int, int], list[Candle]]
    signals: tuple[Signals, ...]
    settings: Settings
    funding: np.ndarray | None
    mode: int = 0

    def simulated(self, **options) -> Simulation:
        """By the engine, with its books."""
        symbols, rows = len(self.frames), len(self.frames[0])
        first = np.zeros((symbols, rows), dtype=np.int64)
        last = np.zeros((symbols, rows), dtype=np.int64)
        flat: list[Candle] = []
        for (symbol, row), candles in sorted(self.parts.items()):
            first[symbol, row] = len(flat)
            flat += candles
            last[symbol, row] = len(flat)
        columns = np.array(flat, dtype=np.float64).reshape(-1, 4).T
        options = {"mode": self.mode, "books": True} | options
        return simulate(
            stage(self.frames, self.funding),
            self.signals,
            self.settings,
            finer=Finer(first, last, *(column.copy() for column in columns)),
            **options,
        )

    def referred(self, **options) -> Outcome:
        """By the reference."""
        options = {"mode": self.mode, "finer": self.parts} | options
        return Reference(
            self.frames, self.signals, self.settings, funding=self.funding, **options
        ).run()

    def head(self, rows: int) -> Case | None:
        """The oldest `rows` of everything; None where a symbol has no candle left."""
        if any(not frame.present[:rows].any() for frame in self.frames):
            return None
        counts = [int((f.present[:rows] | f.carried[:rows]).sum()) for f in self.frames]
        return replace(
            self,
            frames=tuple(_head(frame, rows) for frame in self.frames),
            parts={key: value for key, value in self.parts.items() if key[1] < rows},
            signals=tuple(
                given.head(count) for given, count in zip(self.signals, counts, strict=True)
            ),
            funding=None if self.funding is None else self.funding[:, :rows],
        )


def _head(frame: BacktestFrame, rows: int) -> BacktestFrame:
    columns = ("open_time", "open", "high", "low", "close", "volume", "present", "carried")
    window = Window(frame.window.start_ms, frame.window.start_ms + rows * frame.timeframe.step_ms)
    return replace(
        frame, window=window, **{name: getattr(frame, name)[:rows].copy() for name in columns}
    )


def frame_from(rows: list[Candle | None], timeframe: str, absent: str = "mark") -> BacktestFrame:
    """The frame of `rows`, one a grid row from 2024-01-01 on; None: never published."""
    step = timeframes.parse(timeframe)
    stored = [(i, row) for i, row in enumerate(rows) if row is not None]
    columns = {"open_time": np.array([START_MS + i * step.step_ms for i, _ in stored])}
    for position, name in enumerate(("open", "high", "low", "close")):
        columns[name] = np.array([row[position] for _, row in stored], dtype=float)
    columns["volume"] = np.ones(len(stored))
    window = Window(START_MS, START_MS + len(rows) * step.step_ms)
    return build_frame(step, window, columns, absent=absent)


def random_case(seed: int) -> Case:
    """The case of a seed, the same on every machine."""
    draw = Random(seed)
    return drawn_case(draw, draw.choice((1, 1, 2, 3)), draw.choice((6, 12, 24, 24, 40)))


def drawn_case(draw: Random, count: int, length: int) -> Case:
    """A case of `count` symbols and `length` rows."""
    tick = draw.choice((1.0, 1.0, 0.01, 0.0003))
    timeframe = draw.choice(("1h", "4h", "1d"))
    absent = draw.choice(("mark", "carry"))
    frames, parts = [], {}
    for symbol in range(count):
        path = _path(draw, length, tick)
        for row, candles in enumerate(path):
            if candles is not None:
                parts[symbol, row] = candles
        frames.append(frame_from([_joined(one) for one in path], timeframe, absent))
    for key in list(parts):
        if draw.random() < 0.1:
            del parts[key]
    settings = _settings(draw, tick)
    funding = None
    if draw.random() < 0.4:
        funding = np.array(
            [[draw.choice((0.0, 0.0, 0.001, -0.002, 0.01)) for _ in range(length)]
             for _ in range(count)]
        )  # fmt: skip
    return Case(
        timeframe=timeframe,
        frames=tuple(frames),
        parts=parts,
        signals=tuple(_signals(draw, frame, settings, tick) for frame in frames),
        settings=settings,
        funding=funding,
        mode=draw.choice((0, 0, 1, 2, 2)),
    )


def _path(draw: Random, length: int, tick: float) -> list[list[Candle] | None]:
    """Finer candles by row; None where the venue was closed."""
    price, step = draw.choice((100, 100, 40)), draw.choice((1, 3, 3, 10))
    holes = draw.choice((0.0, 0.0, 0.1, 0.3))
    path: list[list[Candle] | None] = []
    for _ in range(length):
        candles = []
        for _ in range(PARTS):
            open_ = max(5, price + (draw.randint(-step, step) if draw.random() < 0.2 else 0))
            if not candles and draw.random() < 0.1:
                open_ = max(5, open_ + draw.randint(-4 * step, 4 * step))
            met = [max(5, open_ + draw.randint(-step, step)) for _ in range(3)]
            price = met[-1]
            corners = (open_, max(open_, *met), min(open_, *met), price)
            candles.append(tuple(corner * tick for corner in corners))
        path.append(None if draw.random() < holes else candles)
    if draw.random() < 0.2:
        cut = draw.randint(1, length)
        path[cut:] = [None] * (length - cut)
    if all(candles is None for candles in path):
        path[0] = [(100.0 * tick,) * 4] * PARTS
    return path


def _joined(candles: list[Candle] | None) -> Candle | None:
    if candles is None:
        return None
    return (
        candles[0][0],
        max(candle[1] for candle in candles),
        min(candle[2] for candle in candles),
        candles[-1][3],
    )


def _settings(draw: Random, tick: float) -> Settings:
    percent = (None, None, 1, 3, 5, 7, 10, 20, 50)
    reckless = draw.random() < 0.2
    if reckless:
        percent = (None, None, None, 10, 20, 50)
    sizing = draw.choice(
        (
            Sizing("equity_fraction", 1.0),
            Sizing("equity_fraction", draw.choice((0.25, 0.5))),
            Sizing("fixed_amount", draw.choice((300.0, 2000.0))),
            Sizing("fixed_quantity", draw.choice((1.0, 7.0)) / tick),
            Sizing("fixed_risk", draw.choice((0.01, 0.1))),
            Sizing("volatility_target", draw.choice((0.01, 0.1)), atr_period=2),
            Sizing("kelly", draw.choice((0.5, 1.0)), cap=draw.choice((0.25, 1.0)),
                   min_trades=draw.choice((1, 2, 3)), initial_fraction=0.25),
        )
    )  # fmt: skip
    rules = RiskRules(
        sizing=Sizing("fixed_amount", 20_000.0) if reckless else sizing,
        stop_loss_pct=draw.choice(percent),
        take_profit_pct=draw.choice(percent),
        trailing_stop_pct=draw.choice(percent),
        max_exposure=draw.choice((2.0, 5.0, 9.0) if reckless else (0.5, 1.0, 1.0, 3.0)),
        max_open_positions=draw.choice((None, None, 1, 2)),
        max_entries=draw.choice((1, 1, 2, 3)),
        daily_loss_pct=draw.choice((None, None, None, 2, 10)),
        max_drawdown_pct=draw.choice((None, None, None, 5, 20)),
    )
    order = draw.choice(("market", "market", "limit", "stop", "stop_limit"))
    return Settings(
        initial_capital=1000.0,
        fee_rate=draw.choice((0.0, 0.001) if reckless else (0.0, 0.001, 0.001, 0.1)),
        maker_fee_rate=draw.choice((None, 0.0, 0.0005)),
        slippage_bps=draw.choice((0.0, 0.0, 5.0, 300.0)),
        half_spread=draw.choice((0.0, 0.0, 0.5)) * tick,
        direction=draw.choice(("long", "short", "both", "both")),
        entry=EntryOrders(
            order,
            offset_pct=draw.choice((0.0, 1.0, 5.0)),
            limit_offset_pct=draw.choice((0.0, 1.0, 2.0)),
            valid_bars=draw.choice((None, 1, 2, 3)),
        ),
        risk=rules,
    )


def _signals(draw: Random, frame: BacktestFrame, settings: Settings, tick: float) -> Signals:
    close = frame.bars().close
    count = len(close)
    busy = draw.choice((0.2, 0.5, 0.8))
    entries = [draw.choice((1, -1)) if draw.random() < busy else 0 for _ in range(count)]
    leaving = draw.choice((0.05, 0.15, 0.3))

    def flags():
        return np.array([draw.random() < leaving for _ in range(count)], dtype=bool)

    def near(chance, far, part):
        """Prices about the close, half of the time."""
        if draw.random() > chance:
            return None
        return np.array(
            [max(tick, price + draw.randint(-far, far) * tick) if draw.random() < part else np.nan
             for price in close.tolist()]
        )  # fmt: skip

    def among(chance, values):
        if draw.random() > chance:
            return None
        return np.array([draw.choice(values) for _ in range(count)])

    if settings.direction == "long" and draw.random() < 0.5:
        entries = [abs(one) for one in entries]
    return Signals(
        enter_long=np.array([one > 0 for one in entries], dtype=bool),
        exit_long=flags(),
        enter_short=np.array([one < 0 for one in entries], dtype=bool),
        exit_short=flags(),
        weight=among(0.2, (0.5, 1.0, np.nan)),
        limit=near(0.3, 8, 0.6),
        stop=near(0.3, 8, 0.6),
        stop_loss=near(0.2, 15, 0.7),
        take_profit=near(0.2, 15, 0.7),
        trail=among(0.2, (2.0 * tick, 10.0 * tick, np.nan)),
        reduce=among(0.5, (0.25, 0.5, 0.5, 1.0, np.nan)),
    )


def differences(found: Simulation, expected: Outcome, *, rel: float = 1e-9) -> list[str]:
    """What the engine says otherwise than the reference, in words; empty where they agree."""
    said = []

    def near(one, other, scale=1.0):
        return abs(one - float(other)) <= rel * max(abs(one), abs(float(other)), scale)

    for number, (one, other) in enumerate(zip(found.trades, expected.trades, strict=False)):
        for name, value in _comparable(other, found).items():
            mine = getattr(one, name)
            exactly = isinstance(value, (str, bool, int))
            if not (mine == value if exactly else near(mine, value)):
                said.append(f"trade {number} {name}: {mine} instead of {value}")
    if len(found.trades) != len(expected.trades):
        said.append(f"{len(found.trades)} trades instead of {len(expected.trades)}")
    for name, mine, theirs in (
        ("equity", found.equity.tolist(), expected.equity),
        ("cash", found.cash.tolist(), expected.cash),
    ):
        for row, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            if not near(one, other, 1000.0):
                said.append(f"{name} of row {row}: {one} instead of {other}")
                break
    for row, units in enumerate(expected.units):
        for symbol, value in enumerate(units):
            if not near(float(found.quantity[symbol][row]), value, 1.0):
                said.append(f"quantity of {symbol} in row {row} instead of {value}")
    if found.held.tolist() != expected.held:
        said.append(f"held {found.held.tolist()} instead of {expected.held}")
    refused = {name: count for name, count in found.refused.items() if count}
    if refused != dict(expected.refused):
        said.append(f"refused {refused} instead of {dict(expected.refused)}")
    asked = [tuple(one) for one in found.questions.tolist()]
    if asked != expected.questions:
        said.append(f"questions {asked} instead of {expected.questions}")
    if found.unresolved != expected.unresolved:
        said.append(f"unresolved {found.unresolved} instead of {expected.unresolved}")
    return said


def _comparable(trade: dict, found: Simulation) -> dict:
    times = found.log.open_time
    fields = {name: value for name, value in trade.items() if not name.endswith("_row")}
    for name in ("signal", "entry", "exit"):
        fields[f"{name}_time"] = int(times[trade[f"{name}_row"]])
    return {
        name: float(v) if not isinstance(v, (str, bool, int)) else v for name, v in fields.items()
    }
