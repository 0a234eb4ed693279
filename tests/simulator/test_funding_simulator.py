"""Funding rates of the simulated futures venue: REST, limits of its own, files, made-up ones."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from xml.etree import ElementTree

import pytest

from candlevault.simulator import build_exchange
from candlevault.simulator.weights import Budget
from tests.support.market import ReplayFiles

HOUR = 3_600_000
DAY = 24 * HOUR
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z
NOW = FIRST + 100 * DAY
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
MONTHS = "data/futures/um/monthly/fundingRate/"


def settled(count: int, step: int = 8 * HOUR) -> list[tuple[int, str, str]]:
    """Events from FIRST on, three milliseconds late; every fifth without a mark price."""
    return [
        (FIRST + n * step + 3, f"{n / 1e6:.8f}", "" if n % 5 == 0 else f"{40_000 + n}.50000000")
        for n in range(count)
    ]


ROWS = settled(310)


@pytest.fixture
def venue(files, serve):
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 101 * 24)
    files.write("um_futures/OLDUSDT/1h", "2024-01-01", 48)
    files.write("um_futures/BAREUSDT/1h", "2024-01-01", 48)
    files.write("spot/ETHUSDT/1h", "2024-01-01", 5)
    files.manifest({"um_futures/OLDUSDT": {"ended": "2024-01-03T00:00:00Z", "forgotten": True}})
    replay = ReplayFiles(files.root)
    replay.write_funding("BTCUSDT", ROWS)
    replay.write_funding("OLDUSDT", settled(6))
    return serve(files.exchange(now=NOW))


def rates(venue, **params):
    return venue.get("/fapi/v1/fundingRate", **{"symbol": "BTCUSDT"} | params)


def times(response) -> list[int]:
    assert response.status_code == 200, response.text
    return [row["fundingTime"] for row in response.json()]


def test_an_event_is_told_as_it_lies_in_the_file(venue):
    found = rates(venue, start=FIRST, limit=2).json()
    assert found == [
        {
            "symbol": "BTCUSDT",
            "fundingTime": FIRST + 3,
            "fundingRate": "0.00000000",
            "markPrice": "",
        },
        {
            "symbol": "BTCUSDT",
            "fundingTime": FIRST + 8 * HOUR + 3,
            "fundingRate": "0.00000100",
            "markPrice": "40001.50000000",
        },
    ]


def test_both_bounds_are_inclusive(venue):
    edge = FIRST + 8 * HOUR + 3
    assert times(rates(venue, start=edge, end=edge + 8 * HOUR)) == [edge, edge + 8 * HOUR]
    assert times(rates(venue, start=edge + 1, end=edge + 8 * HOUR - 1)) == []


def test_answers_ascend_from_the_start_and_without_one_the_newest_are_told(venue):
    known = [row[0] for row in ROWS if row[0] <= NOW]
    assert times(rates(venue, start=FIRST, limit=7)) == known[:7]
    assert times(rates(venue, limit=7)) == known[-7:]
    assert times(rates(venue, end=FIRST + 10 * DAY, limit=2)) == known[28:30]


def test_a_hundred_are_the_default_two_hundred_without_bounds_a_thousand_the_most(venue):
    assert len(times(rates(venue, start=FIRST))) == 100
    assert len(times(rates(venue))) == 200
    assert len(times(rates(venue, start=FIRST, limit=1000))) == 300
    assert rates(venue, limit=1001).json()["code"] == -1130


def test_what_is_not_settled_by_the_venues_clock_is_not_told(venue):
    venue.control("POST", "clock", {"now": FIRST + 16 * HOUR + 2})
    assert times(rates(venue)) == [FIRST + 3, FIRST + 8 * HOUR + 3]
    venue.control("POST", "clock", {"now": FIRST + 16 * HOUR + 3})
    assert len(times(rates(venue))) == 3


def test_where_the_next_event_is_due_and_not_held_the_simulator_says_so(venue):
    last = ROWS[-1][0]
    due = last - last % HOUR + 8 * HOUR
    venue.control("POST", "clock", {"now": due + DAY})
    assert times(rates(venue, start=last, end=due - 1)) == [last]
    for bounds in ({"start": last, "end": due}, {"start": last + 1}, {}):
        refused = rates(venue, **bounds)
        assert (refused.status_code, refused.json()["code"]) == (503, -1001)
        assert "ends before the event of 2024-04-13T08:00:00Z" in refused.json()["msg"]
    # What can be answered in full is answered.
    assert len(times(rates(venue, start=FIRST, end=due + HOUR, limit=5))) == 5


def test_a_contract_without_a_file_of_funding_is_an_error_not_an_empty_answer(venue):
    refused = rates(venue, symbol="BAREUSDT")
    assert refused.status_code == 503
    assert "holds no um_futures/BAREUSDT/funding.csv.gz" in refused.json()["msg"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "ETHUSDT"}, -1121),
        ({"symbol": "OLDUSDT"}, -1121),
        ({"limit": "0"}, -1130),
        ({"limit": "-1"}, -1100),
        ({"startTime": FIRST + 1, "endTime": FIRST}, -1023),
        ({"interval": "8h"}, -1104),
    ],
)
def test_what_is_refused(venue, params, code):
    refused = rates(venue, **params)
    assert (refused.status_code, refused.json()["code"]) == (400, code)


def test_spot_has_no_funding(venue):
    assert venue.get("/api/v3/fundingRate", symbol="ETHUSDT").status_code == 404


def test_a_settled_contract_is_over_and_answers_until_then(files, serve):
    files.write("um_futures/OLDUSDT/1h", "2024-01-01", 48)
    files.manifest({"um_futures/OLDUSDT": {"ended": "2024-01-03T00:00:00Z"}})
    ReplayFiles(files.root).write_funding("OLDUSDT", settled(6))
    venue = serve(files.exchange(now=NOW))
    assert len(times(rates(venue, symbol="OLDUSDT", start=FIRST))) == 6
    assert times(rates(venue, symbol="OLDUSDT", start=FIRST + 10 * DAY)) == []


def test_a_shorter_interval_is_due_sooner(files, serve):
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 48)
    ReplayFiles(files.root).write_funding("BTCUSDT", settled(3, HOUR))
    venue = serve(files.exchange(now=FIRST + 3 * HOUR))
    assert rates(venue).status_code == 503
    venue.control("POST", "clock", {"now": FIRST + 3 * HOUR - 1})
    assert len(times(rates(venue))) == 3


@pytest.mark.parametrize(
    "text",
    [
        "time,rate\n1,2\n",
        "funding_time,funding_rate,mark_price\n",
        "funding_time,funding_rate,mark_price\n5,0.1,\n5,0.1,\n",
        "funding_time,funding_rate,mark_price\nx,0.1,\n",
        "funding_time,funding_rate,mark_price\n5,0.1\n",
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(venue, files, text):
    path = files.root / "um_futures" / "BAREUSDT" / "funding.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    refused = rates(venue, symbol="BAREUSDT")
    assert refused.status_code == 503
    assert "funding.csv.gz" in refused.json()["msg"]


# -- the limit ----------------------------------------------------------------------------------


def test_calls_weigh_nothing_and_have_a_limit_of_their_own(venue):
    assert rates(venue).headers["X-MBX-USED-WEIGHT-1M"] == "0"
    # On a clock that stands, so that the turn of a window cannot matter.
    venue.exchange.funding_budget = Budget(500, minutes=5, wall=lambda: 3600.0)
    venue.exchange.funding_budget.charge(499)
    assert rates(venue).status_code == 200
    refused = rates(venue)
    assert (refused.status_code, refused.json()["code"]) == (429, -1003)
    assert "500 request weight per 5 MINUTE" in refused.json()["msg"]
    assert refused.headers["Retry-After"] == "301"
    assert venue.get("/fapi/v1/time").status_code == 200
    assert venue.stats()["weight"]["um_funding"]["sent_429"] == 1
    venue.control("POST", "reset")
    assert rates(venue).status_code == 200


def test_the_window_of_the_limit_is_five_minutes_of_the_clock():
    now = [3600.0]
    budget = Budget(2, minutes=5, wall=lambda: now[0])
    assert [budget.charge(1) for _ in range(2)] == [None, None]
    now[0] = 3899.0
    refused = budget.charge(1)
    assert (refused.status, refused.retry_after, budget.used) == (429, 2, 3)
    now[0] = 3900.0
    assert budget.charge(1) is None
    assert budget.used == 1


# -- faults -------------------------------------------------------------------------------------


def test_row_faults_change_what_is_told(venue):
    start, plain = FIRST + 3, [row[0] for row in ROWS[:4]]

    def told(kind: str, **args) -> list:
        fault = venue.fault(kind, "fundingRate", **args)
        found = rates(venue, start=start, limit=4).json()
        struck = next(f for f in venue.control("GET", "faults").json() if f["id"] == fault["id"])
        assert struck["struck"] == 1
        venue.control("DELETE", "faults")
        return found

    def when(found: list) -> list[int]:
        return [row["fundingTime"] for row in found]

    assert when(told("reversed")) == plain[::-1]
    assert when(told("duplicate_rows", open_times=[plain[1]])) == [*plain[:2], *plain[1:]]
    assert when(told("drop_rows", open_times=plain[1:3])) == [plain[0], plain[3]]
    assert when(told("drop_rows", start=plain[1], end=plain[3])) == [plain[0], plain[3]]
    assert when(told("misaligned", shift_ms=7)) == [time + 7 for time in plain]
    changed = told("restated", rows=[{"open_time": plain[2], "funding_rate": "-0.5"}])
    assert [row["fundingRate"] for row in changed][2] == "-0.5"
    assert [row["fundingRate"] for row in changed][1] == "0.00000100"
    assert when(rates(venue, start=start, limit=4).json()) == plain


def test_faults_of_candles_leave_funding_alone_and_the_other_way_round(venue):
    venue.fault("reversed", timeframe="1h")
    assert times(rates(venue, start=FIRST, limit=3)) == [row[0] for row in ROWS[:3]]
    venue.control("DELETE", "faults")
    venue.fault("restated", rows=[{"open_time": FIRST, "funding_rate": "0.5"}])
    [row] = venue.get(
        "/fapi/v1/klines", symbol="BTCUSDT", interval="1h", start=FIRST, limit=1
    ).json()
    assert row[1] == "100.00000000"


# -- the archive --------------------------------------------------------------------------------


def listed(venue, prefix: str) -> list[str]:
    page = ElementTree.fromstring(
        venue.get("/archive-listing", prefix=prefix, delimiter="/").content
    )
    keys = [entry.findtext(f"{S3}Key") for entry in page.findall(f"{S3}Contents")]
    return keys or [one.findtext(f"{S3}Prefix") for one in page.findall(f"{S3}CommonPrefixes")]


def test_a_month_of_funding_has_a_header_and_the_hours_between_events(venue):
    response = venue.archive(f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-02.zip")
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        [name] = bundle.namelist()
        lines = list(csv.reader(io.StringIO(bundle.read(name).decode())))
    assert name == "BTCUSDT-fundingRate-2024-02.csv"
    assert lines[0] == ["calc_time", "funding_interval_hours", "last_funding_rate"]
    assert lines[1:] == [[str(time), "8", rate] for time, rate, _ in ROWS[93:180]]
    told = venue.archive(f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-02.zip.CHECKSUM").text
    digest = hashlib.sha256(response.content).hexdigest()
    assert told == f"{digest}  BTCUSDT-fundingRate-2024-02.zip"


def test_the_listing_names_the_months_that_are_published(venue):
    assert listed(venue, "data/futures/um/monthly/") == [
        MONTHS, "data/futures/um/monthly/klines/"
    ]  # fmt: skip
    assert listed(venue, "data/futures/um/daily/") == ["data/futures/um/daily/klines/"]
    assert listed(venue, MONTHS) == [f"{MONTHS}BTCUSDT/", f"{MONTHS}OLDUSDT/"]
    # April is not over, and its file is never cut short.
    assert listed(venue, f"{MONTHS}BTCUSDT/") == [
        f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-0{month}.zip{end}"
        for month in (1, 2, 3)
        for end in ("", ".CHECKSUM")
    ]


def test_a_month_appears_on_the_first_monday_after_it_and_spot_has_none(venue):
    key = f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"
    for now, status in (("2024-02-05T05:59:59", 404), ("2024-02-05T06:00", 200)):
        venue.control("POST", "clock", {"now": now})
        assert venue.archive(key).status_code == status
    for other in (
        key.replace("futures/um", "spot"),
        key.replace("2024-01", "2023-12"),
        key.replace("BTCUSDT", "BAREUSDT"),
        key.replace("BTCUSDT", "NOUSDT"),
        key.replace("monthly", "daily"),
    ):
        assert venue.archive(other).status_code == 404


def test_a_month_that_the_file_does_not_cover_to_its_end_is_never_published(files, serve):
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 60 * 24)
    ReplayFiles(files.root).write_funding("BTCUSDT", settled(92))
    venue = serve(files.exchange(now=NOW))
    assert venue.archive(f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-01.zip").status_code == 404
    ReplayFiles(files.root).write_funding("BTCUSDT", settled(93))
    venue = serve(files.exchange(now=NOW))
    assert venue.archive(f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-01.zip").status_code == 200


def test_what_rest_has_forgotten_the_archive_keeps(venue):
    response = venue.archive(f"{MONTHS}OLDUSDT/OLDUSDT-fundingRate-2024-01.zip")
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        assert bundle.read(bundle.namelist()[0]).count(b"\n") == 7


def test_zip_faults_spoil_files_of_funding_too(venue):
    key = f"{MONTHS}BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"
    good = venue.archive(key).content
    venue.fault("bad_zip", "fundingRate", times=1)
    assert venue.archive(key).content == good[: len(good) // 2]
    venue.fault("wrong_member", "fundingRate", times=1)
    with zipfile.ZipFile(io.BytesIO(venue.archive(key).content)) as bundle:
        assert bundle.namelist() == ["OTHERUSDT-1h-2020-01.csv"]
    assert venue.archive(key).content == good


# -- made-up ones -------------------------------------------------------------------------------


def walk(serve, seed: int = 7):
    return serve(build_exchange("simulated", now=NOW, seed=seed, symbols=("BTCUSDT",)))


def test_the_walk_settles_every_eight_hours_a_little_late_at_the_open_of_the_hour(serve):
    venue = walk(serve)
    found = rates(venue, start=FIRST, end=FIRST + 10 * DAY, limit=1000).json()
    assert len(found) == 30
    assert {row["fundingTime"] // HOUR % 8 for row in found} == {0}
    assert len({row["fundingTime"] % HOUR for row in found}) > 5
    assert all(row["fundingTime"] % HOUR < 12 for row in found)
    assert all(abs(float(row["fundingRate"])) < 0.001 for row in found)
    assert len({row["fundingRate"] for row in found}) > 20
    [hour] = venue.get(
        "/fapi/v1/klines", symbol="BTCUSDT", interval="1h", start=FIRST + 8 * HOUR, limit=1
    ).json()
    assert found[1]["markPrice"] == hour[1]


def test_an_event_of_the_walk_depends_on_seed_symbol_and_time_only(serve):
    first, again, other = walk(serve), walk(serve), walk(serve, seed=8)
    whole = rates(first, start=FIRST, limit=50).json()
    assert rates(again, start=FIRST + 5 * DAY, limit=5).json() == whole[15:20]
    assert rates(first, end=whole[20]["fundingTime"], limit=3).json() == whole[18:21]
    assert rates(other, start=FIRST, limit=50).json() != whole


def test_the_walk_can_be_paged_one_by_one_in_both_directions(serve):
    venue = walk(serve)
    known = times(rates(venue, start=FIRST, limit=6))
    assert any(time % HOUR for time in known)
    onward, back = known[:1], known[-1:]
    while len(onward) < len(known):
        onward += times(rates(venue, start=onward[-1] + 1, limit=1))
        back += times(rates(venue, end=back[-1] - 1, limit=1))
    assert (onward, back[::-1]) == (known, known)


def test_the_walk_begins_with_the_listing(serve):
    found = rates(walk(serve), start=0, limit=1).json()
    assert found[0]["fundingTime"] - found[0]["fundingTime"] % HOUR == 1_567_987_200_000
