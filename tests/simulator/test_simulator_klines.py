"""GET /api/v3/klines: ranges, rows, the forming candle, the end of the data, refusals."""

from __future__ import annotations

import pytest

HOUR = 3_600_000
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z
WEIRD = f"{FIRST + 3 * HOUR},0.10,22.500,0.00000001,1.0,963091,,,,,"
SHORT_CLOSE = f"{FIRST + 4 * HOUR},1.5,2,1,1.25,3.5,{FIRST + 4 * HOUR + 2_132_286},5.25,17,1.5,2.25"


@pytest.fixture
def venue(files, serve):
    """1,200 hours from 2024-01-01, rows 10 and 11 never existed, clock at row 1,150:20."""
    lines = {3: WEIRD, 4: SHORT_CLOSE}
    files.write("spot/BTCUSDT/1h", "2024-01-01", 1200, without=(10, 11), lines=lines)
    return serve(files.exchange(now=FIRST + 1150 * HOUR + 20 * 60_000))


def at(*indexes: int) -> list[int]:
    return [FIRST + i * HOUR for i in indexes]


def test_neither_bound_answers_the_newest_500_ending_with_the_forming_candle(venue):
    assert venue.opened() == at(*range(651, 1151))


def test_only_a_start_answers_the_oldest_from_there(venue):
    assert venue.opened(start=FIRST + 1, limit=3) == at(1, 2, 3)
    assert venue.opened(start=0, limit=1) == at(0)


def test_only_an_end_answers_the_newest_up_to_and_including_it(venue):
    assert venue.opened(end=FIRST + 20 * HOUR, limit=3) == at(18, 19, 20)
    assert venue.opened(end=FIRST + 20 * HOUR - 1, limit=3) == at(17, 18, 19)


def test_both_bounds_are_inclusive_and_compare_with_the_open_time(venue):
    assert venue.opened(start=FIRST + 2 * HOUR, end=FIRST + 5 * HOUR) == at(2, 3, 4, 5)
    assert venue.opened(start=FIRST + 2 * HOUR, end=FIRST + 5 * HOUR - 1) == at(2, 3, 4)


def test_both_bounds_with_too_small_a_limit_answer_the_oldest(venue):
    assert venue.opened(start=FIRST, end=FIRST + 900 * HOUR, limit=2) == at(0, 1)
    assert len(venue.opened(start=FIRST, end=FIRST + 900 * HOUR)) == 500


def test_start_equal_to_end_is_legal(venue):
    assert venue.opened(start=FIRST + 7 * HOUR, end=FIRST + 7 * HOUR) == at(7)
    assert venue.opened(start=FIRST + 7 * HOUR + 1, end=FIRST + 7 * HOUR + 1) == []


def test_a_limit_above_1000_is_capped_silently(venue):
    assert len(venue.opened(start=FIRST, limit=5000)) == 1000


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (FIRST - 50 * HOUR, FIRST - 1),  # before the listing
        (FIRST + 10 * HOUR, FIRST + 11 * HOUR),  # inside the hole
        (FIRST + 1151 * HOUR, FIRST + 1160 * HOUR),  # the future
        (FIRST + 9 * HOUR, FIRST + 8 * HOUR),  # reversed
    ],
)
def test_a_window_without_candles_answers_an_empty_list(venue, start, end):
    assert venue.klines(start=start, end=end) == []


def test_a_hole_is_stepped_over_and_does_not_count_towards_the_limit(venue):
    assert venue.opened(start=FIRST + 9 * HOUR, limit=3) == at(9, 12, 13)
    assert venue.opened(end=FIRST + 12 * HOUR, limit=3) == at(8, 9, 12)


def test_a_row_has_twelve_fields_of_the_types_binance_uses(venue):
    assert venue.klines(start=FIRST, limit=1) == [
        [
            FIRST,
            "100.00000000",
            "102.50000000",
            "99.00000000",
            "101.00000000",
            "10.00000000",
            FIRST + HOUR - 1,
            "1005.00000000",
            7,
            "4.00000000",
            "402.00000000",
            "0",
        ]
    ]


def test_decimals_pass_as_the_file_writes_them_and_missing_columns_are_zero(venue):
    assert venue.klines(start=FIRST + 3 * HOUR, limit=1) == [
        [
            FIRST + 3 * HOUR,
            "0.10",
            "22.500",
            "0.00000001",
            "1.0",
            "963091",
            FIRST + 4 * HOUR - 1,
            "0",
            0,
            "0",
            "0",
            "0",
        ]
    ]


def test_an_irregular_close_time_is_kept(venue):
    assert venue.klines(start=FIRST + 4 * HOUR, limit=1)[0][6] == FIRST + 4 * HOUR + 2_132_286


def test_bounds_in_seconds_miss_the_data_silently(venue):
    assert venue.klines(end=FIRST // 1000) == []


def test_bounds_in_microseconds_are_understood(venue):
    assert venue.opened(start=FIRST * 1000, end=(FIRST + HOUR) * 1000) == at(0, 1)


def test_answers_are_in_microseconds_when_the_header_asks_for_them(venue):
    response = venue.get(
        "/api/v3/klines",
        headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
        symbol="BTCUSDT",
        interval="1h",
        start=FIRST,
        limit=1,
    )
    row = response.json()[0]
    assert (row[0], row[6]) == (FIRST * 1000, (FIRST + HOUR) * 1000 - 1)


def test_the_forming_candle_is_last_and_shows_a_part_of_what_it_becomes(venue):
    forming = venue.klines(limit=1)[0]
    venue.control("POST", "clock", {"now": FIRST + 1151 * HOUR})
    final = venue.klines(end=FIRST + 1150 * HOUR, limit=1)[0]
    assert forming[0] == final[0] == FIRST + 1150 * HOUR
    assert forming[1] == final[1]
    assert forming[4] != final[4]
    assert float(forming[5]) < float(final[5])
    assert float(forming[7]) < float(final[7])
    assert forming[8] < final[8]
    assert float(forming[3]) <= float(forming[4]) <= float(forming[2]) < float(final[2])
    assert forming[6] == final[6] == FIRST + 1151 * HOUR - 1


def test_a_forming_candle_counts_towards_the_limit(venue):
    assert venue.opened(limit=2) == at(1149, 1150)
    assert venue.opened(start=FIRST + 1149 * HOUR, limit=1) == at(1149)


def test_one_step_past_the_file_a_flat_candle_forms_at_the_last_close(venue):
    venue.control("POST", "clock", {"now": FIRST + 1200 * HOUR + 60_000})
    last, forming = venue.klines(limit=2)
    assert last[0] == FIRST + 1199 * HOUR
    assert forming == [
        FIRST + 1200 * HOUR,
        *[last[4]] * 4,
        "0.00000000",
        FIRST + 1201 * HOUR - 1,
        "0.00000000",
        0,
        "0.00000000",
        "0.00000000",
        "0",
    ]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"start": FIRST + 1195 * HOUR},
        {"start": FIRST + 1200 * HOUR, "end": FIRST + 1200 * HOUR},
        {"start": FIRST + 1199 * HOUR, "end": FIRST + 1200 * HOUR},
        {"end": FIRST + 1200 * HOUR},
    ],
)
def test_past_the_end_of_the_file_an_error_answers_never_a_short_list(venue, params):
    venue.control("POST", "clock", {"now": FIRST + 1202 * HOUR})
    response = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1h", **params)
    assert response.status_code == 503
    assert response.json() == {
        "code": -1001,
        "msg": "replay data of BTCUSDT 1h ends at 2024-02-20T00:00:00Z",
    }


def test_what_the_file_can_answer_is_answered_also_when_the_clock_is_far_ahead(venue):
    venue.control("POST", "clock", {"now": "2030-01-01"})
    assert venue.opened(start=FIRST + 1195 * HOUR, limit=5) == at(*range(1195, 1200))
    assert venue.opened(end=FIRST + 1199 * HOUR, limit=2) == at(1198, 1199)
    assert venue.opened(start=FIRST + 1198 * HOUR, end=FIRST + 1200 * HOUR - 1) == at(1198, 1199)


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"interval": "1h"}, -1102, "'symbol' was not sent"),
        ({"symbol": "BTCUSDT"}, -1102, "'interval' was not sent"),
        ({"symbol": "", "interval": "1h"}, -1105, "'symbol' was empty"),
        ({"symbol": "NOPEUSDT", "interval": "1h"}, -1121, "Invalid symbol."),
        ({"symbol": "btcusdt", "interval": "1h"}, -1100, "parameter 'symbol'"),
        ({"symbol": "BTCUSDT\n", "interval": "1h"}, -1100, "parameter 'symbol'"),
        ({"symbol": "BTCUSDT", "interval": "60m"}, -1120, "Invalid interval."),
        ({"symbol": "BTCUSDT", "interval": "1H"}, -1120, "Invalid interval."),
        ({"symbol": "BTCUSDT", "interval": "1h", "limit": "x"}, -1100, "parameter 'limit'"),
        ({"symbol": "BTCUSDT", "interval": "1h", "limit": 0}, -1130, "parameter 'limit'"),
        ({"symbol": "BTCUSDT", "interval": "1h", "startTime": "-5"}, -1100, "'startTime'"),
        ({"symbol": "BTCUSDT", "interval": "1h", "endTime": "1.5"}, -1100, "'endTime'"),
        ({"symbol": "BTCUSDT", "interval": "1h", "start_time": 1}, -1104, "read '2'"),
        ({"symbol": ["BTCUSDT", "BTCUSDT"], "interval": "1h"}, -1101, "Duplicate"),
    ],
)
def test_a_wrong_request_gets_the_error_that_binance_gives(venue, params, code, words):
    response = venue.get("/api/v3/klines", **params)
    assert response.status_code == 400
    assert response.json()["code"] == code
    assert words in response.json()["msg"]


def test_a_timeframe_without_a_file_is_the_simulators_lack_not_an_unknown_symbol(venue):
    response = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1d")
    assert response.status_code == 503
    assert "holds no spot/BTCUSDT/1d.csv.gz" in response.json()["msg"]
