"""Every fault kind does what it says, as often as it says, to what it matches."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
import zlib

import httpx
import pytest

HOUR = 3_600_000
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z
KEY = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip"


@pytest.fixture
def exchange(files):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 60 * 24)
    files.write("spot/ETHUSDT/1h", "2024-01-01", 60 * 24)
    return files.exchange(now="2024-02-20")


@pytest.fixture
def venue(exchange, serve):
    return serve(exchange)


def at(*indexes: int) -> list[int]:
    return [FIRST + i * HOUR for i in indexes]


def page(venue, symbol: str = "BTCUSDT"):
    return venue.get("/api/v3/klines", symbol=symbol, interval="1h", start=FIRST, limit=4)


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("429", 429, '"code":-1003'),
        ("418", 418, "IP banned until"),
        ("403", 403, "<html>"),
        ("451", 451, "restricted location"),
        ("500", 500, '"code":-1000'),
        ("503", 503, "<html>"),
        ("html", 200, "<!DOCTYPE html>"),
        ("error200", 200, '{"code":-1001'),
    ],
)
def test_a_replacing_fault_strikes_as_often_as_told_and_only_what_it_matches(
    venue, kind, status, text
):
    venue.fault(kind, match=r"/klines\?.*BTCUSDT", times=2)
    for _ in range(2):
        assert page(venue, "ETHUSDT").status_code == 200
        answer = page(venue)
        assert answer.status_code == status
        assert text in answer.text
    assert page(venue).json()[0][0] == FIRST


def test_an_empty_fault_sends_no_body_or_the_body_told(venue):
    venue.fault("empty", times=1)
    assert (page(venue).status_code, page(venue).status_code) == (200, 200)
    venue.fault("empty", times=1, body="[]")
    assert page(venue).text == "[]"


def test_faults_of_one_request_take_turns_in_the_order_set(venue):
    venue.fault("500", times=1)
    venue.fault("429", times=1)
    assert [page(venue).status_code for _ in range(3)] == [500, 429, 200]


def test_a_429_fault_tells_what_to_wait_in_any_form_and_disobedience_is_counted(venue):
    venue.fault("429", times=1, retry_after=30)
    assert page(venue).headers["Retry-After"] == "30"
    page(venue)
    assert venue.stats()["weight"]["spot"]["requests_before_retry_after"] == 1
    venue.fault("429", times=1, retry_after="Wed, 21 Oct 2037 07:28:00 GMT")
    assert page(venue).headers["Retry-After"] == "Wed, 21 Oct 2037 07:28:00 GMT"


def test_a_418_fault_counts_requests_during_the_ban_and_enforces_it_when_told(venue):
    venue.fault("418", times=1, retry_after=60)
    assert page(venue).status_code == 418
    assert page(venue).status_code == 200
    assert venue.stats()["requests_during_ban"] == 1
    venue.fault("418", times=1, retry_after=60, enforce=True)
    assert [page(venue).status_code for _ in range(2)] == [418, 418]


def test_latency_delays_the_answer(venue):
    venue.fault("latency", times=1, ms=300)
    started = time.perf_counter()
    assert page(venue).status_code == 200
    assert time.perf_counter() - started >= 0.3


def test_a_dripped_body_is_whole_but_slow(exchange, listen):
    venue = listen(exchange)
    whole = page(venue).content
    venue.fault("latency", times=1, chunk_bytes=len(whole) // 4 + 1, chunk_ms=80)
    started = time.perf_counter()
    assert page(venue).content == whole
    # Four parts with three pauses between them.
    assert time.perf_counter() - started >= 0.24


def test_a_cut_body_breaks_off_before_the_promised_length(exchange, listen):
    venue = listen(exchange)
    venue.fault("cut_body", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        page(venue)
    assert len(page(venue).json()) == 4


def test_a_dropped_row_is_a_hole_of_the_venue_on_both_surfaces(venue):
    venue.fault("drop_rows", symbol="BTCUSDT", open_times=at(1, 2))
    assert venue.opened(start=FIRST, limit=3) == at(0, 3, 4)
    assert venue.opened(end=FIRST + 3 * HOUR, limit=2) == at(0, 3)
    assert venue.opened(symbol="ETHUSDT", start=FIRST, limit=3) == at(0, 1, 2)
    opened = csv_rows(venue.archive(KEY))
    assert [row.split(",")[0] for row in opened[:2]] == [str(t) for t in at(0, 3)]
    assert len(opened) == 742


def test_a_window_of_dropped_rows_is_half_open_and_one_surface_can_keep_them(venue):
    venue.fault("drop_rows", start="2024-01-01T01:00Z", end="2024-01-01T03:00Z", surfaces=["rest"])
    assert venue.opened(start=FIRST, limit=3) == at(0, 3, 4)
    assert len(csv_rows(venue.archive(KEY))) == 744


def test_the_forming_candle_can_be_dropped_too(venue):
    venue.control("POST", "clock", {"now": FIRST + 5 * HOUR + 60_000})
    venue.fault("drop_rows", open_times=at(5))
    assert venue.opened(limit=2) == at(3, 4)


def test_a_restated_row_changes_only_the_values_and_surfaces_told(venue):
    venue.fault(
        "restated",
        symbol="BTCUSDT",
        surfaces=["archive"],
        rows=[{"open_time": at(2)[0], "close": "777.5", "count": 99}],
    )
    fields = csv_rows(venue.archive(KEY))[2].split(",")
    assert (fields[1], fields[4], fields[8]) == ("102.00000000", "777.5", "99")
    assert venue.klines(start=at(2)[0], limit=1)[0][4] == "103.00000000"


def test_a_restated_archive_agrees_with_its_checksum_and_looks_rewritten(venue):
    before = venue.archive(KEY)
    venue.control("POST", "clock", {"now": "2024-02-25"})
    venue.fault("restated", rows=[{"open_time": at(2)[0], "close": "777.5"}])
    after, told = venue.archive(KEY), venue.archive(KEY + ".CHECKSUM").text
    assert told.startswith(hashlib.sha256(after.content).hexdigest())
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.headers["Last-Modified"] == "Sun, 25 Feb 2024 00:00:00 GMT"
    listing = venue.get("/archive-listing", prefix=KEY).text
    assert after.headers["ETag"].strip('"') in listing
    assert "2024-02-25T00:00:00.000Z" in listing
    venue.control("DELETE", "faults")
    assert venue.archive(KEY).content == before.content


def test_a_row_fault_counts_only_answers_that_it_changed(venue):
    venue.fault("restated", times=1, rows=[{"open_time": at(50)[0], "close": "1"}])
    venue.fault("drop_rows", times=1, open_times=at(60))
    page(venue)
    assert [f["left"] for f in venue.control("GET", "faults").json()] == [1, 1]
    assert venue.klines(start=at(50)[0], limit=20)[0][4] == "1"
    assert [f["left"] for f in venue.control("GET", "faults").json()] == [0, 0]
    assert venue.klines(start=at(50)[0], limit=1)[0][4] == "151.00000000"


def test_rows_are_duplicated_and_the_copy_may_contradict(venue):
    venue.fault("duplicate_rows", times=1)
    assert venue.opened(start=FIRST, limit=3) == at(0, 1, 2, 2)
    venue.fault("duplicate_rows", times=1, open_times=at(1), conflict=True)
    rows = venue.klines(start=FIRST, limit=3)
    assert [row[0] for row in rows] == at(0, 1, 1, 2)
    assert rows[1][4] != rows[2][4]


def test_rows_come_reversed(venue):
    venue.fault("reversed", times=1)
    assert venue.opened(start=FIRST, limit=3) == at(2, 1, 0)


def test_rows_come_misaligned(venue):
    venue.fault("misaligned", times=1, shift_ms=60_000)
    assert venue.opened(start=FIRST, limit=2) == [FIRST + 60_000, FIRST + HOUR + 60_000]
    venue.fault("misaligned", times=1, open_times=at(1))
    assert venue.opened(start=FIRST, limit=2) == [FIRST, FIRST + HOUR + 1]


def csv_rows(response) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        return bundle.read(bundle.namelist()[0]).decode().splitlines()


@pytest.mark.parametrize("mode", ["truncated", "not_zip", "crc"])
def test_a_bad_zip_cannot_be_read_though_its_checksum_agrees(venue, mode):
    venue.fault("bad_zip", match=r"\.zip", times=1, mode=mode)
    told = venue.archive(KEY + ".CHECKSUM").text
    data = venue.archive(KEY).content
    assert told.startswith(hashlib.sha256(data).hexdigest())
    with pytest.raises((zipfile.BadZipFile, zlib.error)), zipfile.ZipFile(io.BytesIO(data)) as z:
        z.read(z.namelist()[0])
    assert len(csv_rows(venue.archive(KEY))) == 744


def test_a_fault_on_the_zip_alone_still_reaches_its_checksum(venue):
    venue.fault("wrong_member", match=r"\.zip$", times=1)
    told = venue.archive(KEY + ".CHECKSUM").text
    assert told.startswith(hashlib.sha256(venue.archive(KEY).content).hexdigest())


@pytest.mark.parametrize("mode", ["digest", "name", "empty"])
def test_a_bad_checksum_disagrees_with_a_good_zip(venue, mode):
    good = venue.archive(KEY + ".CHECKSUM").text
    venue.fault("bad_checksum", times=1, mode=mode)
    bad = venue.archive(KEY + ".CHECKSUM").text
    assert bad != good
    assert bad == "" if mode == "empty" else len(bad.split("  ")[0]) == 64
    assert len(csv_rows(venue.archive(KEY))) == 744
    assert venue.archive(KEY + ".CHECKSUM").text == good


def test_a_wrong_member_has_another_name_or_comes_as_a_second_one(venue):
    def names():
        return zipfile.ZipFile(io.BytesIO(venue.archive(KEY).content)).namelist()

    venue.fault("wrong_member", times=1, name="../evil.csv")
    assert names() == ["../evil.csv"]
    venue.fault("wrong_member", times=1, extra=True)
    assert names() == ["BTCUSDT-1h-2024-01.csv", "OTHERUSDT-1h-2020-01.csv"]
    assert names() == ["BTCUSDT-1h-2024-01.csv"]


def test_a_fault_may_meet_the_archive_by_its_path(venue):
    venue.fault("503", match=r"^/archive/", times=1)
    assert page(venue).status_code == 200
    assert venue.archive(KEY).status_code == 503
    assert venue.archive(KEY).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([{"kind": "500"}, {"kind": "nonsense"}], "fault.kind"),
        ([{"kind": "500", "times": 0}], "fault.times"),
        ([{"kind": "500", "match": "("}], "fault.match"),
        ([{"kind": "500", "when": "now"}], "unknown keys"),
        ([{"kind": "latency", "args": {"seconds": 3}}], "fault.args"),
        ([{"kind": "drop_rows"}], "open_times"),
        ([{"kind": "drop_rows", "args": {"start": "2024-01-01"}}], "start and end"),
        ([{"kind": "restated", "args": {"rows": [{"open_time": 1, "price": 2}]}}], "rows"),
        ([{"kind": "reversed", "args": {"surfaces": ["tape"]}}], "surfaces"),
        (["500"], "must be an object"),
    ],
)
def test_a_fault_that_cannot_be_understood_is_refused_and_none_of_the_list_is_set(
    venue, body, field
):
    answer = venue.control("POST", "faults", body)
    assert answer.status_code == 400
    assert field in answer.json()["error"]
    assert venue.control("GET", "faults").json() == []
