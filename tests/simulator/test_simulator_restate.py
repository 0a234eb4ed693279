"""Restated history: from then on the surfaces named tell it so, the others as before."""

from __future__ import annotations

import hashlib
import io
import itertools
import zipfile
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import timeframe
from candlevault.simulator import build_exchange
from candlevault.simulator.block import pack
from candlevault.simulator.restate import Restated, RestatedSeries

S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
HOUR = 3_600_000
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z
MONTH = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip"
DAY = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01-03.zip"
NOON = FIRST + 60 * HOUR  # 2024-01-03T12:00Z
USUAL = "160.00000000"
"""The usual open at noon."""


@pytest.fixture
def exchange(files):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 60 * 24, without=(70,))
    files.write("spot/BTCUSDT/1d", "2024-01-01", 60)
    files.write("um_futures/BTCUSDT/1h", "2024-01-01", 60 * 24)
    return files.exchange(now="2024-02-20")


@pytest.fixture
def venue(exchange, serve):
    return serve(exchange)


def change(open_time: int | str, values: dict | None, **other) -> dict:
    place = {"market": "spot", "symbol": "BTCUSDT", "timeframe": "1h"}
    return place | {"open_time": open_time, "values": values} | other


def restate(venue, *rows: dict, surfaces: list[str] | None = None) -> dict:
    body: dict = {"rows": list(rows)}
    if surfaces is not None:
        body["surfaces"] = surfaces
    response = venue.control("POST", "restate", body)
    assert response.status_code == 200, response.text
    return response.json()


def file_rows(venue, key: str) -> dict[int, list[str]]:
    """The rows of a served zip by open time."""
    response = venue.archive(key)
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        lines = bundle.read(bundle.namelist()[0]).decode().splitlines()
    return {int(line.split(",")[0]): line.split(",") for line in lines}


def tellings(venue, column: int = 1) -> dict[str, str | None]:
    """What each surface tells of a column of the noon candle; None where it has none."""
    [*found] = venue.klines(start=NOON, end=NOON)
    told = {"rest": found[0][column] if found else None}
    for surface, key in (("monthly", MONTH), ("daily", DAY)):
        row = file_rows(venue, key).get(NOON)
        told[surface] = row[column] if row else None
    return told


def listed(venue, key: str) -> dict[str, str]:
    page = ElementTree.fromstring(venue.get("/archive-listing", prefix=key, delimiter="/").content)
    for entry in page.findall(f"{S3}Contents"):
        if entry.findtext(f"{S3}Key") == key:
            return {part.tag.removeprefix(S3): part.text for part in entry}
    return {}


def test_every_surface_tells_the_new_values_and_keeps_the_others(venue):
    told = restate(venue, change(NOON, {"open": "777.5", "count": 99}))
    assert told == {"restated": 1, "surfaces": ["rest", "monthly", "daily"]}
    assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"), "777.5")
    [row] = venue.klines(start=NOON, limit=1)
    assert row[1:5] == ["777.5", "162.50000000", "159.00000000", "161.00000000"]
    assert row[8] == 99


@pytest.mark.parametrize("surface", ["rest", "monthly", "daily"])
def test_surfaces_that_are_not_named_keep_the_old_values(venue, surface):
    restate(venue, change(NOON, {"open": "777.5"}), surfaces=[surface])
    expected = dict.fromkeys(("rest", "monthly", "daily"), USUAL) | {surface: "777.5"}
    assert tellings(venue) == expected


def test_a_candle_that_is_taken_back_is_gone_and_the_page_goes_on_after_it(venue):
    restate(venue, change(NOON, None))
    assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"))
    assert venue.opened(start=NOON - HOUR, limit=2) == [NOON - HOUR, NOON + HOUR]
    assert venue.opened(end=NOON + HOUR, limit=2) == [NOON - HOUR, NOON + HOUR]


def test_a_candle_can_appear_where_none_was(venue):
    hole = FIRST + 70 * HOUR
    values = {"open": "1", "high": "4", "low": "0.5", "close": "2", "volume": "7"}
    assert venue.opened(start=hole, end=hole) == []
    restate(venue, change(hole, values))
    [row] = venue.klines(start=hole, limit=1)
    zero = "0.00000000"
    assert row == [hole, "1", "4", "0.5", "2", "7", hole + HOUR - 1, zero, 0, zero, zero, "0"]
    assert venue.opened(start=hole - HOUR, limit=3) == [hole - HOUR, hole, hole + HOUR]
    assert file_rows(venue, DAY)[hole][1] == "1"


def test_later_restatements_build_on_earlier_ones(venue):
    restate(venue, change(NOON, {"open": "777.5"}))
    restate(venue, change(NOON, {"close": "5"}), surfaces=["rest"])
    [row] = venue.klines(start=NOON, limit=1)
    assert (row[1], row[4]) == ("777.5", "5")
    assert tellings(venue, 4) == {"rest": "5", "monthly": "161.00000000", "daily": "161.00000000"}


def test_only_the_series_named_is_restated(venue):
    restate(venue, change(FIRST, {"open": "777.5"}))
    day = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1d", limit=1, start=FIRST)
    future = venue.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=1, start=FIRST)
    assert day.json()[0][1] == future.json()[0][1] == "100.00000000"
    restate(venue, change(FIRST, {"open": "3"}, market="um"))
    future = venue.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=1, start=FIRST)
    assert future.json()[0][1] == "3"


@pytest.mark.parametrize("key", [MONTH, DAY])
def test_a_restated_file_is_another_version_and_agrees_with_its_checksum(venue, key):
    before, told_before = venue.archive(key), listed(venue, key)
    venue.control("POST", "clock", {"now": "2024-02-25"})
    restate(venue, change(NOON, {"open": "777.5", "volume": "1234567.8"}))
    after, told = venue.archive(key), listed(venue, key)
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.headers["Last-Modified"] == "Sun, 25 Feb 2024 00:00:00 GMT"
    assert told["ETag"] == after.headers["ETag"] != told_before["ETag"]
    assert int(told["Size"]) == len(after.content)
    assert told["Size"] != told_before["Size"]
    assert told["LastModified"] == "2024-02-25T00:00:00.000Z"
    digest = hashlib.sha256(after.content).hexdigest()
    assert venue.archive(f"{key}.CHECKSUM").text.startswith(digest)
    again = venue.get(f"/archive/{key}", headers={"If-None-Match": before.headers["ETag"]})
    assert again.status_code == 200


def test_files_of_other_periods_keep_their_version(venue):
    other = DAY.replace("01-03", "01-04")
    before, told = venue.archive(other).headers, listed(venue, other)
    venue.control("POST", "clock", {"now": "2024-02-25"})
    restate(venue, change(NOON, {"open": "777.5"}))
    assert venue.archive(other).headers == before
    assert listed(venue, other) == told


def test_only_the_files_of_the_surface_named_are_another_version(venue):
    before = {key: venue.archive(key).headers["ETag"] for key in (MONTH, DAY)}
    restate(venue, change(NOON, {"open": "777.5"}), surfaces=["daily"])
    assert venue.archive(MONTH).headers["ETag"] == before[MONTH]
    assert venue.archive(DAY).headers["ETag"] != before[DAY]


def test_a_day_whose_last_candle_is_taken_back_has_no_file_any_more(venue):
    day = [change(FIRST + i * HOUR, None) for i in range(48, 72) if i != 70]
    restate(venue, *day, surfaces=["daily"])
    assert venue.archive(DAY).status_code == venue.archive(f"{DAY}.CHECKSUM").status_code == 404
    assert listed(venue, DAY) == {}
    assert len(file_rows(venue, MONTH)) == 743


def test_reset_brings_the_old_history_back(venue):
    before = {key: (venue.archive(key).content, listed(venue, key)) for key in (MONTH, DAY)}
    for value in ("777.5", "888.5"):
        restate(venue, change(NOON, {"open": value}), change(NOON + HOUR, None))
        assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"), value)
        assert venue.control("GET", "").json()["restated"] == 6
        assert venue.control("POST", "reset").json()["restated"] == 0
        assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"), USUAL)
        for key, (content, told) in before.items():
            assert venue.archive(key).content == content
            assert listed(venue, key) == told


def test_clearing_the_faults_leaves_a_restatement(venue):
    restate(venue, change(NOON, {"open": "777.5"}))
    venue.fault("restated", rows=[{"open_time": NOON, "open": "1"}])
    assert tellings(venue)["rest"] == "1"
    venue.control("DELETE", "faults")
    assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"), "777.5")


def test_a_candle_that_is_not_over_yet_is_restated_too(venue):
    venue.control("POST", "clock", {"now": NOON + HOUR // 2})
    restate(venue, change(NOON, {"open": "777.5"}))
    [row] = venue.klines(limit=1)
    assert (row[0], row[1]) == (NOON, "777.5")


def test_an_archive_kept_as_published_is_packed_anew_once_restated(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 60 * 24)
    kept = files.root / MONTH
    kept.parent.mkdir(parents=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("BTCUSDT-1h-2024-01.csv", "1,the publisher's\n")
    kept.write_bytes(buffer.getvalue())
    venue = serve(files.exchange(now="2024-02-20"))
    assert file_rows(venue, MONTH) == {1: ["1", "the publisher's"]}
    restate(venue, change(NOON, {"open": "777.5"}))
    assert file_rows(venue, MONTH)[NOON][1] == "777.5"
    venue.control("POST", "reset")
    assert venue.archive(MONTH).content == buffer.getvalue()


def test_the_walk_is_restated_over_the_borders_of_its_blocks(serve):
    venue = serve(build_exchange("simulated", now="2024-06-01"))
    start, end = FIRST, FIRST + 400 * 24 * HOUR
    times = venue.opened(start=start, end=end, limit=1000)
    gone = times[::7]
    restate(venue, *(change(time, None) for time in gone))
    assert venue.opened(start=start, limit=500) == [t for t in times if t not in gone][:500]
    newest = venue.opened(end=times[-1], limit=500)
    assert newest == [t for t in times if t not in gone][-500:]


GOOD = change(NOON, {"open": "1"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "restate"),
        ([GOOD], "restate"),
        ({"rows": []}, "rows"),
        ({"rows": [GOOD], "surfaces": []}, "surfaces"),
        ({"rows": [GOOD], "surfaces": ["archive"]}, "surfaces"),
        ({"rows": [GOOD], "surfaces": "rest"}, "surfaces"),
        ({"rows": [GOOD], "when": "now"}, "restate"),
        ({"rows": [GOOD, {}]}, r"rows[1]"),
        ({"rows": [GOOD | {"open": "1"}]}, r"rows[0]"),
        ({"rows": [GOOD | {"market": "cm"}]}, "market"),
        ({"rows": [GOOD | {"symbol": "NOUSDT"}]}, "symbol"),
        ({"rows": [GOOD | {"timeframe": "5m"}]}, "timeframe"),
        ({"rows": [GOOD | {"open_time": "noon"}]}, "open_time"),
        ({"rows": [change(NOON + 1, {"open": "1"})]}, "open_time"),
        ({"rows": [change(FIRST - HOUR, {"open": "1"})]}, "open_time"),
        ({"rows": [change(FIRST + 60 * 24 * HOUR, {"open": "1"})]}, "open_time"),
        ({"rows": [change(FIRST + 70 * HOUR, None)]}, "open_time"),
        ({"rows": [change(FIRST + 70 * HOUR, {"open": "1"})]}, "high, low"),
        ({"rows": [change(FIRST + (60 * 24 - 1) * HOUR, None)]}, "last candle"),
        ({"rows": [change(NOON, {})]}, "values"),
        ({"rows": [change(NOON, {"price": "1"})]}, "values"),
        ({"rows": [change(NOON, {"open": "1e3"})]}, "values.open"),
        ({"rows": [change(NOON, {"open": None})]}, "values.open"),
        ({"rows": [change(NOON, {"count": "1.5"})]}, "values.count"),
        ({"rows": [change(NOON, {"open": '1"]'})]}, "values.open"),
    ],
)
def test_a_restatement_that_cannot_be_understood_is_refused_as_a_whole(venue, body, field):
    answer = venue.control("POST", "restate", body)
    assert answer.status_code == 400
    assert field in answer.json()["error"]
    assert venue.control("GET", "").json()["restated"] == 0
    assert tellings(venue) == dict.fromkeys(("rest", "monthly", "daily"), USUAL)


# -- any restatement of any blocks ---------------------------------------------------------------


class Pieces:
    """A series in several blocks, holes between and inside them."""

    timeframe = timeframe.parse("1m")
    first_ms, last_ms, ended_ms, name = 0, 39 * 60_000, None, "pieces"

    def __init__(self, blocks: list[list[int]]) -> None:
        self.held = [pack([[t * 60_000, "old"] for t in sorted(b)]) for b in blocks if b]

    def blocks(self, first_ms: int, last_ms: int, newest_first: bool):
        near = [b for b in self.held if b.open_times[0] <= last_ms and first_ms <= b.open_times[-1]]
        yield from reversed(near) if newest_first else near

    def has_candle(self, first_ms: int, last_ms: int) -> bool:
        return any(first_ms <= t <= last_ms for b in self.held for t in b.open_times)


@settings(max_examples=300, derandomize=True)
@given(
    st.sets(st.integers(0, 39)),
    st.lists(st.integers(1, 39), max_size=3).map(sorted),
    st.dictionaries(st.integers(0, 39), st.booleans(), max_size=12),
    st.tuples(st.integers(0, 39), st.integers(0, 39)).map(sorted),
    st.booleans(),
)
def test_blocks_restated_are_those_of_a_dictionary_restated(times, cuts, changes, span, newest):
    edges = [0, *cuts, 40]
    blocks = [[t for t in times if a <= t < b] for a, b in itertools.pairwise(edges)]
    layer = {
        t * 60_000: Restated(b'[%d,"new"]' % (t * 60_000) if there else None, 1, 0)
        for t, there in changes.items()
    }
    expected = {t * 60_000: "old" for t in times}
    for time, new in layer.items():
        expected.pop(time, None)
        if new.row:
            expected[time] = "new"
    low, high = span[0] * 60_000, span[1] * 60_000
    series = RestatedSeries(Pieces(blocks), layer)
    found = []
    for block in series.blocks(low, high, newest):
        rows = block.rows(*block.span(low, high))
        found = rows + found if newest else found + rows
    wanted = [[t, value] for t, value in sorted(expected.items()) if low <= t <= high]
    assert found == wanted
    assert series.has_candle(low, high) == bool(wanted)
