"""The simulated venue: every candle depends on its key alone, and coarse sums fine."""

from __future__ import annotations

import time
from decimal import Decimal

import numpy as np
import pytest

from candlevault import timeframe
from candlevault.simulator import build_exchange
from candlevault.simulator.clock import instant_ms
from candlevault.simulator.symbols import CORE
from candlevault.simulator.walk import Walk, outages

MINUTE = 60_000
NOW = instant_ms("2025-10-01T00:01Z", "now")


def rows(walk: Walk, symbol: str, code: str, first: int, last: int) -> list[list]:
    """Rows with first <= open_time <= last."""
    found = []
    for block in walk.series("spot", symbol, code).blocks(first, last, False):
        found += block.rows(*block.span(first, last))
    return found


def merged(fine: list[list], code: str) -> list[list]:
    """`fine` rows aggregated to `code` by the rules of the market, in decimals."""
    grid = timeframe.parse(code)
    groups: dict[int, list[list]] = {}
    for row in fine:
        groups.setdefault(grid.floor(row[0]), []).append(row)

    def total(group, column):
        return f"{sum(Decimal(row[column]) for row in group):.8f}"

    return [
        [
            opened,
            group[0][1],
            max((row[2] for row in group), key=Decimal),
            min((row[3] for row in group), key=Decimal),
            group[-1][4],
            total(group, 5),
            group[-1][6],
            total(group, 7),
            sum(row[8] for row in group),
            total(group, 9),
            total(group, 10),
            "0",
        ]
        for opened, group in groups.items()
    ]


def test_coarse_candles_equal_the_sum_of_the_finer_ones_exactly():
    walk = Walk(3)
    cut = outages(3)[25]  # inside 2025, cutting candles short
    monday = timeframe.parse("1w").floor(cut.start_ms)
    end = monday + 2 * 7 * 1440 * MINUTE - 1
    minutes = rows(walk, "ETHUSDT", "1m", monday, end)
    assert len(minutes) == 2 * 10_080 - (cut.end_ms - cut.start_ms) // MINUTE
    for code in ("5m", "15m", "30m", "1h", "4h", "1d", "1w"):
        assert rows(walk, "ETHUSDT", code, monday, end) == merged(minutes, code), code


def test_a_zero_volume_row_never_decides_a_coarse_price():
    walk = Walk(3)
    first, last = instant_ms("2024-01-01", "t"), instant_ms("2024-12-30", "t") - 1
    quarter = rows(walk, "ADAUSDT", "15m", first, last)
    hours = rows(walk, "ADAUSDT", "1h", first, last)
    traded = [row for row in quarter if Decimal(row[5])]
    assert len(traded) < len(quarter)
    alive = [row for row in hours if Decimal(row[5])]
    assert [r[:5] for r in merged(traded, "1h")] == [r[:5] for r in alive]


def test_a_candle_does_not_depend_on_what_was_asked_before():
    first, last = instant_ms("2023-05-01", "t"), instant_ms("2023-05-09", "t")
    fresh = rows(Walk(7), "BTCUSDT", "1h", first, last)
    used = Walk(7)
    for code in ("1d", "1m", "1h"):
        rows(used, "BTCUSDT", code, first - 10**9, first + 10**9)
    rows(used, "SOLUSDT", "1h", first, last)
    assert rows(used, "BTCUSDT", "1h", first, last) == fresh
    assert rows(Walk(7, cache_bytes=1), "BTCUSDT", "1h", first, last) == fresh


def test_seed_and_symbol_change_the_walk():
    first, last = instant_ms("2023-05-01", "t"), instant_ms("2023-05-09", "t")
    base = rows(Walk(7), "BTCUSDT", "1h", first, last)
    assert rows(Walk(8), "BTCUSDT", "1h", first, last) != base
    assert rows(Walk(7), "LTCUSDT", "1h", first, last) != base


def test_rows_keep_the_rules_of_candles():
    walk = Walk(11)
    for symbol in ("BTCUSDT", "DOGEUSDT", "MKRUSDT"):
        first = instant_ms("2022-01-01", "t")
        for row in rows(walk, symbol, "1h", first, first + 4000 * 60 * MINUTE):
            o, h, low, c, v = map(Decimal, row[1:6])
            assert 0 < low <= min(o, c) <= max(o, c) <= h
            assert all(len(text.partition(".")[2]) == 8 for text in row[1:6])
            assert 0 <= Decimal(row[9]) <= v
            assert 0 <= Decimal(row[10]) <= Decimal(row[7])
            if v == 0:
                assert o == h == low == c
                assert (row[7], row[8]) == ("0.00000000", 0)
            else:
                assert row[8] > 0


def test_outages_are_holes_of_every_symbol_and_halts_leave_zero_volume_before_them():
    walk = Walk(7)
    halted = next(o for o in outages(7) if o.halted_minutes and o.start_ms > NOW - 2 * 10**10)
    for symbol in ("BTCUSDT", "XRPUSDT"):
        around = rows(walk, symbol, "1m", halted.start_ms - 7_800_000, halted.end_ms)
        opened = [row[0] for row in around]
        assert not [t for t in opened if halted.start_ms <= t < halted.end_ms]
        assert halted.end_ms in opened
        before = [r for r in around if r[0] < halted.start_ms][-halted.halted_minutes :]
        assert {r[5] for r in before} == {"0.00000000"}
        assert before[-1][6] == halted.last_event_ms < before[-1][0] + MINUTE - 1
    assert all(o.start_ms < o.end_ms for o in outages(7))


def test_whole_hours_are_missing_at_1h_and_quiet_hours_have_no_volume():
    opened, quiet = [], 0
    for block in Walk(7).series("spot", "BTCUSDT", "1h").blocks(0, NOW, False):
        opened += block.open_times[: block.span(0, NOW)[1]].tolist()
        quiet += sum(row[5] == "0.00000000" for row in block.rows(*block.span(0, NOW)))
    steps = np.diff(opened)
    assert (steps >= 3_600_000).all()
    assert 20 <= int((steps > 3_600_000).sum()) <= 27
    assert 5 <= quiet <= 60


def test_listing_is_the_real_minute_and_the_first_coarse_candle_is_partial():
    walk = Walk(7)
    listed = CORE["RUNEUSDT"].listed_ms
    assert listed == instant_ms("2020-09-04T06:50Z", "t")
    assert walk.series("spot", "RUNEUSDT", "1m").first_ms == listed
    first = rows(walk, "RUNEUSDT", "1h", 0, listed)[0]
    minutes = rows(walk, "RUNEUSDT", "1m", 0, listed + 10 * MINUTE - 1)
    assert first == merged(minutes, "1h")[0]
    assert len(minutes) == 10


def test_thirty_core_symbols_trade_and_unknown_ones_do_not_exist(serve):
    venue = serve(build_exchange("simulated", end="2025-10-01"))
    info = venue.get("/api/v3/exchangeInfo", symbolStatus="TRADING").json()
    assert len(info["symbols"]) == 30
    answer = venue.get("/api/v3/klines", symbol="NOPEUSDT", interval="1h")
    assert answer.json()["code"] == -1121


def test_symbols_replace_the_core_list_and_new_names_are_made_up(serve):
    venue = serve(build_exchange("simulated", end="2025-10-01", symbols=("FOOUSDT",)))
    assert len(venue.klines("FOOUSDT", limit=5)) == 5
    assert venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1h").status_code == 400


def test_paging_and_the_newest_page_meet_across_blocks(serve):
    venue = serve(build_exchange("simulated", end="2025-10-01"))
    newest = venue.klines(interval="15m", limit=1000)
    again = venue.klines(interval="15m", start=newest[0][0], limit=1000)
    assert newest == again
    assert newest[-1][0] == instant_ms("2025-10-01", "t")


def test_the_forming_candle_of_the_walk_is_not_what_it_becomes(serve):
    venue = serve(build_exchange("simulated", now="2025-06-04T10:30Z"))
    forming = venue.klines(limit=1)[0]
    venue.control("POST", "clock", {"now": "2025-06-04T11:00Z"})
    final = venue.klines(end=forming[0], limit=1)[0]
    assert forming[:2] == final[:2]
    assert forming[5] != final[5]
    # Prices stay on the tick.
    assert forming[4].endswith("000000")


def test_the_walk_runs_with_the_real_time_unless_told_otherwise():
    clock = build_exchange("simulated").clock
    assert clock.running
    assert abs(clock.now_ms() - time.time() * 1000) < 5000


def test_the_archive_of_the_walk_agrees_with_its_rest_answers(serve):
    venue = serve(build_exchange("simulated", end="2025-10-01"))
    key = "data/spot/monthly/klines/SOLUSDT/1d/SOLUSDT-1d-2025-08.zip"
    assert venue.archive(key).status_code == 200
    later = key.replace("2025-08", "2025-09")
    assert venue.archive(later).status_code == 404


def test_six_years_of_hours_of_two_symbols_come_in_seconds():
    walk = Walk(5)
    started = time.perf_counter()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        count = sum(
            len(block)
            for block in walk.series("spot", symbol, "1h").blocks(1_577_836_800_000, NOW, False)
        )
        assert count > 50_000
    assert time.perf_counter() - started < 15


@pytest.mark.parametrize("market", ["spot", "um"])
def test_futures_walk_through_the_spot_outages(market):
    walk = Walk(7)
    cut = outages(7)[24]
    found = 0
    for block in walk.series(market, "BTCUSDT", "1m").blocks(cut.start_ms, cut.end_ms - 1, False):
        i, j = block.span(cut.start_ms, cut.end_ms - 1)
        found += j - i
    expected = (cut.end_ms - cut.start_ms) // MINUTE if market == "um" else 0
    assert found == expected
