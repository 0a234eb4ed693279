"""What the equity curve tells: charts, the worst drawdowns, and the table of months."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.metrics import drawdowns
from candlevault.backtest.metrics.months import Stretch, months, years
from candlevault.backtest.tear_sheet import charts, formats
from candlevault.backtest.tear_sheet.document import Document
from candlevault.backtest.tear_sheet.figures import tone
from candlevault.timeframe import from_ms

WORST = 5
_HEAT = (2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in the heat table: how warm it is, and what more is known."""

    text: str
    heat: str = ""
    more: str = ""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A year: twelve months, the whole year, and its drawdown."""

    label: str
    cells: tuple[Cell, ...]
    whole: Cell
    drawdown: str


def of(
    document: Document, trades: Sequence[Mapping], step_ms: int, when: Callable[[int | None], str]
) -> dict[str, object]:
    """The parts of the page that need a curve, by name; all None without one."""
    curve = document["curve"]
    if curve is None:
        return dict.fromkeys(
            (
                "equity_chart",
                "beside",
                "left_out",
                "fell",
                "drawdown_chart",
                "worst",
                "exposure_chart",
                "heat",
            )
        )
    values = np.asarray(curve["values"], dtype=np.float64)
    beside = curve.get("buy_and_hold")
    held = None if beside is None else np.asarray(beside, dtype=np.float64)
    open_time = curve["first_open_time"] + np.arange(len(values)) * step_ms
    capital = float(document["payload"].get("initial_capital") or values[0])
    below = drawdowns.curve(values)
    tables = (
        open_time,
        values,
        capital,
        [trade["exit_time"] for trade in trades],
        [trade["pnl"] for trade in trades],
    )
    return {
        "equity_chart": charts.equity(open_time, values, held, capital),
        "beside": held is not None,
        "left_out": curve.get("left_out"),
        "fell": bool(below.max() > 0.0),
        "drawdown_chart": charts.drawdown(open_time, below),
        "worst": _worst(drawdowns.worst(open_time, values, step_ms, WORST), when),
        "exposure_chart": charts.exposure(open_time, _held(trades, open_time, step_ms)),
        "heat": _heat(months(*tables), years(*tables)),
    }


def _held(trades: Sequence[Mapping], open_time: np.ndarray, step_ms: int) -> np.ndarray:
    """Rows in which anything was open, as far as the trades tell."""
    change = np.zeros(len(open_time) + 1, dtype=np.int64)
    for trade in trades:
        first = (trade["entry_time"] - int(open_time[0])) // step_ms
        change[min(max(first, 0), len(open_time))] += 1
        change[min(max(first + trade["bars_held"], 0), len(open_time))] -= 1
    return np.cumsum(change[:-1]) > 0


def _worst(
    found: Iterable[drawdowns.Drawdown], when: Callable[[int | None], str]
) -> list[dict[str, str]]:
    return [
        {
            "depth": formats.percent(-one.depth_pct),
            "start": when(one.start_time),
            "trough": when(one.trough_time),
            "end": "not made good" if one.end_time is None else when(one.end_time),
            "duration": formats.duration(one.duration_seconds),
        }
        for one in found
    ]


def _heat(by_month: Sequence[Stretch], by_year: Sequence[Stretch]) -> list[HeatRow]:
    cells = {formats.day(one.start_time)[:7]: _cell(one) for one in by_month}
    rows = []
    for year in by_year:
        label = f"{from_ms(year.start_time):%Y}"
        rows.append(
            HeatRow(
                label=label,
                cells=tuple(cells.get(f"{label}-{month:02}", Cell("")) for month in range(1, 13)),
                whole=_cell(year),
                drawdown=formats.percent(-year.max_drawdown_pct, 1),
            )
        )
    return rows


def _cell(stretch: Stretch) -> Cell:
    value = stretch.return_pct
    warmth = sum(abs(value) >= limit for limit in _HEAT) + 1
    # What is shown as 0.0 is neither good nor bad.
    heat = "" if abs(value) < 0.05 else f"{tone(value)}-{warmth}"
    trades = "1 trade" if stretch.trades == 1 else f"{formats.number(stretch.trades)} trades"
    more = (
        f"{trades} closed, {formats.money(stretch.pnl, sign=True)};"
        f" drawdown {formats.percent(stretch.max_drawdown_pct, 1)}"
    )
    return Cell(formats.number(value, 1), heat, more)
