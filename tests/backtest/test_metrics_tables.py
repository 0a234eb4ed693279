"""Months, years, and how values spread."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.metrics.distributions import distribution, histogram
from candlevault.backtest.metrics.months import months, years
from tests.support.trading import traded

DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01


def of(table, done):
    """A table of a run with a capital of 1000."""
    records = done.log.records
    exits = done.log.open_time[records["exit_row"]]
    return table(done.log.open_time, done.equity, 1000.0, exits, records["pnl"])


def test_months_start_from_the_month_before(frame_of):
    # daily from 2024-01-01: bought at 100 on the 2nd; January ends at 120, February (29 days)
    # falls to 60 and is sold at 90 in its last bar but one, March does nothing
    rows = [100] * 25 + [120] * 6 + [60] * 20 + [90] * 9 + [90] * 10
    frame = frame_of(rows, timeframe="1d")
    wishes = [0] * 70
    wishes[0], wishes[57] = 1, -1
    done = traded(frame, wishes, initial_capital=1000.0)
    january, february, march = of(months, done)
    assert january.start_time == START
    assert (january.return_pct, january.max_drawdown_pct) == (pytest.approx(20), 0)
    assert (january.trades, january.pnl) == (0, 0)
    assert february.start_time == START + 31 * DAY
    assert february.return_pct == pytest.approx(-25)
    assert february.max_drawdown_pct == pytest.approx(50)  # from the 1200 it started with
    assert (february.trades, february.pnl) == (1, pytest.approx(-100))
    assert (march.return_pct, march.max_drawdown_pct, march.trades) == (0, 0, 0)
    (year,) = of(years, done)
    assert (year.start_time, year.trades) == (START, 1)
    assert year.return_pct == pytest.approx(-10)
    assert year.max_drawdown_pct == pytest.approx(50)
    json.dumps([asdict(january), asdict(year)])


def test_a_trade_belongs_to_the_month_in_which_its_last_bar_opens(frame_of):
    wishes = [0] * 40
    wishes[0], wishes[30] = 1, -1  # left at the open of 2024-02-01
    done = traded(frame_of([100] * 40, timeframe="1d"), wishes, initial_capital=1000.0)
    assert [month.trades for month in of(months, done)] == [0, 1]


def test_a_week_belongs_to_the_month_it_opens_in(frame_of):
    frame = frame_of([100] * 6, timeframe="1w")
    done = traded(frame, [0] * 6, initial_capital=1000.0)
    assert [m.start_time for m in of(months, done)] == [START, START + 31 * DAY]


def test_nothing_is_returned_after_ruin(frame_of):
    frame = frame_of([100] * 100, timeframe="1d")
    done = traded(frame, [0] * 100, initial_capital=1000.0)
    equity = np.full(100, 1000.0)
    equity[40:70], equity[70:95], equity[95:] = -100.0, 500.0, 900.0
    ruined = dataclasses.replace(done, equity=equity)
    got = of(months, ruined)
    assert [m.return_pct for m in got] == pytest.approx([0, -110, 0, 0])
    assert [m.max_drawdown_pct for m in got] == pytest.approx([0, 110, 0, 0])


@settings(database=None, deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(50, 200), st.sampled_from([-1, 0, 1])), min_size=1, max_size=120)
)
def test_months_compound_to_the_whole_run(frame_of, steps):
    frame = frame_of([float(price) for price, _ in steps], timeframe="1d")
    done = traded(frame, [wish for _, wish in steps], initial_capital=1000.0, fee_rate=0.001)
    for table in (months, years):
        found = of(table, done)
        grown = 1000.0
        for stretch in found:
            grown *= 1 + stretch.return_pct / 100
        assert grown == pytest.approx(float(done.equity[-1]), rel=1e-9)
        assert sum(stretch.trades for stretch in found) == len(done.log)
        assert sum(stretch.pnl for stretch in found) == pytest.approx(
            float(done.equity[-1]) - 1000, abs=1e-6
        )


def test_percentiles_lie_between_their_neighbours():
    got = distribution([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (got.count, got.mean, got.lowest, got.highest) == (5, 3.0, 1.0, 5.0)
    assert (got.p25, got.median, got.p75) == (2.0, 3.0, 4.0)
    assert got.p5 == pytest.approx(1.2)
    assert got.p95 == pytest.approx(4.8)
    assert distribution([7.0]).p95 == 7.0
    assert distribution([]) is None


def test_bins_are_round_and_nothing_is_lost():
    got = histogram([-3.0, -0.5, 0.0, 0.1, 0.4, 2.0, 4.0])
    assert 0.0 in got.edges
    assert got.edges[1] - got.edges[0] == pytest.approx(0.2)
    # the lower end belongs to the bin: 0.0 is in [0, 0.2), 0.4 in [0.4, 0.6)
    counts = dict(zip(got.edges, got.counts, strict=False))
    assert (counts[-0.6], counts[-0.2], counts[0.0], counts[0.4]) == (1, 0, 2, 1)
    assert sum(got.counts) + got.below + got.above == 7
    assert histogram([]) is None


@pytest.mark.parametrize("value", [0.0, 5.0, -3.3, 1e-300, 1e9])
def test_equal_values_fill_one_bin(value):
    got = histogram([value] * 5)
    assert (max(got.counts), sum(got.counts), got.below, got.above) == (5, 5, 0, 0)


@settings(database=None, deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_every_value_is_counted_once_between_rising_edges(values):
    got = histogram(values)
    assert sum(got.counts) + got.below + got.above == len(values)
    assert list(got.edges) == sorted(set(got.edges))
    assert len(got.edges) == len(got.counts) + 1 <= 39
    for low, high, count in zip(got.edges, got.edges[1:], got.counts, strict=False):
        assert count == sum(low <= value < high for value in values)
    spread = distribution(values)
    order = [
        spread.lowest,
        spread.p5,
        spread.p25,
        spread.median,
        spread.p75,
        spread.p95,
        spread.highest,
    ]
    assert order == sorted(order)
