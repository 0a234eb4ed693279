"""Whether the moments of entry were better than chance.

Random strategies hold as often, on the same sides and as long as the run did, but at random
times: the positions (a side with a length each) come in random order, and the rows in which
nothing is held are spread between them so that every arrangement is equally likely. A position
is entered at the open of a present row, the first one excepted, and left at the open of the
present row that ends it, or at the last close.

To compare like with like, both sides are simplified. A position is what is held of a symbol
without a break; lots taken later, and parts left earlier, belong to it. Each position spends
everything its symbol has, and symbols share the capital equally. The run's own positions keep
their real return (pnl / what the entries spent: real prices, fees and funding); this is its
`replayed_return_pct`, which is the total return where the run itself spent everything, one
symbol and lot at a time. Random positions pay the taker fee, slippage, half spread and
funding, and have no stops or targets. Ruin inside a position is seen at its end only.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from candlevault.backtest.engine.simulation import Simulation, Stage
from candlevault.backtest.metrics.distributions import (
    Distribution,
    Histogram,
    distribution,
    histogram,
)
from candlevault.backtest.risk import Settings
from candlevault.backtest.significance.generator import below, started
from candlevault.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class RandomEntry:
    """The run among `simulations` random strategies; percent as in Metrics.

    `reason` says why nothing could be compared, and every figure is None then. `positions`
    were placed. `percentile`: percent of random strategies that returned less than the run
    replayed. `p_value`: (1 + those that returned as much or more) / (simulations + 1), the
    chance of such a return without any skill in timing (B. V. North, D. Curtis and P. C. Sham,
    2002). `random_return_pct` and `histogram` describe the returns of the random strategies.
    """

    reason: str | None
    simulations: int
    seed: int
    positions: int
    replayed_return_pct: float | None = None
    percentile: float | None = None
    p_value: float | None = None
    random_return_pct: Distribution | None = None
    histogram: Histogram | None = None

    def as_dict(self) -> dict[str, object]:
        """The figures by name, in declared order; what they hold as dicts."""
        return dataclasses.asdict(self)


def random_entry(
    stage: Stage,
    simulation: Simulation,
    settings: Settings,
    *,
    seed: int,
    simulations: int = 500,
) -> RandomEntry:
    """Compare `simulation` with random strategies.

    `seed` decides every draw. Undefined (see `reason`) without trades. Raises InvalidRequest
    for a seed that has not 64 bits and for fewer than one of `simulations`.
    """
    state = started(seed)
    if simulations < 1:
        raise InvalidRequest("simulations", "must be at least 1", simulations)
    records = simulation.log.records
    if len(records) == 0:
        return RandomEntry("there are no trades", simulations, seed, 0)
    symbols = len(stage.frames)
    placed, replayed, random = 0, [], np.zeros(simulations)
    for symbol in range(symbols):
        sides, lengths, returns = positions(stage, records[records["symbol"] == symbol], symbol)
        placed += len(sides)
        replayed.append(_compounded(returns))
        random += _at_random(
            *_market_of(stage, symbol), sides, lengths, _costs(settings), simulations, state
        )
    random = (random / symbols - 1.0) * 100.0
    real = (math.fsum(replayed) / symbols - 1.0) * 100.0
    if not (math.isfinite(real) and np.all(np.isfinite(random))):
        return RandomEntry("the returns are beyond all floats", simulations, seed, placed)
    as_good = int(np.count_nonzero(random >= real))
    return RandomEntry(
        reason=None,
        simulations=simulations,
        seed=seed,
        positions=placed,
        replayed_return_pct=real,
        percentile=(simulations - as_good) / simulations * 100.0,
        p_value=(1 + as_good) / (simulations + 1),
        random_return_pct=distribution(random),
        histogram=histogram(random),
    )


def positions(
    stage: Stage, records: np.ndarray, symbol: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was held of one symbol without a break, in order of time.

    Three arrays: side (+1, -1), length in present rows of the symbol (0 when left at the open
    that entered), return (ratio) on what the entries spent.
    """
    records = records[np.lexsort((records["exit_row"], records["entry_row"]))]
    held: list[list[np.void]] = []
    end = -1
    for trade in records:
        # Another side is never held before the first is left.
        if trade["entry_row"] >= end:
            held.append([])
        end = max(end, int(trade["entry_row"] + trade["bars_held"]))
        held[-1].append(trade)
    # How many rows were present before each row.
    present = np.append(0, np.cumsum(stage.market.present[symbol]))
    return (
        np.array([lots[0]["side"] for lots in held], dtype=np.int64),
        np.array([_length(lots, present) for lots in held], dtype=np.int64),
        np.array([_returned(lots) for lots in held], dtype=np.float64),
    )


def _length(lots: list[np.void], present: np.ndarray) -> int:
    end = max(lot["entry_row"] + lot["bars_held"] for lot in lots)
    return int(present[end] - present[lots[0]["entry_row"]])


def _returned(lots: list[np.void]) -> float:
    spent = [lot["entry_price"] * lot["quantity"] + lot["entry_fee"] for lot in lots]
    return math.fsum(lot["pnl"] for lot in lots) / math.fsum(spent)


def _market_of(stage: Stage, symbol: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Opens of the present rows, the last close, and the funding that a long unit carried from
    the first row would have paid up to each of them."""
    market = stage.market
    present = market.present[symbol]
    opens = market.open[symbol][present]
    close = float(market.close[symbol, market.last_row[symbol]])
    funding = np.zeros(len(opens))
    if market.funding.shape[0]:
        funding = _running(opens * market.funding[symbol][present])
    return opens, close, funding


def _costs(settings: Settings) -> np.ndarray:
    return np.array(
        [settings.fee_rate, settings.slippage_bps, settings.half_spread], dtype=np.float64
    )


@njit(cache=True, nogil=True)
def _running(values):
    sums = np.empty(len(values))
    so_far = 0.0
    for i in range(len(values)):
        so_far += values[i]
        sums[i] = so_far
    return sums


@njit(cache=True, nogil=True)
def _compounded(returns):
    grown = 1.0
    for value in returns:
        grown = max(grown * (1.0 + value), 0.0)
    return grown


@njit(cache=True, nogil=True)
def _at_random(opens, last_close, funding, sides, lengths, costs, simulations, state):
    """The growth (ratio) of each random strategy."""
    rows, count = len(opens), len(sides)
    free = rows - 1
    for length in lengths:
        free -= length
    grown = np.ones(simulations)
    order = np.arange(count)
    starts_here = np.zeros(free + count, dtype=np.bool_)
    for sample in range(simulations):
        for i in range(count - 1, 0, -1):
            j = below(state, i + 1)
            order[i], order[j] = order[j], order[i]
        # Positions and free rows stand in one line; any places in it are equally likely.
        starts_here[:] = False
        chosen = 0
        while chosen < count:
            place = below(state, free + count)
            if not starts_here[place]:
                starts_here[place] = True
                chosen += 1
        row, number, growth = 1, 0, 1.0
        for place in range(free + count):
            if not starts_here[place]:
                row += 1
                continue
            which = order[number]
            number += 1
            left = row + lengths[which]
            brought = _return(opens, last_close, funding, sides[which], row, left, costs)
            growth = max(growth * (1.0 + brought), 0.0)
            row = left
        grown[sample] = growth
    return grown


@njit(cache=True, nogil=True)
def _return(opens, last_close, funding, side, row, left, costs):
    """What a position brings (ratio of what it spends), entered and left at market."""
    fee, slippage, half_spread = costs[0], costs[1], costs[2]
    # What takes no time may stand behind everything else.
    row = min(row, len(opens) - 1)
    carried = min(left, len(opens) - 1)
    price = opens[left] if left < len(opens) else last_close
    entry = opens[row] * (10_000.0 + side * slippage) / 10_000.0 + side * half_spread
    exit_ = price * (10_000.0 - side * slippage) / 10_000.0 - side * half_spread
    paid = side * (funding[carried] - funding[row])
    gained = side * (exit_ - entry) - fee * (entry + exit_) - paid
    return gained / (entry * (1.0 + fee))
