"""The run among strategies that hold as often and as long at random times."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.metrics.distributions import Distribution
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.backtest.significance import random_entry
from candlevault.backtest.significance.random_strategies import positions
from candlevault.errors import InvalidRequest


def run(frames, wishes, *, funding=None, **options):
    """+1 be long, -1 be short, 9 be flat."""
    on = stage(frames, funding)
    rules = Settings(**{"initial_capital": 1000.0, "direction": "both", **options})
    signals = [
        Signals(enter_long=w == 1, enter_short=w == -1, exit_long=w == 9, exit_short=w == 9)
        for w in map(np.asarray, wishes)
    ]
    return on, simulate(on, signals, rules), rules


def zigzag(count):
    """Prices that rise and fall in stretches, the same everywhere."""
    return [100.0 + 10 * abs(i % 20 - 10) + (i * 37 % 11) for i in range(count)]


def test_every_arrangement_is_equally_likely(frame_of):
    # One position of length 1 (open to next open) in 5 rows: entered at row 1, 2, 3 or 4, the
    # last one left at the close. Returns 10, 20, 30 and 0 %.
    frame = frame_of(
        [
            (100, 100, 100, 100),
            (100, 100, 100, 100),
            (110, 110, 110, 110),
            (132, 132, 132, 132),
            (171.6, 171.6, 171.6, 171.6),
        ]
    )
    on, done, rules = run([frame], [[1, 9, 0, 0, 0]])
    got = random_entry(on, done, rules, seed=5, simulations=8000)
    spread = got.random_return_pct
    assert got.positions == 1
    assert got.replayed_return_pct == pytest.approx(10)
    assert (spread.lowest, spread.highest) == (0, pytest.approx(30))
    assert spread.mean == pytest.approx(15, abs=0.5)
    # 10 % or more come in three of four
    assert got.p_value == pytest.approx(0.75, abs=0.02)
    assert got.percentile == pytest.approx(25, abs=2)


def test_two_positions_in_every_order_and_place(frame_of):
    # Lengths 1 and 2 in rows 1 to 4 (one row is free): 2 orders, 3 places of the free row
    opens = [100, 100, 110, 99, 120, 150]
    frame = frame_of(opens)
    on, done, rules = run([frame], [[1, 9, 1, 0, 9, 0]])
    lengths = positions(on, done.log.records, 0)[1].tolist()
    assert lengths == [1, 2]
    row = [*opens, opens[-1]]
    free = 5 - 3
    expected = []
    for order in itertools.permutations(lengths):
        for places in itertools.combinations(range(free + 2), 2):
            line = ["free"] * (free + 2)
            for place, length in zip(places, order, strict=True):
                line[place] = length
            at, grown = 1, 1.0
            for part in line:
                if part == "free":
                    at += 1
                else:
                    grown *= row[at + part] / row[at]
                    at += part
            expected.append((grown - 1) * 100)
    got = random_entry(on, done, rules, seed=1, simulations=20_000)
    assert got.random_return_pct.mean == pytest.approx(np.mean(expected), abs=0.4)
    assert got.random_return_pct.lowest == pytest.approx(min(expected))
    assert got.random_return_pct.highest == pytest.approx(max(expected))
    as_good = sum(value >= got.replayed_return_pct - 1e-9 for value in expected)
    assert got.p_value == pytest.approx(as_good / len(expected), abs=0.015)


def test_costs_sides_and_funding_are_paid_as_the_engine_does(frame_of):
    # All rows but the first are held: only one arrangement, which is the run itself.
    frame = frame_of(zigzag(30))
    for side in (1, -1):
        on, done, rules = run(
            [frame],
            [[side] + [0] * 29],
            fee_rate=0.01,
            slippage_bps=20,
            half_spread=0.5,
            funding=[np.linspace(-0.001, 0.003, 30)],
        )
        assert len(done.log) == 1
        got = random_entry(on, done, rules, seed=3, simulations=5)
        assert got.random_return_pct.lowest == pytest.approx(got.random_return_pct.highest)
        assert got.random_return_pct.mean == pytest.approx(got.replayed_return_pct, rel=1e-9)
        assert got.replayed_return_pct == pytest.approx(
            (float(done.equity[-1]) / 1000 - 1) * 100, rel=1e-9
        )


def test_a_run_that_spends_everything_is_replayed_as_it_was(frame_of):
    wishes = [(1, 0, 0, 9, -1, 0, 9, 0)[i % 8] for i in range(200)]
    frame = frame_of([None if i % 29 == 7 else p for i, p in enumerate(zigzag(200))])
    present = [wish for i, wish in enumerate(wishes) if i % 29 != 7]
    on, done, rules = run([frame], [present], fee_rate=0.001, slippage_bps=2)
    got = random_entry(on, done, rules, seed=3)
    assert got.positions == len(done.log) > 40
    assert got.replayed_return_pct == pytest.approx(
        (float(done.equity[-1]) / 1000 - 1) * 100, rel=1e-9
    )


def test_a_run_that_spends_a_part_is_compared_as_if_it_spent_everything(frame_of):
    frame = frame_of([100, 100, 110, 110, 121, 121])
    wishes = [[1, 9, 1, 9, 0, 0]]
    half = random_entry(*run([frame], wishes, risk=RiskRules(sizing=Sizing(value=0.5))), seed=1)
    assert half.replayed_return_pct == pytest.approx(21)
    assert half == random_entry(*run([frame], wishes), seed=1)


def test_who_knows_the_future_beats_chance_and_who_errs_loses_to_it(frame_of):
    prices = zigzag(400)
    up = [prices[i + 2] > prices[i + 1] if i + 2 < 400 else False for i in range(400)]
    clever = random_entry(*run([frame_of(prices)], [[1 if u else 9 for u in up]]), seed=1)
    assert clever.p_value == pytest.approx(1 / 501)
    assert clever.percentile == 100
    wrong = random_entry(*run([frame_of(prices)], [[9 if u else 1 for u in up]]), seed=1)
    assert wrong.p_value > 0.99
    assert wrong.percentile == 0


def test_symbols_share_the_capital(frame_of):
    frames = [frame_of([100, 100, 200, 200]), frame_of([100, 100, 100, 50])]
    on, done, rules = run(
        frames, [[1, 0, 0, 0], [1, 0, 0, 0]], risk=RiskRules(sizing=Sizing(value=0.5))
    )
    got = random_entry(on, done, rules, seed=1)
    # doubled and halved
    assert got.positions == 2
    assert got.replayed_return_pct == pytest.approx(25)
    assert got.random_return_pct.mean == pytest.approx(25)
    idle = random_entry(*run(frames, [[1, 0, 0, 0], [0] * 4]), seed=1)
    assert idle.replayed_return_pct == pytest.approx(50)


def test_lots_and_parts_of_one_position_are_one_position(frame_of):
    frame = frame_of([100] * 4 + [None] + [120] * 6)
    wishes = np.array([1, 1, 0, 0, 9, 0, 9, 0, 0, 0])
    on = stage([frame])
    signals = Signals(
        enter_long=wishes == 1,
        exit_long=wishes == 9,
        reduce=np.where(np.arange(10) == 4, 0.25, np.nan),
    )
    done = simulate(
        on, [signals], Settings(risk=RiskRules(max_entries=2, sizing=Sizing(value=0.25)))
    )
    assert len(done.log) == 2 + 1  # half of the first lot, then the rest of both
    sides, lengths, returns = positions(on, done.log.records, 0)
    # held from row 1 to the open of row 8, the absent row 4 not counted
    assert (sides.tolist(), lengths.tolist()) == ([1], [6])
    assert returns.tolist() == pytest.approx([0.2])


def test_a_later_lot_that_ends_earlier_does_not_end_the_position(frame_of):
    # lots at 100 (to the end), 90 (beyond its target at the open of row 3) and 95
    on, done, _ = run(
        [frame_of([100, 100, 90, 95, 95, 95, 95])],
        [[1, 1, 0, 0, 1, 0, 0]],
        risk=RiskRules(max_entries=2, take_profit_pct=5, sizing=Sizing(value=0.2)),
    )
    assert [trade.bars_held for trade in done.trades] == [1, 6, 2]
    sides, lengths, _ = positions(on, done.log.records, 0)
    assert (sides.tolist(), lengths.tolist()) == ([1], [6])


def test_turning_around_at_one_open_is_two_positions(frame_of):
    on, done, _ = run([frame_of([100, 100, 110, 110, 99])], [[1, -1, 0, 9, 0]])
    sides, lengths, returns = positions(on, done.log.records, 0)
    assert (sides.tolist(), lengths.tolist()) == ([1, -1], [1, 2])
    assert returns.tolist() == pytest.approx([0.1, 0.1])


def test_stopped_out_and_in_again_at_one_open_is_two_positions(frame_of):
    # A second lot waits when the gap in row 2 stops the first one out.
    on, done, _ = run(
        [frame_of([100, 100, 80, 80, 80])],
        [[1, 1, 0, 9, 0]],
        risk=RiskRules(max_entries=2, stop_loss_pct=5, sizing=Sizing(value=0.4)),
    )
    assert [trade.exit_reason for trade in done.trades] == ["stop_loss", "signal"]
    sides, lengths, returns = positions(on, done.log.records, 0)
    assert (sides.tolist(), lengths.tolist()) == ([1, 1], [1, 2])
    assert returns.tolist() == pytest.approx([-0.2, 0.0])


def test_a_position_left_at_the_open_that_entered_takes_no_time(frame_of):
    # The target lies below the open: entered and left at once, every time.
    frame = frame_of([100.0] * 4)
    target = np.full(4, 90.0)
    signals = Signals(enter_long=np.array([True, True, True, False]), take_profit=target)
    rules = Settings(fee_rate=0.01)
    done = simulate(stage([frame]), [signals], rules)
    assert len(done.log) == 3
    assert positions(stage([frame]), done.log.records, 0)[1].tolist() == [0, 0, 0]
    got = random_entry(stage([frame]), done, rules, seed=1)
    # in and out three times
    assert got.random_return_pct.mean == pytest.approx(((0.99 / 1.01) ** 3 - 1) * 100)
    assert got.replayed_return_pct == pytest.approx(got.random_return_pct.mean)


def test_ruin_is_the_end_of_a_random_strategy(frame_of):
    frame = frame_of([100, 100, 250, 250, 100])
    on, done, rules = run([frame], [[-1, 0, 0, 0, 0]])
    got = random_entry(on, done, rules, seed=1, simulations=50)
    assert got.replayed_return_pct == -100
    assert got.random_return_pct.lowest == -100


def test_without_trades_there_is_a_reason_and_no_figure(frame_of):
    got = random_entry(*run([frame_of([100] * 5)], [[0] * 5]), seed=1)
    assert got.reason == "there are no trades"
    assert (got.p_value, got.percentile, got.random_return_pct, got.histogram) == (None,) * 4


@pytest.mark.parametrize(("field", "value"), [("simulations", 0), ("seed", -1)])
def test_bad_choices_are_refused(frame_of, field, value):
    with pytest.raises(InvalidRequest) as caught:
        random_entry(*run([frame_of([100] * 5)], [[1] + [0] * 4]), **{"seed": 1, field: value})
    assert caught.value.field == field


def test_equal_seeds_give_equal_figures_and_others_do_not(frame_of):
    done = run([frame_of(zigzag(200))], [[1 if i % 9 == 0 else 9 for i in range(200)]])
    one, two, other = (random_entry(*done, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one.random_return_pct != other.random_return_pct
    json.dumps(one.as_dict(), allow_nan=False)
    assert one.random_return_pct == KNOWN


KNOWN = Distribution(
    count=500,
    mean=9.34179177346998,
    lowest=-64.3187031189733,
    p5=-40.73388619032645,
    p25=-20.745410269199844,
    median=1.7912966730701751,
    p75=27.173255423596252,
    p95=86.20494481395653,
    highest=216.831044568418,
)


@settings(database=None, deadline=None, derandomize=True, max_examples=80)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(50, 200)), st.sampled_from([-1, 0, 1, 9])),
        min_size=1,
        max_size=50,
    ).filter(lambda steps: any(price for price, _ in steps)),
    st.integers(0, 2**64 - 1),
)
def test_positions_never_overlap_and_always_fit(frame_of, steps, seed):
    frame = frame_of([None if price is None else float(price) for price, _ in steps])
    wishes = [wish for price, wish in steps if price is not None]
    on, done, rules = run(
        [frame],
        [wishes],
        fee_rate=0.001,
        risk=RiskRules(stop_loss_pct=20, max_entries=2, sizing=Sizing(value=0.5)),
    )
    sides, lengths, returns = positions(on, done.log.records, 0)
    assert lengths.min(initial=0) >= 0
    assert lengths.sum() <= max(int(frame.present.sum()) - 1, 0)
    assert len(sides) == len(lengths) == len(returns) <= len(done.log)
    got = random_entry(on, done, rules, seed=seed, simulations=20)
    assert (got.reason is None) == (len(done.log) > 0)
    if got.reason is None:
        assert 1 / 21 <= got.p_value <= 1
        assert 0 <= got.percentile <= 100
        assert got.random_return_pct.lowest >= -100
        assert dataclasses.asdict(got.histogram)["edges"]
