"""The weight budget: clock minutes, 429, bans that grow, and what disobedience leaves."""

from __future__ import annotations

import pytest

from candlevault.simulator.weights import LONGEST_BAN_SECONDS, Budget


class Wall:
    """A wall clock that stands where the test puts it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def wall() -> Wall:
    return Wall(60_000_000 * 60 + 50)


def test_a_budget_is_spent_per_clock_minute_and_renewed_at_the_full_minute(wall):
    budget = Budget(10, wall=wall)
    assert [budget.charge(2) for _ in range(5)] == [None] * 5
    refusal = budget.charge(2)
    assert (refusal.status, refusal.retry_after) == (429, 11)
    wall.seconds += 9.9
    assert budget.charge(2).status == 429
    wall.seconds += 0.2
    assert budget.charge(2) is None
    assert budget.used == 2


def test_a_client_that_goes_on_is_banned_and_told_until_when(wall):
    budget = Budget(10, patience=2, wall=wall)
    statuses = [budget.charge(10) for _ in range(5)]
    assert [r and r.status for r in statuses] == [None, 429, 429, 418, 418]
    assert statuses[3].until_ms == (wall.seconds + 120) * 1000
    assert budget.requests_during_ban == 1
    assert budget.requests_before_retry_after == 2


def test_a_ban_lasts_through_the_new_minute_and_is_not_prolonged_by_probing(wall):
    budget = Budget(10, patience=0, wall=wall)
    budget.charge(11)
    wall.seconds += 119
    assert budget.charge(1).status == 418
    wall.seconds += 1
    assert budget.charge(1) is None


def test_bans_grow_with_repetition_up_to_three_days(wall):
    budget = Budget(10, patience=0, wall=wall)
    lengths = []
    for _ in range(14):
        refusal = budget.charge(11)
        lengths.append(refusal.until_ms / 1000 - wall.seconds)
        wall.seconds = refusal.until_ms / 1000 + 60
    assert lengths[:3] == [120, 240, 480]
    assert lengths[-1] == LONGEST_BAN_SECONDS


def test_the_highest_minute_is_remembered(wall):
    budget = Budget(100, wall=wall)
    for weight in (40, 30):
        budget.charge(weight)
    wall.seconds += 60
    budget.charge(5)
    told = budget.describe()
    assert told["max_used_in_a_minute"] == 70
    assert list(told["used_by_minute"].values()) == [70, 5]


def test_every_answer_carries_the_used_weight_of_its_endpoint(files, serve, wall):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange(now="2024-01-01T04:00"))
    venue.exchange.budgets["spot"] = Budget(6000, wall=wall)
    used = [0]
    for path, params in (
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": 1000}),
        ("klines", {"symbol": "NOPE", "interval": "1h"}),
        ("ping", {}),
        ("time", {}),
        ("exchangeInfo", {}),
    ):
        answer = venue.get(f"/api/v3/{path}", **params)
        used.append(int(answer.headers["X-MBX-USED-WEIGHT-1M"]))
    assert used == [0, 2, 4, 5, 6, 26]


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1001, 10)])
def test_futures_klines_weigh_by_their_limit(files, serve, limit, weight):
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange(now="2024-01-01T04:00"))
    answer = venue.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=limit)
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_over_the_limit_429_then_418_reach_the_client_with_retry_after(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange(now="2024-01-01T04:00", weight_limit=19, ban_after=1))
    # Weight 20 exceeds the limit at once, so that the turn of a minute cannot matter.
    first = venue.get("/api/v3/exchangeInfo")
    assert first.status_code == 429
    assert first.json()["code"] == -1003
    assert 1 <= int(first.headers["Retry-After"]) <= 61
    venue.exchange.budgets["spot"].reset()
    venue.exchange.budgets["spot"]._patience = 0
    banned = venue.get("/api/v3/exchangeInfo")
    assert banned.status_code == 418
    assert "IP banned until 1" in banned.json()["msg"]
    assert 119 <= int(banned.headers["Retry-After"]) <= 121
    assert venue.get("/api/v3/ping").status_code == 418
    stats = venue.stats()
    assert (stats["sent_429"], stats["sent_418"], stats["requests_during_ban"]) == (1, 2, 1)


def test_the_archive_and_control_cost_no_weight(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange())
    venue.get("/archive-listing")
    venue.archive("data/x.zip")
    assert venue.stats()["weight"]["spot"]["max_used_in_a_minute"] == 0
