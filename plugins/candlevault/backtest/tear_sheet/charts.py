"""Charts as inline SVG, without scripts and without words that shrink.

The drawing is stretched to the width of the page; strokes keep their width, and labels are
placed in percent, so that they stay readable on a phone. Colours come from the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from candlevault.backtest.metrics.distributions import Histogram
from candlevault.backtest.tear_sheet import formats
from candlevault.backtest.tear_sheet.downsampling import kept_rows
from candlevault.backtest.tear_sheet.scales import Scale, TimeTick, fitting, linear, times

_UNIT = 1000
_FOOT = 24
_TOP = 8
_MARK_TOP = 24

Labels = Sequence[tuple[float, str]]
"""Places between 0 and 1, and what stands there."""


def equity(
    open_time: np.ndarray,
    values: np.ndarray,
    buy_and_hold: np.ndarray | None,
    initial_capital: float,
) -> Markup:
    """The equity over time, with buying and holding beside it."""
    shown = [values] if buy_and_hold is None else [values, buy_and_hold]
    low = min(initial_capital, *(float(one.min()) for one in shown))
    high = max(initial_capital, *(float(one.max()) for one in shown))
    scale = fitting(low, high)
    start = _y(scale.place(initial_capital))
    parts = [Markup('<path class="start" d="M0 {0}H{1}"/>').format(start, _UNIT)]
    if buy_and_hold is not None:
        parts.append(_line("other", buy_and_hold, scale))
    parts.append(_line("main", values, scale))
    what = (
        f"Equity from {formats.money(initial_capital)} to {formats.money(float(values[-1]))},"
        f" lowest {formats.money(float(values.min()))},"
        f" highest {formats.money(float(values.max()))}."
    )
    if buy_and_hold is not None:
        what += f" Buy and hold ends at {formats.money(float(buy_and_hold[-1]))}."
    if scale.logarithmic:
        what += " The scale is logarithmic."
    return _figure(
        "equity", "Equity over time", what, 320, parts, _money_labels(scale), _times(open_time)
    )


def drawdown(open_time: np.ndarray, below: np.ndarray) -> Markup:
    """How far below its highest value the equity lay, in percent, hanging down from 0."""
    deepest = float(below.max())
    scale = linear(-deepest if deepest > 0.0 else -1.0, 0.0, ticks=4)
    rows = kept_rows(below)
    points = _points(rows, -below[rows], len(below), scale)
    parts = [
        Markup('<polygon class="under" points="0,0 {0} {1},0"/>').format(points, _UNIT),
        Markup('<polyline class="under-line" points="{0}"/>').format(points),
    ]
    labels = [(scale.place(tick), formats.percent(tick, 0)) for tick in scale.ticks]
    what = f"The deepest drawdown is {formats.percent(deepest)}."
    return _figure("drawdown", "Drawdown over time", what, 200, parts, labels, _times(open_time))


def exposure(open_time: np.ndarray, held: np.ndarray, most: int = 96) -> Markup:
    """The share of bars in a position, in equally long stretches of time."""
    count = min(most, len(held))
    edges = np.linspace(0, len(held), count + 1).astype(np.int64)
    bars = []
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        share = int(np.count_nonzero(held[first:end])) / (end - first)
        if share > 0.0:
            left, right = first / len(held), end / len(held)
            bars.append(_bar("held", left, right, share))
    labels = [
        (0.0, formats.percent(0, 0)),
        (0.5, formats.percent(50, 0)),
        (1.0, formats.percent(100, 0)),
    ]
    whole = int(np.count_nonzero(held)) / len(held) * 100.0
    what = f"A position was open in {formats.percent(whole)} of all bars."
    return _figure("exposure", "Time in the market", what, 120, bars, labels, _times(open_time))


def spread(
    name: str,
    title: str,
    what: str,
    bins: Histogram,
    mark: tuple[float, str],
    *,
    plain: bool = False,
) -> Markup:
    """A histogram of percentages, `mark` a value of interest with its name; gains and losses
    are coloured unless it is `plain`."""
    edges, most, height = bins.edges, max(bins.counts) or 1, 240
    low, high = edges[0], edges[-1]
    scale = linear(low, high, ticks=6)
    parts = []
    for left, right, count in zip(edges, edges[1:], bins.counts, strict=False):
        if count:
            kind = "plain" if plain else "gain" if left >= 0.0 else "loss"
            parts.append(_bar(kind, scale.place(left), scale.place(right), count / most))
    digits = 0 if high - low >= 6.0 else 1 if high - low >= 0.6 else 2
    below = [TimeTick(scale.place(tick), formats.percent(tick, digits)) for tick in scale.ticks]
    counts = linear(0.0, float(most), ticks=3)
    labels = [(counts.place(t), formats.number(int(t))) for t in counts.ticks if t == int(t)]
    place = min(max(scale.place(mark[0]), 0.0), 1.0)
    over = [_mark(place, mark[1], height)]
    return _figure(name, title, what, height, parts, labels, below, over, top=_MARK_TOP)


def outside(bins: Histogram) -> str:
    """A sentence on values beyond the edges, with a space in front; empty if there are none."""
    parts = []
    if bins.below:
        parts.append(f"{formats.number(bins.below)} below {formats.percent(bins.edges[0], 1)}")
    if bins.above:
        parts.append(f"{formats.number(bins.above)} above {formats.percent(bins.edges[-1], 1)}")
    return f" Not drawn: {', '.join(parts)}." if parts else ""


def interval(low: float, high: float, value: float | None) -> Markup:
    """A bar from `low` to `high` with a point at `value` and a line at 0; has no words."""
    shown = [low, high, 0.0, low if value is None else value]
    scale = linear(min(shown), max(shown))
    places = [f"{2.0 + 96.0 * scale.place(one):.2f}%" for one in shown]
    dot = Markup('<circle class="dot" cx="{0}" cy="12" r="4.5"/>').format(places[3])
    return Markup(
        '<svg class="interval" aria-hidden="true" width="100%" height="24">'
        '<line class="rail" x1="0" x2="100%" y1="12" y2="12"/>'
        '<line class="zero" x1="{2}" x2="{2}" y1="2" y2="22"/>'
        '<line class="range" x1="{0}" x2="{1}" y1="12" y2="12"/>{3}</svg>'
    ).format(*places[:3], "" if value is None else dot)


def _figure(
    name: str,
    title: str,
    what: str,
    height: int,
    drawn: Iterable[Markup],
    left: Labels,
    below: Sequence[TimeTick],
    over: Iterable[Markup] = (),
    *,
    top: int = _TOP,
) -> Markup:
    """The drawing with lines across, labels at its left and below, and a text for who cannot
    see it."""
    plot = height - _FOOT - top
    lines, words = [], []
    for place, label in left:
        y = f"{top + (1.0 - place) * plot:.1f}"
        lines.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(y))
        words.append(Markup('<text class="left" x="-8" y="{0}" dy="4">{1}</text>').format(y, label))
    for number, tick in enumerate(below):
        kind = "below" if number % 2 == 0 else "below minor"
        anchor = "start" if tick.place < 0.03 else "end" if tick.place > 0.97 else "middle"
        words.append(
            Markup('<text class="{0}" x="{1:.2f}%" y="{2}" text-anchor="{3}">{4}</text>').format(
                kind, tick.place * 100.0, height - 5, anchor, tick.label
            )
        )
    return Markup(
        '<svg class="chart" role="img" aria-labelledby="{0}-title {0}-desc" width="100%"'
        ' height="{1}"><title id="{0}-title">{2}</title><desc id="{0}-desc">{3}</desc>'
        '{4}<svg x="0" y="{5}" width="100%" height="{6}" viewBox="0 0 {7} {7}"'
        ' preserveAspectRatio="none">{8}</svg>{9}{10}</svg>'
    ).format(
        name, height, title, what, Markup("").join(lines), top, plot, _UNIT,
        Markup("").join(drawn), Markup("").join(over), Markup("").join(words),
    )  # fmt: skip


def _line(kind: str, values: np.ndarray, scale: Scale) -> Markup:
    rows = kept_rows(values)
    points = _points(rows, values[rows], len(values), scale)
    return Markup('<polyline class="{0}" points="{1}"/>').format(kind, points)


def _points(rows: np.ndarray, values: np.ndarray, count: int, scale: Scale) -> str:
    places = [scale.place(value) for value in values.tolist()]
    if count == 1:
        # A single bar is a line from edge to edge.
        return f"0,{_y(places[0])} {_UNIT},{_y(places[0])}"
    return " ".join(
        f"{_short(row / (count - 1) * _UNIT)},{_y(place)}"
        for row, place in zip(rows.tolist(), places, strict=True)
    )


def _bar(kind: str, left: float, right: float, height: float) -> Markup:
    return Markup('<rect class="{0}" x="{1}" y="{2}" width="{3}" height="{4}"/>').format(
        kind,
        _short(left * _UNIT),
        _y(height),
        _short((right - left) * _UNIT),
        _short(height * _UNIT),
    )


def _mark(place: float, word: str, height: int) -> Markup:
    anchor = "start" if place < 0.2 else "end" if place > 0.8 else "middle"
    return Markup(
        '<line class="mark" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>'
        '<text class="mark-word" x="{0:.2f}%" y="12" text-anchor="{3}">{4}</text>'
    ).format(place * 100.0, _MARK_TOP - 6, height - _FOOT, anchor, word)


def _money_labels(scale: Scale) -> Labels:
    digits = 0 if all(tick == int(tick) for tick in scale.ticks) else 2
    return [(scale.place(tick), _compact(tick, digits)) for tick in scale.ticks]


def _compact(value: float, digits: int) -> str:
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            size = 1e3 if letter == "k" else size
            whole = value / size == int(value / size)
            return formats.number(value / size, 0 if whole else 1) + letter
    return formats.number(value, digits)


def _times(open_time: np.ndarray) -> Sequence[TimeTick]:
    return times(int(open_time[0]), int(open_time[-1]))


def _y(place: float) -> str:
    return _short((1.0 - place) * _UNIT)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
