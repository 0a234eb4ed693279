"""How much the unknown order of events inside bars can matter to the final equity.

Every ambiguous moment has a worse and a better answer. Where a better answer can never hurt
later (one symbol, long only, unleveraged, one lot at a time, no moment after which the position
itself could differ, and no rule that looks back at profits) the run of all worse and the run of
all better answers are the bounds. Elsewhere all combinations of answers are run, up to a limit;
beyond it the bounds are those of the runs made, and `exact` is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC
from candlevault.backtest.engine.simulation import Simulation
from candlevault.backtest.risk import KELLY, Settings

LARGEST_EXPLORATION = 256
"""Runs made at most to look for the bounds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Equity in quote at the end of the run.

    `ambiguous_trades` of the result itself; `unresolved` moments the finer candles should have
    settled and did not (None in the other modes). `pessimistic` and `optimistic` are the two
    plain runs, `lowest` and `highest` the bounds and `width_pct` their distance in percent of
    the initial capital. `exact`: no combination of answers ends outside; `runs` were made.
    """

    ambiguous_trades: int
    unresolved: int | None
    pessimistic: float
    optimistic: float
    lowest: float
    highest: float
    width_pct: float
    exact: bool
    runs: int

    def as_dict(self) -> dict[str, object]:
        """The bounds by name, in declared order."""
        return asdict(self)


def find(
    run: Callable[[int, Sequence[int]], Simulation],
    result: Simulation,
    settings: Settings,
    symbols: int,
    *,
    resolved: bool,
    limit: int = LARGEST_EXPLORATION,
) -> Bounds:
    """The bounds around `result`.

    `run(mode, choices)` simulates the same signals otherwise; `symbols` counts those that
    share the capital.
    """
    low, high = run(PESSIMISTIC, ()), run(OPTIMISTIC, ())
    ends = [_end(low), _end(high), _end(result)]
    branching = low.branching + high.branching + result.branching
    exact, runs = True, 2
    if len(low.questions) + len(high.questions) and (
        branching or not _better_never_hurts(settings, symbols)
    ):
        found, exact = _explore(run, limit)
        ends += found
        runs += len(found)
    lowest, highest = min(ends), max(ends)
    return Bounds(
        ambiguous_trades=int(result.log.records["ambiguous"].sum()),
        unresolved=result.unresolved if resolved else None,
        pessimistic=ends[0],
        optimistic=ends[1],
        lowest=lowest,
        highest=highest,
        width_pct=(highest - lowest) / settings.initial_capital * 100.0,
        exact=exact,
        runs=runs,
    )


def _better_never_hurts(settings: Settings, symbols: int) -> bool:
    risk = settings.risk
    return (
        symbols == 1
        and settings.direction == "long"
        and risk.max_exposure <= 1.0
        and risk.max_entries == 1
        and risk.daily_loss_pct is None
        and risk.max_drawdown_pct is None
        and risk.sizing.method != KELLY
    )


def _explore(
    run: Callable[[int, Sequence[int]], Simulation], limit: int
) -> tuple[list[float], bool]:
    """The ends of all combinations of answers, and whether the limit let all of them run."""
    ends: list[float] = []
    # Each entry starts with given answers and goes on with the worse one: flipping one of
    # those that follow leads to a combination not seen before.
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        if len(ends) == limit:
            return ends, False
        given = waiting.pop()
        done = run(PESSIMISTIC, given)
        ends.append(_end(done))
        answers = tuple(done.questions["choice"].tolist())
        waiting += [(*answers[:i], 1) for i in range(len(given), len(answers))]
    return ends, True


def _end(simulation: Simulation) -> float:
    return float(simulation.equity[-1])
