"""What is flagged as strange in a table of candles, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candlevault import candles
from candlevault.quality.flags import (
    CONTEXT,
    FROZEN_CANDLES,
    LEAST_CONTEXT,
    SPIKE_FACTOR,
    ZERO_VOLUME_CANDLES,
    frozen_prices,
    spikes,
    zero_volume_runs,
)
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
STEP = HOUR.step_ms
SPAN = window("2024-02-01", "2024-02-21")
CENTRE = 240


def even(count: int = 480, price: str = "100", reach: str = "0.2") -> list[make.Row]:
    """Candles that all go from the same price to `reach` percent above and back."""
    low, high = Decimal(price), Decimal(price) * (1 + Decimal(reach) / 100)
    flat = {"open": low, "low": low, "close": low, "high": high}
    return [make.row(HOUR, SPAN.start_ms + k * STEP, **flat) for k in range(count)]


def excursion(row: make.Row, pct: str) -> None:
    """Let a candle's high or low reach so many percent from where it began."""
    name = "low" if pct.startswith("-") else "high"
    row[name] = row["open"] * (1 + Decimal(pct) / 100)


def hours(found) -> list[int]:
    return [(flag.window.start_ms - SPAN.start_ms) // STEP for flag in found]


def spiked(rows: list[make.Row]) -> list[int]:
    return hours(spikes(make.table(rows), HOUR))


# -- spikes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("pct", "flagged"), [("2.5", True), ("-2.5", True), ("2.4", False)])
def test_candle_that_reaches_twelve_times_as_far_as_usual_is_a_spike(pct, flagged):
    rows = even()
    excursion(rows[CENTRE], pct)
    assert spiked(rows) == ([CENTRE] if flagged else [])


def test_spike_tells_how_far_it_reached_and_what_is_usual():
    rows = even()
    excursion(rows[CENTRE], "-30")
    [flag] = spikes(make.table(rows), HOUR)
    start = SPAN.start_ms + CENTRE * STEP
    assert (flag.kind, flag.window, flag.candles) == ("spike", Window(start, start + STEP), 1)
    assert flag.detail == {
        "excursion_pct": -30.0,
        "usual_pct": 0.2,
        "times_usual": pytest.approx(178.5, abs=0.1),
        "begin_price": 100.0,
    }


@pytest.mark.parametrize("price", ["0.00002", "100", "100000"])
def test_prices_of_any_size_give_the_same_spikes(price):
    rows = even(price=price, reach="5")
    for k, pct in ((100, "60"), (200, "90"), (300, "-70"), (301, "60")):
        excursion(rows[k], pct)
    assert spiked(rows) == [200, 300]


@pytest.mark.parametrize(("pct", "flagged"), [("1.1", True), ("0.9", False)])
def test_excursion_below_one_percent_is_no_spike_in_a_dead_calm(pct, flagged):
    rows = even(reach="0")
    excursion(rows[CENTRE], pct)
    assert spiked(rows) == ([CENTRE] if flagged else [])
    [*told] = spikes(make.table(rows), HOUR)
    assert all(flag.detail["times_usual"] is None for flag in told)


def test_jump_from_the_close_before_is_a_spike_even_if_the_candle_is_small():
    rows = even()
    for row in rows[CENTRE:]:
        row |= {name: row[name] * 2 for name in candles.PRICES}
    assert spiked(rows) == [CENTRE]


def test_after_a_hole_a_candle_begins_at_its_own_open():
    rows = even()
    for row in rows[CENTRE:]:
        row |= {name: row[name] * 2 for name in candles.PRICES}
    assert spiked([row for k, row in enumerate(rows) if k != CENTRE - 1]) == []


def test_first_candle_of_a_listing_can_be_a_spike():
    rows = even()
    excursion(rows[0], "2400")
    assert spiked(rows) == [0]


def test_what_is_usual_is_the_median_so_that_a_few_wild_candles_do_not_hide_another():
    rows = even()
    wild = range(CENTRE - 40, CENTRE + 41, 2)
    for k in wild:
        excursion(rows[k], "30")
    assert spiked(rows) == list(wild)


def test_what_is_usual_is_looked_for_on_both_sides_and_no_further_than_the_context():
    rows = even(reach="5")
    for row in rows[CENTRE - CONTEXT : CENTRE + CONTEXT + 1]:
        excursion(row, "0.2")
    excursion(rows[CENTRE], "2.5")
    assert spiked(rows) == [CENTRE]
    beyond = Decimal("0.2") * Decimal(SPIKE_FACTOR) + Decimal("0.1")
    rows = even(reach="5")
    for row in rows[CENTRE - CONTEXT // 2 + 1 : CENTRE + CONTEXT // 2]:
        excursion(row, "0.2")
    excursion(rows[CENTRE], str(beyond))
    assert spiked(rows) == []


@pytest.mark.parametrize(("traded", "flagged"), [(LEAST_CONTEXT, True), (LEAST_CONTEXT - 1, False)])
def test_too_few_traded_candles_make_nothing_usual(traded, flagged):
    rows = even(60)
    for k in range(traded, 60):
        rows[k] = make.quiet(rows[k], Decimal(100))
    excursion(rows[3], "50")
    assert spiked(rows) == ([3] if flagged else [])


def test_candles_without_trades_are_neither_spikes_nor_usual():
    rows = even(reach="1")
    for k in range(0, 480, 3):
        rows[k] = make.quiet(rows[k], Decimal(100))
    assert CENTRE % 3 == 0
    rows[CENTRE] |= dict.fromkeys(candles.PRICES, Decimal(500))
    # The quiet one passes a wrong price on: the next candle begins there.
    assert spiked(rows) == [CENTRE + 1]


@pytest.mark.parametrize("count", [0, 1, 2, LEAST_CONTEXT - 1])
def test_few_candles_are_not_judged(count):
    rows = even(count)
    if rows:
        excursion(rows[0], "900")
    assert spiked(rows) == []


# -- frozen prices ---------------------------------------------------------------------------


def flat(rows: list[make.Row], which: range, price: str = "100") -> None:
    for k in which:
        rows[k] |= dict.fromkeys(candles.PRICES, Decimal(price))


def frozen(rows: list[make.Row]) -> list[tuple[int, int]]:
    found = frozen_prices(make.table(rows), HOUR)
    return list(zip(hours(found), [flag.candles for flag in found], strict=True))


def test_traded_candles_of_one_single_price_are_frozen():
    rows = even(50)
    flat(rows, range(10, 10 + FROZEN_CANDLES))
    flat(rows, range(20, 19 + FROZEN_CANDLES))
    flat(rows, range(44, 50))
    assert frozen(rows) == [(10, FROZEN_CANDLES), (44, 6)]
    flag = frozen_prices(make.table(rows), HOUR)[0]
    assert flag.detail == {"price": "100.00000000"}
    assert flag.window.end_ms - flag.window.start_ms == FROZEN_CANDLES * STEP


def test_flat_candles_at_different_prices_are_not_frozen():
    rows = even(50)
    for k in range(10, 20):
        flat(rows, range(k, k + 1), str(100 + k % 2))
    assert frozen(rows) == []


def test_two_frozen_prices_in_a_row_are_two_runs():
    rows = even(50)
    flat(rows, range(10, 14))
    flat(rows, range(14, 18), "101")
    assert frozen(rows) == [(10, 4), (14, 4)]


@pytest.mark.parametrize("unit", ["0.00000001", "0.01"])
def test_smallest_move_is_not_frozen(unit):
    rows = even(50)
    flat(rows, range(10, 14))
    rows[12]["high"] += Decimal(unit)
    assert frozen(rows) == []


def test_candles_without_trades_and_holes_end_a_frozen_run():
    rows = even(50)
    flat(rows, range(10, 20))
    rows[13] = make.quiet(rows[13], Decimal(100))
    assert frozen(rows) == [(10, 3), (14, 6)]
    assert frozen([row for k, row in enumerate(rows) if k != 16]) == [(10, 3), (17, 3)]


# -- runs without a trade --------------------------------------------------------------------


def quiet(rows: list[make.Row], which: range) -> None:
    for k in which:
        rows[k] = make.quiet(rows[k], Decimal(100))


def part(first: int, count: int) -> Window:
    return Window(SPAN.start_ms + first * STEP, SPAN.start_ms + (first + count) * STEP)


def silent(rows: list[make.Row], absences=(), history: Window | None = None):
    found = zero_volume_runs(make.table(rows), HOUR, history or part(0, 50), absences)
    return [
        (hour, flag.candles, flag.detail) for hour, flag in zip(hours(found), found, strict=True)
    ]


ALONE = {"part_of_halt": False, "before": None, "after": None}


def test_long_run_without_a_trade_is_flagged_and_a_short_one_is_not():
    rows = even(50)
    quiet(rows, range(10, 10 + ZERO_VOLUME_CANDLES))
    quiet(rows, range(20, 19 + ZERO_VOLUME_CANDLES))
    assert silent(rows) == [(10, ZERO_VOLUME_CANDLES, ALONE)]


@pytest.mark.parametrize(
    ("hole", "before", "after"), [(range(11, 14), None, 1), (range(8, 10), 1, None)]
)
@pytest.mark.parametrize("what", ["known_absence", "lost"])
def test_single_quiet_candle_beside_a_hole_is_part_of_a_halt(hole, before, after, what):
    rows = even(50)
    quiet(rows, range(10, 11))
    left = [row for k, row in enumerate(rows) if k not in hole]
    absences = [part(hole[0], len(hole))] if what == "known_absence" else []
    told = {"before": before and what, "after": after and what}
    assert silent(left, absences) == [(10, 1, {"part_of_halt": True} | told)]


def test_start_and_end_of_the_history_are_no_holes():
    rows = even(50)
    quiet(rows, range(2))
    quiet(rows, range(47, 50))
    assert silent(rows) == [(47, 3, ALONE)]


def test_quiet_candle_after_the_listing_touches_a_known_absence():
    rows = even(50)
    quiet(rows, range(1))
    told = ALONE | {"part_of_halt": True, "before": "known_absence"}
    assert silent(rows, [part(-24, 24)]) == [(0, 1, told)]


def test_hole_inside_a_quiet_stretch_parts_it_into_two_halts():
    rows = even(50)
    quiet(rows, range(10, 16))
    left = [row for k, row in enumerate(rows) if k != 13]
    assert silent(left, [part(13, 1)]) == [
        (10, 3, ALONE | {"part_of_halt": True, "after": "known_absence"}),
        (14, 2, ALONE | {"part_of_halt": True, "before": "known_absence"}),
    ]


def test_nothing_is_flagged_in_an_empty_table():
    table = candles.empty()
    assert spikes(table, HOUR) == frozen_prices(table, HOUR) == []
    assert zero_volume_runs(table, HOUR, SPAN, []) == []


def test_candles_of_a_random_walk_are_not_strange():
    table = make.table(make.walk(HOUR, SPAN))
    assert spikes(table, HOUR) == frozen_prices(table, HOUR) == []
    assert zero_volume_runs(table, HOUR, SPAN, []) == []
    assert ms("2024-02-01") == SPAN.start_ms
