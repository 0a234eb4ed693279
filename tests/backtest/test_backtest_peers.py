"""Our engine against backtesting.py, vectorbt and nautilus_trader, on real candles and made ones.

Each runs in an environment of its own (`make test-peers`). Where a peer can be told our
conventions, trades and final equity are equal. Where it is left with its own, every trade that
differs is one that `rules_of_thumb` derives from the two conventions, candle by candle, and
docs/comparison.md tells their number with an example. A new difference turns this red.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from candlevault import paths, timeframe
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC
from candlevault.windows import Window
from tests.support.backtest_peers import (
    FEE_RATE,
    HOUR_MS,
    LEVELS,
    PLANS,
    SAME_EQUITY,
    SAME_PRICE,
    TOOLS,
    WINDOW,
    Market,
    arrays_of,
    differing,
    grown,
    made,
    ours,
    same,
    traded,
)
from tests.support.trade_conventions import OURS, Conventions, high_first, rules_of_thumb

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).with_name("peers")
PAGE = paths.PROJECT / "docs" / "comparison.md"


@pytest.fixture(scope="module")
def market(real_candles) -> Market:
    """Hours of BTCUSDT; some were never published."""
    table = real_candles("spot", "BTCUSDT", "1h")
    table = table[(table.open_time >= WINDOW.start_ms) & (table.open_time < WINDOW.end_ms)]
    frame = build_frame(timeframe.parse("1h"), WINDOW, {c: table[c].to_numpy() for c in table})
    assert len(frame) == 50_400 and int(frame.present.sum()) == 50_368
    return made(frame)


@pytest.fixture(scope="module")
def gaps() -> Market:
    """A random walk whose candles open away from the close before, beyond levels now and then."""
    rng, count = np.random.default_rng(11), 12_000
    jumps, moves = rng.normal(0.0, 0.008, count), rng.normal(0.0, 0.006, count)
    close = 5_000.0 * np.cumprod((1.0 + jumps) * (1.0 + moves))
    open_ = close / (1.0 + moves)
    candles = {
        "open_time": WINDOW.start_ms + HOUR_MS * np.arange(count),
        "open": open_,
        "high": np.maximum(open_, close) * (1.0 + rng.exponential(0.003, count)),
        "low": np.minimum(open_, close) * (1.0 - rng.exponential(0.003, count)),
        "close": close,
        "volume": np.ones(count),
    }
    candles = {k: v if k == "open_time" else np.round(v, 2) for k, v in candles.items()}
    window = Window(WINDOW.start_ms, WINDOW.start_ms + count * HOUR_MS)
    return made(build_frame(timeframe.parse("1h"), window, candles))


@pytest.fixture(scope="module")
def asked(market, gaps, tmp_path_factory):
    """A function from a tool to its answers by run; skips aloud where it is not set up."""

    @cache
    def ask(tool: str) -> dict[str, dict]:
        root = os.environ.get("CANDLEVAULT_PEERS")
        home = Path(root) if root else paths.PROJECT / ".peers"
        python = home / tool / "bin" / "python"
        if not python.exists():
            pytest.skip(f"{tool} is not set up here (make test-peers does it)")
        folder = tmp_path_factory.mktemp(tool)
        np.savez(folder / "real.npz", **arrays_of(market))
        np.savez(folder / "gaps.npz", **arrays_of(gaps))
        (folder / "plan.json").write_text(json.dumps(PLANS[tool]))
        script = SCRIPTS / f"run_{tool}.py"
        done = subprocess.run(
            [str(python), "-IB", str(script), str(folder)],
            capture_output=True,
            text=True,
            timeout=540,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        print(f"{tool} {answer['version']}")
        return answer["runs"]

    return ask


# -- Equal conventions -------------------------------------------------------------------------


def choices(market: Market, strategy: str, cut_off: bool = True) -> list[int]:
    """The ambiguous moments of a run as nautilus_trader's adaptive order answers them."""
    grid, rows = market.frame, traded(market, strategy).questions["row"].tolist()
    return [int(high_first(grid.open[row], grid.high[row], grid.low[row], cut_off)) for row in rows]


def mode(tool: str, strategy: str) -> int:
    # nautilus_trader goes through the high of a candle before its low.
    return OPTIMISTIC if tool == "nautilus" and LEVELS[strategy] else PESSIMISTIC


@pytest.mark.parametrize("strategy", LEVELS)
@pytest.mark.parametrize("tool", TOOLS)
def test_trades_and_equity_are_equal_under_equal_conventions(market, asked, tool, strategy):
    answer = asked(tool)[f"equal {strategy}"]
    mine = ours(market, strategy, mode=mode(tool, strategy))
    assert differing(mine.trades, answer["trades"]) == []
    assert math.isclose(answer["equity"], mine.equity, rel_tol=SAME_EQUITY)
    assert len(mine.trades) > 150


@pytest.mark.parametrize("strategy", ["sma_stops", "rsi_stops"])
@pytest.mark.parametrize("tool", TOOLS)
def test_candles_that_open_beyond_levels_are_equal(gaps, asked, tool, strategy):
    """N9: nautilus_trader fills a target that the open has passed at its price, not at the open."""
    answer = asked(tool)[f"gaps {strategy}"]
    mine = ours(gaps, strategy, mode=mode(tool, strategy))
    stop, target = LEVELS[strategy]
    by_gap = {
        reason: [
            i
            for i, trade in enumerate(mine.trades)
            if mine.reasons[i] == reason
            and not math.isclose(trade[3], trade[2] * (1.0 + share / 100.0), rel_tol=SAME_PRICE)
        ]
        for reason, share in (("stop_loss", -stop), ("take_profit", target))
    }
    assert min(map(len, by_gap.values())) > 15
    found = differing(mine.trades, answer["trades"])
    if tool != "nautilus":
        assert found == []
        assert math.isclose(answer["equity"], mine.equity, rel_tol=SAME_EQUITY)
        return
    assert found == by_gap["take_profit"]
    rules = replace(OURS, both="target", better=False)
    assert differing(answer["trades"], rules_of_thumb(gaps, strategy, rules)) == []
    assert math.isclose(answer["equity"], grown(answer["trades"]), rel_tol=SAME_EQUITY)
    if strategy == "sma_stops":
        told(gaps, "N9", len(found), mine.trades[found[0]], answer["trades"][found[0]])
        assert len(found) == 18


def test_both_engines_of_vectorbt_agree(asked):
    runs = asked("vectorbt")
    assert runs["rust"] == runs["equal sma_stops"]


@pytest.mark.parametrize("strategy", ["sma_stops", "rsi_stops"])
def test_nautilus_adaptive_order_is_equal_once_we_are_told_its_answers(market, asked, strategy):
    answer = asked("nautilus")[f"adaptive {strategy}"]
    mine = ours(market, strategy, choices=choices(market, strategy))
    assert differing(mine.trades, answer["trades"]) == []
    assert math.isclose(answer["equity"], mine.equity, rel_tol=SAME_EQUITY)


def test_nautilus_adaptive_order_cuts_distances_off(market, asked):
    theirs = asked("nautilus")["adaptive rsi_stops"]["trades"]
    mine = ours(market, "rsi_stops", choices=choices(market, "rsi_stops", cut_off=False))
    found = differing(mine.trades, theirs)
    assert len(found) == 4
    told(market, "N3", 4, mine.trades[found[0]], theirs[found[0]])


@pytest.mark.parametrize("strategy", LEVELS)
def test_backtesting_is_equal_without_splitting_candles(market, asked, strategy):
    answer = asked("backtesting")[f"whole {strategy}"]
    mine = ours(market, strategy)
    assert differing(mine.trades, answer["trades"]) == []
    assert math.isclose(answer["equity"], mine.equity, rel_tol=SAME_EQUITY)


@pytest.mark.parametrize("strategy", ["sma", "rsi"])
def test_vectorbt_is_equal_without_splitting_candles_where_no_levels_are_set(
    market, asked, strategy
):
    answer = asked("vectorbt")[f"whole {strategy}"]
    mine = ours(market, strategy)
    assert differing(mine.trades, answer["trades"]) == []
    assert math.isclose(answer["equity"], mine.equity, rel_tol=SAME_EQUITY)


@pytest.mark.parametrize("tool", TOOLS)
def test_filling_at_the_close_of_the_signal_would_be_seen(market, asked, tool):
    """The comparison can fail: candles that open at the close before are other candles."""
    given = market.frame
    filled = given.close.copy()
    for row in np.flatnonzero(np.isnan(filled)):
        filled[row] = filled[row - 1]
    before = np.append(given.open[0], filled[:-1])
    opened = np.where(given.present, before, np.nan)
    frame = replace(
        given,
        open=opened,
        high=np.fmax(given.high, opened),
        low=np.fmin(given.low, opened),
    )
    mine = ours(market, "sma", frame=frame)
    answer = asked(tool)["equal sma"]
    assert len(differing(mine.trades, answer["trades"])) == 484
    assert not math.isclose(answer["equity"], mine.equity, rel_tol=1e-5)


# -- Other conventions -------------------------------------------------------------------------


def cell(case: str) -> str:
    """The line of docs/comparison.md that tells of a case."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"| {case} |"))


def told(market: Market, case: str, count: int, mine=None, theirs=None) -> None:
    """Assert that the page tells a case with this count and this example."""
    assert f"| {count} |" in cell(case), (case, count)
    if mine is None:
        return
    words = [
        f"{who}: in {market.name(trade[0])} at {round(trade[2], 5)}, "
        f"out {market.name(trade[1])} at {round(trade[3], 5)}"
        for who, trade in (("ours", mine), ("theirs", theirs))
    ]
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for sentence in words:
        assert sentence in text, (case, words)


def explained(market, asked, tool, run, strategy, theirs: Conventions) -> tuple[list, list, list]:
    """Our trades, theirs, and which differ, once both sides are what their rules make of them."""
    answer = asked(tool)[run]
    mine = ours(market, strategy)
    assert differing(mine.trades, rules_of_thumb(market, strategy, OURS)) == []
    assert differing(answer["trades"], rules_of_thumb(market, strategy, theirs)) == []
    assert math.isclose(answer["equity"], grown(answer["trades"]), rel_tol=SAME_EQUITY)
    return mine, answer["trades"], differing(mine.trades, answer["trades"])


def test_vectorbt_looks_for_levels_after_the_candle_of_the_entry(market, asked):
    rules = Conventions(watched=False, exit_first=False, open_first=False)
    mine, theirs, found = explained(
        market, asked, "vectorbt", "whole sma_stops", "sma_stops", rules
    )
    passed = differing(theirs, rules_of_thumb(market, "sma_stops", replace(rules, open_first=True)))
    unwatched = [i for i in found if mine.trades[i][0] == mine.trades[i][1] and i not in passed]
    overtaken = [i for i in found if i not in unwatched + passed]
    assert all(mine.reasons[i] == "signal" for i in overtaken)
    assert all(theirs[i][1] == mine.trades[i][1] for i in overtaken)
    for case, which, count in (("V1", unwatched, 65), ("V2", passed, 1), ("V3", overtaken, 5)):
        assert len(which) == count
        told(market, case, count, mine.trades[which[0]], theirs[which[0]])


def test_vectorbt_marks_what_is_open_at_the_end_without_a_fee(market, asked):
    answer, mine = asked("vectorbt")["end"], ours(market, "sma")
    assert differing(mine.trades, answer["trades"]) == []
    assert mine.reasons.count("end_of_data") == 1
    assert math.isclose(answer["equity"] * (1.0 - FEE_RATE), mine.equity, rel_tol=SAME_EQUITY)
    told(market, "V4", 1)
    assert f"{answer['equity']:,.2f}" in PAGE.read_text(encoding="utf-8")


def test_backtesting_ends_at_the_last_open(market, asked):
    rules = Conventions(end="open")
    mine, theirs, found = explained(market, asked, "backtesting", "end", "sma", rules)
    assert found == [613]
    told(market, "B1", 1, mine.trades[613], theirs[613])


def test_backtesting_takes_levels_before_the_price_is_known(market, asked):
    rules = Conventions(base="signal")
    mine, theirs, found = explained(market, asked, "backtesting", "levels", "sma_stops", rules)
    kept = [i for i in found if mine.trades[i][1] == theirs[i][1]]
    moved = [i for i in found if i not in kept]
    for case, which, count in (("B2", kept, 272), ("B3", moved, 1)):
        assert len(which) == count
        told(market, case, count, mine.trades[which[0]], theirs[which[0]])


def test_backtesting_buys_whole_units(market, asked):
    answer, mine = asked("backtesting")["satoshi"], ours(market, "sma")
    assert differing(mine.trades, answer["trades"]) == []
    off = answer["equity"] / mine.equity - 1.0
    assert SAME_EQUITY < abs(off) < 1e-5
    told(market, "B4", 0)
    assert f"{answer['equity']:,.6f}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("case", "run", "both", "count"),
    [("N1", "equal sma_stops", "target", 7), ("N2", "adaptive sma_stops", "nearer", 3)],
)
def test_nautilus_goes_through_one_extreme_first(market, asked, case, run, both, count):
    rules = Conventions(both=both)
    mine, theirs, found = explained(market, asked, "nautilus", run, "sma_stops", rules)
    assert all(mine.ambiguous[i] for i in found)
    assert len(found) == count
    told(market, case, count, mine.trades[found[-1]], theirs[found[-1]])


@pytest.mark.parametrize(
    ("case", "strategy", "count"),
    [("N4", "sma", 484), ("N5", "rsi", 139), ("N6", "sma_stops", 343)],
)
def test_nautilus_fills_at_the_close_of_the_signal(market, asked, case, strategy, count):
    rules = Conventions(fill="close", both="target")
    mine, theirs, found = explained(market, asked, "nautilus", f"whole {strategy}", strategy, rules)
    assert found == list(range(len(theirs)))
    priced = [
        i
        for i, (a, b) in enumerate(zip(mine.trades, theirs, strict=True))
        if not same((0, 0, *a[2:]), (0, 0, *b[2:4]))
    ]
    assert len(priced) == count
    told(market, case, count, mine.trades[priced[0]], theirs[priced[0]])


def test_nautilus_leaves_at_another_candle_where_levels_refer_to_the_close(market, asked):
    mine, theirs = ours(market, "sma_stops"), asked("nautilus")["whole sma_stops"]["trades"]
    moved = [
        i
        for i, trade in enumerate(theirs)
        if trade[1] != mine.trades[i][1] - (mine.reasons[i] == "signal")
    ]
    assert len(moved) == 1
    told(market, "N7", 1, mine.trades[moved[0]], theirs[moved[0]])


# -- Indicators --------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
def test_their_averages_cross_where_ours_do(market, asked, tool):
    answer, wishes = asked(tool)["own sma"], market.wishes["sma"]
    assert answer["enter"] == np.flatnonzero(wishes.enter_long).tolist()
    assert answer["exit"] == np.flatnonzero(wishes.exit_long).tolist()
    assert differing(ours(market, "sma").trades, answer["trades"]) == []


def smoothed_rsi(close: np.ndarray, first: list[float], known: int) -> np.ndarray:
    """Wilder's index when both averages start at the first of `first` and follow it from there;
    None of the values before `known`."""
    averages, values = [max(first[0], 0.0), max(-first[0], 0.0)], [math.nan]
    moves = [*first[1:], *np.diff(close)[len(first) - 1 :].tolist()]
    for move in moves:
        for i, size in enumerate((max(move, 0.0), max(-move, 0.0))):
            averages[i] += (size - averages[i]) / 14.0
        values.append(100.0 * averages[0] / (averages[0] + averages[1]))
    values = np.array(values)
    values[:known] = math.nan
    return values


@pytest.mark.parametrize(
    ("tool", "case", "missing", "added", "known"),
    [
        ("vectorbt", "V5", [40, 45, 46, 47], [], 27),
        ("nautilus", "N8", [], [27, 31], 13),
    ],
)
def test_their_rsi_starts_from_another_seed(market, asked, tool, case, missing, added, known):
    answer, wishes = asked(tool)["own rsi"], market.wishes["rsi"]
    mine, theirs = set(np.flatnonzero(wishes.enter_long).tolist()), set(answer["enter"])
    assert sorted(mine - theirs) == missing and sorted(theirs - mine) == added
    assert answer["exit"] == np.flatnonzero(wishes.exit_long).tolist()
    # The cause: nautilus_trader starts from a change of zero, vectorbt from the first change.
    first = [0.0] if tool == "nautilus" else [float(np.diff(market.close)[0])]
    index = smoothed_rsi(market.close, first, known)
    assert np.flatnonzero(index < 30.0).tolist() == answer["enter"]
    trades = ours(market, "rsi").trades
    found = differing(trades, answer["trades"])
    assert found == [0]
    told(market, case, 1, trades[0], answer["trades"][0])
