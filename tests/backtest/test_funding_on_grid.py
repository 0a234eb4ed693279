"""Funding events on the rows of a grid: which open settles which event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import timeframe
from candlevault.backtest.data.funding import needed, on_grid
from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.errors import InvalidRequest
from candlevault.funding import FundingEvents
from candlevault.windows import Window
from tests.support.trading import long_only

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01T00:00:00Z
QUIET = settings(database=None, deadline=None, derandomize=True, max_examples=200)


def events(*pairs: tuple[int, float]) -> FundingEvents:
    times, rates = [time for time, _ in pairs], [rate for _, rate in pairs]
    return FundingEvents(np.array(times, dtype=np.int64), np.array(rates, dtype=np.float64))


def rows(count: int, step: int = HOUR) -> np.ndarray:
    return START + np.arange(count, dtype=np.int64) * step


def settled(count: int, *pairs: tuple[int, float], step: int = HOUR, absent=()) -> list[float]:
    present = np.array([row not in absent for row in range(count)])
    return on_grid(rows(count, step), step, present, events(*pairs)).tolist()


def test_an_event_is_settled_at_the_open_of_its_hour_and_nowhere_else():
    assert settled(10, (START + 8 * HOUR, 0.0001)) == [0.0] * 8 + [0.0001, 0.0]


@pytest.mark.parametrize(
    ("late_ms", "row"), [(0, 2), (1, 2), (11, 2), (59_999, 2), (60_000, 3), (HOUR - 1, 3)]
)
def test_a_venue_that_is_late_by_less_than_a_minute_means_the_full_hour(late_ms, row):
    expected = [0.0] * 5
    expected[row] = 0.25
    assert settled(5, (START + 2 * HOUR + late_ms, 0.25)) == expected


def test_an_event_inside_a_bar_waits_for_the_next_open():
    assert settled(3, (START + HOUR + 30 * 60_000, 0.25)) == [0.0, 0.0, 0.25]


def test_days_pay_the_sum_of_their_events():
    """Midnight's own event, and the two inside the day before."""
    pairs = [(START + n * 8 * HOUR + 7, rate) for n, rate in enumerate([1, 2, 4, 8, 16, 32, 64])]
    assert settled(3, *pairs, step=DAY) == [1.0, 2.0 + 4.0 + 8.0, 16.0 + 32.0 + 64.0]


def test_rates_are_added_in_the_order_of_their_times():
    pairs = [(START + n * 8 * HOUR, rate) for n, rate in ((1, 0.1), (2, 0.2), (3, 0.3))]
    assert settled(2, *pairs, step=DAY) == [0.0, (0.1 + 0.2) + 0.3]
    assert (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)


def test_where_the_venue_was_closed_events_wait_for_the_next_present_open():
    pairs = [(START + 2 * HOUR, 1.0), (START + 3 * HOUR, 2.0), (START + 5 * HOUR, 4.0)]
    assert settled(7, *pairs, absent={2, 3, 4}) == [0, 0, 0, 0, 0, 1.0 + 2.0 + 4.0, 0]


def test_after_the_last_present_row_nothing_is_held_and_nothing_paid():
    pairs = [(START + 2 * HOUR, 1.0), (START + 3 * HOUR, 2.0), (START + 9 * HOUR, 4.0)]
    assert settled(5, *pairs, absent={3, 4}) == [0, 0, 1.0, 0, 0]


def test_events_of_a_row_before_the_grid_are_dropped():
    pairs = [(START - 2 * HOUR, 1.0), (START - HOUR + 59_999, 2.0), (START - HOUR + 60_000, 4.0)]
    assert settled(2, *pairs, (START, 8.0)) == [4.0 + 8.0, 0.0]


def test_without_events_every_rate_is_zero():
    found = on_grid(rows(3), HOUR, np.ones(3, dtype=bool), events())
    assert found.tolist() == [0.0, 0.0, 0.0]
    assert found.dtype == np.float64


def test_without_a_present_row_nothing_is_settled():
    assert settled(3, (START + HOUR, 1.0), absent={0, 1, 2}) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("open_times", {"open_times": rows(0)}),
        ("open_times", {"open_times": np.delete(rows(4), 1)}),
        ("present", {"present": np.ones(4, dtype=bool)}),
        ("events", {"events": FundingEvents(np.array([START]), np.array([0.1, 0.2]))}),
        ("events.times", {"events": events((START, 0.1), (START, 0.1))}),
        ("events.times", {"events": events((START + 1, 0.1), (START, 0.1))}),
        ("events.rates", {"events": events((START, float("nan")))}),
        ("events.rates", {"events": events((START, float("-inf")))}),
    ],
)
def test_what_cannot_be_settled_is_refused_by_name(field, change):
    given = {"open_times": rows(3), "present": np.ones(3, dtype=bool), "events": events()}
    given |= change
    with pytest.raises(InvalidRequest) as refused:
        on_grid(given["open_times"], HOUR, given["present"], given["events"])
    assert refused.value.field == field


# -- the window that a backtest needs -----------------------------------------------------------


def test_the_needed_window_ends_with_the_minute_of_the_last_open():
    day = timeframe.parse("1d")
    asked = Window(START + 5 * HOUR, START + 3 * DAY)
    assert needed(asked, day) == Window(START + DAY, START + 2 * DAY + 60_000)
    minute = timeframe.parse("1m")
    assert needed(Window(START, START + HOUR), minute) == Window(START, START + HOUR)
    assert needed(Window(START + 1, START + HOUR), day) is None


@st.composite
def grids(draw):
    """A grid with holes, and events of exact rates around it, on odd minutes too."""
    count = draw(st.integers(1, 12))
    absent = draw(st.sets(st.integers(0, count - 1)))
    moments = draw(st.sets(st.integers(-120, 60 * (count + 2)), max_size=20))
    late = draw(st.integers(0, 59_999))
    rate = st.integers(-64, 64).map(lambda n: n / 64)
    return count, absent, [(START + m * 60_000 + late, draw(rate)) for m in sorted(moments)]


@QUIET
@given(grids())
def test_every_event_is_settled_once_at_the_first_present_open_that_is_not_before_it(case):
    count, absent, pairs = case
    expected = [0.0] * count
    for time, rate in pairs:
        minute = time - time % 60_000
        if minute > START - HOUR:
            for row in range(count):
                if row not in absent and START + row * HOUR >= minute:
                    expected[row] += rate
                    break
    assert settled(count, *pairs, absent=absent) == expected


@QUIET
@given(grids())
def test_events_outside_the_needed_window_change_no_row_that_can_pay(case):
    """Nothing is carried into the first row, so what it would pay is no matter."""
    count, absent, pairs = case
    window = needed(Window(START, START + count * HOUR), timeframe.parse("1h"))
    inside = [pair for pair in pairs if window.contains(pair[0])]
    first = min(set(range(count)) - absent, default=count)
    everything = settled(count, *pairs, absent=absent)
    assert settled(count, *inside, absent=absent)[first + 1 :] == everything[first + 1 :]


# -- through the engine ---------------------------------------------------------------------------


def test_only_lots_carried_into_the_settling_row_pay(frame_of):
    """Enters at row 1, leaves at row 4: pays at 2 and 4, neither at 1 nor at 5.

    Twelve units at 100: 12 * 100 * (0.01 + 0.03) = 48 paid.
    """
    frame = frame_of([100.0] * 6)
    pairs = [(START + row * HOUR + 3, 0.01 * n) for row, n in ((1, 5), (2, 1), (4, 3), (5, 7))]
    rates = on_grid(frame.open_time, HOUR, frame.present, events(*pairs))
    run = Settings(
        initial_capital=10_000.0,
        fee_rate=0.0,
        risk=RiskRules(sizing=Sizing("fixed_amount", 1_200.0)),
    )
    [trade] = simulate(
        stage([frame], funding=[rates]), [long_only([1, 0, 0, -1, 0, 0])], run
    ).trades
    assert trade.quantity == 12.0
    assert trade.funding == pytest.approx(48.0, abs=1e-12)
    assert trade.pnl == pytest.approx(-48.0, abs=1e-12)
