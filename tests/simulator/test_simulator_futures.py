"""USDⓈ-M futures over REST: own limits, weights and budget, contracts with their dates."""

from __future__ import annotations

import json

import pytest

from candlevault.simulator.weights import Budget

HOUR = 3_600_000
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z


@pytest.fixture
def venue(files, serve):
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 2000)
    files.write("um_futures/OLDUSDT/1h", "2024-01-01", 48)
    files.write("spot/ETHUSDT/1h", "2024-01-01", 5)
    files.manifest({"um_futures/OLDUSDT": {"ended": "2024-01-03T00:00:00Z"}})
    return serve(files.exchange(now=FIRST + 2000 * HOUR))


def klines(venue, **params):
    return venue.get("/fapi/v1/klines", **{"symbol": "BTCUSDT", "interval": "1h"} | params)


def test_the_clock_is_that_of_the_venue(venue):
    assert venue.get("/fapi/v1/time").json() == {"serverTime": FIRST + 2000 * HOUR}
    assert venue.get("/fapi/v1/ping").json() == {}


def test_five_hundred_rows_are_the_default_and_fifteen_hundred_the_most(venue):
    assert len(klines(venue).json()) == 500
    assert len(klines(venue, limit=1500).json()) == 1500
    refused = klines(venue, limit=1501)
    assert (refused.status_code, refused.json()["code"]) == (400, -1130)


@pytest.mark.parametrize("limit", ["0", "-1", "1501", "99999999999999999999"])
def test_a_limit_out_of_range_is_refused_not_cut(venue, limit):
    refused = klines(venue, limit=limit)
    assert refused.status_code == 400
    assert refused.json()["code"] in (-1100, -1130)


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)],
)
def test_a_call_weighs_by_its_limit(venue, limit, weight):
    assert klines(venue, limit=limit).headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_without_a_limit_a_call_weighs_what_five_hundred_rows_weigh(venue):
    assert klines(venue).headers["X-MBX-USED-WEIGHT-1M"] == "5"


def test_the_budget_is_2400_a_minute_and_apart_from_that_of_spot(venue):
    limit = venue.exchange.budgets["um"].limit
    assert limit == 2400
    # On a clock that stands, so that the turn of a minute cannot matter.
    venue.exchange.budgets["um"] = Budget(limit, wall=lambda: 3600.0)
    venue.exchange.budgets["um"].charge(2400)
    refused = klines(venue, limit=1)
    assert refused.status_code == 429
    assert refused.json()["code"] == -1003
    assert venue.get("/api/v3/time").status_code == 200


@pytest.mark.parametrize("path", ["exchangeInfo", "time", "ping"])
def test_other_calls_weigh_one(venue, path):
    assert venue.get(f"/fapi/v1/{path}").headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_contracts_are_described_with_kind_dates_and_status(venue):
    info = venue.get("/fapi/v1/exchangeInfo").json()
    assert info["futuresType"] == "U_MARGINED"
    limits = {(one["rateLimitType"], one["interval"]): one["limit"] for one in info["rateLimits"]}
    assert limits == {
        ("REQUEST_WEIGHT", "MINUTE"): 2400,
        ("ORDERS", "MINUTE"): 1200,
        ("ORDERS", "SECOND"): 300,
    }
    living, ended = info["symbols"]
    told = ("symbol", "pair", "contractType", "status", "onboardDate", "deliveryDate")
    assert [living[name] for name in told] == [
        "BTCUSDT", "BTCUSDT", "PERPETUAL", "TRADING", FIRST, 4_133_404_800_000
    ]  # fmt: skip
    assert [ended[name] for name in told] == [
        "OLDUSDT", "OLDUSDT", "PERPETUAL", "SETTLING", FIRST, FIRST + 48 * HOUR
    ]  # fmt: skip
    assert (living["quoteAsset"], living["marginAsset"]) == ("USDT", "USDT")


def test_the_description_has_the_fields_of_a_recorded_one(venue, shared_data):
    path = shared_data / "responses" / "binance_um_futures" / "exchangeInfo_2021-07.json"
    recorded = json.loads(path.read_text())
    mine = venue.get("/fapi/v1/exchangeInfo").json()
    assert set(mine) <= set(recorded)
    assert set(mine["symbols"][0]) - set(recorded["symbols"][0]) <= {"quoteAssetPrecision"}


def test_symbols_cannot_be_chosen_here(venue):
    """So that a client which believes the answer to be of one symbol is found out."""
    refused = venue.get("/fapi/v1/exchangeInfo", symbol="BTCUSDT")
    assert (refused.status_code, refused.json()["code"]) == (400, -1104)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "ETHUSDT"}, -1121),
        ({"interval": "1s"}, -1120),
        ({"interval": "7h"}, -1120),
        ({"startTime": FIRST + 1, "endTime": FIRST}, -1023),
        ({"timeZone": "0"}, -1104),
    ],
)
def test_what_futures_refuse(venue, params, code):
    refused = klines(venue, **params)
    assert (refused.status_code, refused.json()["code"]) == (400, code)
