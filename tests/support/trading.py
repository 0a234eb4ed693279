"""Short ways into the engine for tests: few rows, wishes by row, results in a few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from candlevault.backtest.engine.simulation import Simulation, simulate, stage
from candlevault.backtest.risk import RiskRules, Settings
from candlevault.backtest.signals import Signals

SETTINGS = {field.name for field in dataclasses.fields(Settings)}
HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def long_only(wishes) -> Signals:
    """Signals of +1 (be long), -1 (be flat) and 0."""
    wishes = np.asarray(wishes)
    return Signals(enter_long=wishes == 1, exit_long=wishes == -1)


def wished(count: int, **by_row) -> Signals:
    """Signals of `count` bars: `enter_long=[0, 3]` names rows, `limit={0: 95.0}` rows and values.

    A single row may stand alone.
    """
    arrays = {}
    for name, rows in by_row.items():
        if isinstance(rows, Mapping):
            array = np.full(count, np.nan)
            array[list(rows)] = list(rows.values())
        else:
            array = np.zeros(count, dtype=bool)
            array[rows] = True
        arrays[name] = array
    return Signals(**arrays)


def traded(frame, wishes, *, risk: RiskRules | None = None, funding=None, **options) -> Simulation:
    """Trade Signals, or +1, -1 and 0 on the long side, with the books kept."""
    signals = wishes if isinstance(wishes, Signals) else long_only(wishes)
    return together([frame], [signals], risk=risk, funding=funding, **options)


def alone(frame, wishes, **options) -> Simulation:
    """The same with a capital of 1000 unless told."""
    return traded(frame, wishes, **({"initial_capital": 1000.0} | options))


def together(frames, signals, *, risk: RiskRules | None = None, funding=None, **options):
    """Trade several symbols with one capital; `funding` gives the rates of each by row."""
    settings = Settings(
        risk=risk or RiskRules(),
        **{name: options.pop(name) for name in list(options) if name in SETTINGS},
    )
    if funding is not None:
        funding = [np.asarray(rates, dtype=np.float64) for rates in funding]
    return simulate(stage(frames, funding), signals, settings, books=True, **options)


def ends(simulation: Simulation) -> list[tuple]:
    """(reason, entry price, exit price) of each trade."""
    return [(one.exit_reason, one.entry_price, one.exit_price) for one in simulation.trades]


def rows_of(simulation: Simulation) -> list[tuple[int, int]]:
    """(entry row, exit row) of each trade."""
    records = simulation.log.records
    return list(zip(records["entry_row"].tolist(), records["exit_row"].tolist(), strict=True))


def refused(simulation: Simulation) -> dict[str, int]:
    """The dropped entries by reason, without the zeros."""
    return {reason: count for reason, count in simulation.refused.items() if count}
