"""Whether a strategy keeps to the past: what it wished must not change as bars are added.

The strategy is asked again for shorter and shorter histories, each cut off at some bar. Up to
the cut its signals must be those of the whole history: whatever depends on a later bar, a mean
of the whole series, a shift, an argmax, gives other ones. Cuts lie right after bars where
something was wished, where a look at the next bar shows, and spread over the history.

A strategy of the user's is asked in a process that sees the shortest history first and has
never seen a longer one, so nothing it remembers helps it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from candlevault.backtest import evaluation
from candlevault.backtest.data.frame import Bars
from candlevault.backtest.engine.codes import ENTER_LONG, ENTER_SHORT, EXIT_LONG, EXIT_SHORT
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Params, Strategy
from candlevault.errors import StrategyFailed
from candlevault.timeframe import from_ms

CUTS = 12
"""Cuts over the whole history; half of them after bars with wishes. Two more lie before and
after a bar of each of the four wishes."""

EARLY_CUTS = 24
"""Cuts near the first wish, where they cost little; half of them after bars with wishes."""

_EARLY_BARS = 2000
_SPARE_BARS = 50_000


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that found nothing: how many histories were tried, and how long they were."""

    cuts: tuple[int, ...]

    def as_dict(self) -> dict[str, object]:
        """What stands in the trust report."""
        return {"cuts": len(self.cuts), "changed": 0}


@dataclass(frozen=True, slots=True)
class Finding:
    """Bar `row` had another wish when only the oldest `cut` bars were known; or, with `failed`,
    the strategy failed on them. A `cut` of all bars means that it is not deterministic."""

    row: int
    cut: int
    failed: str | None = None


def check(strategy: Strategy, bars: Bars, params: Params, *, seed: int) -> Checked:
    """Ask `strategy` again for cut off histories; `seed` places the cuts.

    Raises StrategyFailed naming the bar whose wish changed and the cut that changed it, when a
    strategy depends on later bars or gives other signals for the same bars.
    """
    (signals,) = evaluation.evaluate(strategy, bars, [params])
    count = len(bars.close)
    tried = cuts(signals, count, seed=seed)
    lengths = (*tried, count)
    with closing(evaluation.each(strategy, bars, [(params, cut) for cut in lengths])) as answers:
        found = find(signals, count, zip(lengths, answers, strict=True))
    if found is not None:
        raise evaluation.failure(strategy, _told(found, bars))
    return Checked(tried)


def find(
    signals: Signals, count: int, heads: Iterable[tuple[int, Signals | StrategyFailed]]
) -> Finding | None:
    """The first finding in `heads`: pairs of a cut and the signals of that many oldest bars.

    The last pair must be of all `count` bars: where they differ already, nothing can be said
    of the others.
    """
    first = None
    wished = np.flatnonzero(signals.actions(count))
    for cut, head in heads:
        finding = None
        if isinstance(head, StrategyFailed):
            # With too few bars to wish anything, a strategy may refuse to work at all.
            if cut == count or (len(wished) and wished[0] < cut):
                finding = Finding(cut - 1, cut, head.what)
        else:
            row = _spelt_out(head, cut).differs(signals.head(cut))
            if row is not None:
                finding = Finding(row, cut)
        if finding is not None and cut == count:
            return finding
        first = first or finding
    return first


def cuts(signals: Signals, count: int, *, seed: int) -> tuple[int, ...]:
    """How many of the oldest bars to try, ascending, each at least 1 and below `count`.

    The same signals and seed give the same cuts. Those near the first wish are left out as far
    as all together would be longer than the whole history `CUTS` times and some.
    """
    chance = random.Random(seed)
    actions = signals.actions(count)
    wished = np.flatnonzero(actions)
    begin = int(wished[0]) if len(wished) else 0
    chosen = {
        *_strata(chance, np.arange(begin, count), CUTS // 2),
        *_strata(chance, wished, CUTS // 2),
    }
    for flag in (ENTER_LONG, EXIT_LONG, ENTER_SHORT, EXIT_SHORT):
        for cut in _strata(chance, np.flatnonzero(actions & flag), 1):
            # Before the lowest price of all, another one is the lowest.
            chosen |= {cut - 1, cut}
    early = np.arange(begin, min(begin + _EARLY_BARS, count))
    left = CUTS * count + _SPARE_BARS - sum(chosen)
    for cut in sorted(
        {
            *_strata(chance, early, EARLY_CUTS // 2),
            *_strata(chance, early[actions[early] != 0], EARLY_CUTS // 2),
        }
        - chosen
    ):
        left -= cut
        if left >= 0:
            chosen.add(cut)
    return tuple(sorted(cut for cut in chosen if 0 < cut < count))


def _strata(chance: random.Random, rows: np.ndarray, number: int) -> list[int]:
    """The cuts right after `number` of `rows`, one out of each of equal parts."""
    number = min(number, len(rows))
    edges = [len(rows) * part // number for part in range(number + 1)] if number else []
    return [
        int(rows[low + int(chance.random() * (high - low))]) + 1
        for low, high in itertools.pairwise(edges)
    ]


def _spelt_out(signals: Signals, count: int) -> Signals:
    """The same wishes with at least one array, which says how many bars there are."""
    if signals.enter_long is not None:
        return signals
    return replace(signals, enter_long=np.zeros(count, dtype=bool))


def _told(found: Finding, bars: Bars) -> str:
    count = len(bars.close)
    time = f"{from_ms(int(bars.open_time[found.row])):%Y-%m-%dT%H:%M:%SZ}"
    if found.cut == count:
        if found.failed is not None:
            return f"failed when it was asked again for the same bars: it {found.failed}"
        return f"is not deterministic: asked again for the same bars, it wished otherwise at {time}"
    last = f"{from_ms(int(bars.open_time[found.cut - 1])):%Y-%m-%dT%H:%M:%SZ}"
    known = f"the {found.cut} of {count} bars up to {last}"
    if found.failed is not None:
        return f"looks ahead: it fails when it knows only {known}: it {found.failed}"
    return f"looks ahead: the wish at {time} is another one when it knows only {known}"
