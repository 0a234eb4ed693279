"""What is flagged in years of real candles: the crashes, and little else."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from candlevault import candles
from candlevault.quality.flags import Flag, frozen_prices, spikes, zero_volume_runs
from candlevault.timeframe import from_ms
from candlevault.windows import Window
from tests.quality import real_candles as real
from tests.support.candles import ms


def flags(shared_data, market: str, symbol: str, name: str) -> list[Flag]:
    """Every flag of a file, its holes being known absences."""
    path = shared_data / "klines" / market / symbol / f"{name}.csv.gz"
    [of] = [one for one in real.real_series(shared_data) if path in one.files]
    timeframe = of.series.timeframe
    table = real.read(path, timeframe)
    times = candles.open_times(table)
    history = Window(int(times[0]), int(times[-1]) + timeframe.step_ms)
    holes = [absence.window for absence in real.absences(table, timeframe)]
    return [
        *spikes(table, timeframe),
        *frozen_prices(table, timeframe),
        *zero_volume_runs(table, timeframe, history, holes),
    ]


def hours(found: list[Flag], kind: str) -> list[str]:
    return [f"{flag.window.start:%Y-%m-%dT%H:%M}" for flag in found if flag.kind == kind]


def test_six_years_of_bitcoin_have_a_few_dozen_spikes_and_the_crash_of_march_2020(shared_data):
    found = flags(shared_data, "spot", "BTCUSDT", "1h")
    told = hours(found, "spike")
    assert len(told) == 31
    assert {"2020-03-12T10:00", "2020-03-12T23:00", "2020-03-13T02:00"} <= set(told)
    crash = next(f for f in found if f.window.start == datetime(2020, 3, 12, 10, tzinfo=UTC))
    assert crash.detail["excursion_pct"] == pytest.approx(-24.5, abs=0.1)
    assert hours(found, "frozen_price") == []
    assert hours(found, "zero_volume_run") == ["2021-02-11T03:00", "2023-03-24T12:00"]
    halts = [flag.detail for flag in found if flag.kind == "zero_volume_run"]
    assert all(detail["part_of_halt"] for detail in halts)


def test_collapse_of_luna_and_the_first_hour_of_its_successor_are_spikes(shared_data):
    told = set(hours(flags(shared_data, "spot", "LUNAUSDT", "1h"), "spike"))
    assert {"2022-05-11T13:00", "2022-05-12T21:00", "2022-05-13T00:00"} <= told
    assert "2022-05-31T06:00" in told


def test_listing_of_arb_at_half_a_dollar_and_more_is_a_spike(shared_data):
    assert "2023-03-23T15:00" in hours(flags(shared_data, "spot", "ARBUSDT", "1h"), "spike")


def test_minutes_before_the_halt_of_march_2023_are_one_run_that_touches_it(shared_data):
    found = flags(shared_data, "spot", "BTCUSDT", "1m_2023-03-16_2023-05-01")
    [run] = [flag for flag in found if flag.kind == "zero_volume_run"]
    assert (run.window.start_ms, run.candles) == (ms("2023-03-24T11:28"), 72)
    assert run.detail == {"part_of_halt": True, "before": None, "after": "known_absence"}
    assert from_ms(run.window.end_ms) == datetime(2023, 3, 24, 12, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbol", "name", "spike", "frozen", "silent"),
    [
        ("ETHUSDT", "1h", 34, 0, 2),
        ("XRPUSDT", "1h", 60, 0, 2),
        ("DOGEUSDT", "1h", 45, 0, 2),
        ("BTCUSDT", "1d", 1, 0, 0),
        ("BTCUSDT", "4h", 9, 0, 0),
        ("BTCUSDT", "1m_2025-06-01_2025-07-01", 0, 0, 0),
        ("XTZUSDT", "5m_2020-01-01_2020-06-20", 35, 0, 3),
        ("SOLUSDT", "15m", 14, 0, 1),
    ],
)
def test_flags_stay_few_enough_to_be_looked_at(shared_data, symbol, name, spike, frozen, silent):
    found = flags(shared_data, "spot", symbol, name)
    kinds = [flag.kind for flag in found]
    counted = [kinds.count(kind) for kind in ("spike", "frozen_price", "zero_volume_run")]
    assert counted == [spike, frozen, silent]


def test_spikes_do_not_depend_on_where_real_candles_are_cut(shared_data):
    path = shared_data / "klines" / "spot" / "BTCUSDT" / "1h.csv.gz"
    [of] = [one for one in real.real_series(shared_data) if path in one.files]
    table = real.read(path, of.series.timeframe)
    whole = spikes(table, of.series.timeframe)
    margin = 101 * of.series.timeframe.step_ms
    times = candles.open_times(table)
    for start, end in np.random.default_rng(1).integers(200, len(times) - 200, (25, 2)):
        window = Window(int(min(times[start], times[end])), int(max(times[start], times[end])) + 1)
        near = candles.within(table, window.start_ms - margin, window.end_ms + margin)
        found = [f for f in spikes(near, of.series.timeframe) if window.contains(f.window.start_ms)]
        assert found == [flag for flag in whole if window.contains(flag.window.start_ms)]
