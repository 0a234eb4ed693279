"""The archive: content, checksums, units, publication by the clock, the S3 listing."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from xml.etree import ElementTree

import pytest

S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
HOUR = 3_600_000
MONTHLY = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-"
DAILY = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-"


@pytest.fixture
def venue(files, serve):
    """Hours from 2024-11-15 to 2025-03-20, served as if it were long after."""
    files.write("spot/BTCUSDT/1h", "2024-11-15", 125 * 24, without=(100,))
    files.write("spot/BTCUSDT/1w", "2024-11-11", 18)
    return serve(files.exchange(now="2026-01-01"))


def member(response) -> tuple[str, list[list[str]]]:
    """The only member of a zip: its name and rows."""
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        (name,) = bundle.namelist()
        return name, list(csv.reader(io.StringIO(bundle.read(name).decode())))


def listed(venue, prefix: str, **params) -> ElementTree.Element:
    params = {"delimiter": "/", **params}
    response = venue.get("/archive-listing", prefix=prefix, **params)
    assert response.headers["content-type"].startswith("application/xml")
    return ElementTree.fromstring(response.content)


def keys(page: ElementTree.Element) -> list[str]:
    return [entry.findtext(f"{S3}Key") for entry in page.findall(f"{S3}Contents")]


def folders(page: ElementTree.Element) -> list[str]:
    return [p.findtext(f"{S3}Prefix") for p in page.findall(f"{S3}CommonPrefixes")]


def test_a_month_holds_the_rest_rows_without_header_in_milliseconds_before_2025(venue):
    name, rows = member(venue.archive(MONTHLY + "2024-12.zip"))
    assert name == "BTCUSDT-1h-2024-12.csv"
    rest = venue.klines(start=1_733_011_200_000, end=1_735_689_599_999, limit=1000)
    assert len(rows) == 744
    assert rows == [[str(value) for value in row] for row in rest]


def test_spot_files_count_in_microseconds_from_2025_on(venue):
    _, rows = member(venue.archive(MONTHLY + "2025-01.zip"))
    assert (rows[0][0], rows[0][6]) == ("1735689600000000", "1735693199999999")
    assert len(rows) == 744


def test_the_first_month_begins_with_the_listing_and_a_hole_stays_a_hole(venue):
    _, rows = member(venue.archive(MONTHLY + "2024-11.zip"))
    assert rows[0][0] == "1731628800000"
    assert len(rows) == 16 * 24 - 1


def test_the_checksum_is_sha256_two_blanks_name_and_no_newline(venue):
    data = venue.archive(MONTHLY + "2024-12.zip").content
    told = venue.archive(MONTHLY + "2024-12.zip.CHECKSUM").content.decode()
    assert told == f"{hashlib.sha256(data).hexdigest()}  BTCUSDT-1h-2024-12.zip"


def test_the_same_file_is_the_same_bytes_in_another_simulator(venue, files, serve):
    again = serve(files.exchange(now="2027-01-01"))
    key = MONTHLY + "2025-02.zip"
    assert venue.archive(key).content == again.archive(key).content


def test_etag_and_last_modified_are_told_and_etag_is_honoured(venue):
    first = venue.archive(MONTHLY + "2024-12.zip")
    assert first.headers["Last-Modified"] == "Mon, 06 Jan 2025 06:00:00 GMT"
    again = venue.get(
        f"/archive/{MONTHLY}2024-12.zip", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_a_month_appears_on_the_first_monday_after_it_at_six(venue):
    for now, status in (("2025-01-06T05:59:59", 404), ("2025-01-06T06:00", 200)):
        venue.control("POST", "clock", {"now": now})
        assert venue.archive(MONTHLY + "2024-12.zip").status_code == status
        found = keys(listed(venue, MONTHLY))
        assert (MONTHLY + "2024-12.zip" in found) == (status == 200)


def test_a_month_whose_next_month_begins_on_a_monday_appears_that_day(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-06-01", 70 * 24)
    venue = serve(files.exchange(now="2024-07-01T06:00"))
    assert venue.archive(MONTHLY + "2024-06.zip").status_code == 200


def test_a_day_appears_the_next_day_at_six(venue):
    for now, status in (("2025-01-11T05:59:59", 404), ("2025-01-11T06:00", 200)):
        venue.control("POST", "clock", {"now": now})
        assert venue.archive(DAILY + "2025-01-10.zip").status_code == status
    _, rows = member(venue.archive(DAILY + "2025-01-10.zip"))
    assert len(rows) == 24


def test_a_month_that_the_file_does_not_cover_to_its_end_is_never_published(venue):
    assert venue.archive(MONTHLY + "2025-03.zip").status_code == 404
    assert keys(listed(venue, MONTHLY))[-1] == MONTHLY + "2025-02.zip.CHECKSUM"
    assert venue.archive(DAILY + "2025-03-19.zip").status_code == 200
    assert venue.archive(DAILY + "2025-03-20.zip").status_code == 404


def test_a_month_and_a_day_without_any_candle_have_no_file(files, serve):
    """Hours of 2024-01-10 to 2024-03-20: none opens in February or on the 5th of March."""
    pause = range(10 * 24, 60 * 24 + 5)
    fifth_of_march = range(64 * 24, 65 * 24)
    files.write("spot/BTCUSDT/1h", "2024-01-01", 80 * 24, without=(*pause, *fifth_of_march))
    files.write("spot/BTCUSDT/1d", "2024-01-01", 80, without=(*range(10, 60), 64))
    venue = serve(files.exchange(now="2024-06-01"))
    there = ("monthly 2024-01", "daily 2024-01-10", "daily 2024-03-01", "daily 2024-03-06")
    not_there = ("monthly 2024-02", "daily 2024-01-11", "daily 2024-02-15", "daily 2024-03-05")
    for code in ("1h", "1d"):
        for name in (*there, *not_there):
            kind, date = name.split()
            folder = f"data/spot/{kind}/klines/BTCUSDT/{code}/"
            key = f"{folder}BTCUSDT-{code}-{date}.zip"
            assert venue.archive(key).status_code == (200 if name in there else 404), key
            assert (key in keys(listed(venue, folder))) == (name in there), key


def test_a_day_whose_candles_are_all_dropped_has_no_file_until_the_fault_is_over(venue):
    key = DAILY + "2025-01-10.zip"
    venue.fault("drop_rows", start="2025-01-10T00:00Z", end="2025-01-11T00:00Z", times=2)
    assert key not in keys(listed(venue, DAILY))
    assert venue.archive(key + ".CHECKSUM").status_code == 404
    assert venue.archive(key).status_code == 404
    assert len(member(venue.archive(MONTHLY + "2025-01.zip"))[1]) == 744 - 24
    assert len(member(venue.archive(key))[1]) == 24
    assert key in keys(listed(venue, DAILY))


def test_a_day_that_keeps_one_candle_has_a_file(venue):
    venue.fault("drop_rows", start="2025-01-10T00:00Z", end="2025-01-10T23:00Z")
    assert len(member(venue.archive(DAILY + "2025-01-10.zip"))[1]) == 1


def test_the_last_month_of_an_ended_instrument_is_published(files, serve):
    files.write("spot/OLDUSDT/1h", "2024-01-01", 60)
    files.manifest({"spot/OLDUSDT": {"ended": "2024-01-03T12:00:00Z"}})
    venue = serve(files.exchange(now="2024-06-01"))
    key = "data/spot/monthly/klines/OLDUSDT/1h/OLDUSDT-1h-2024-01.zip"
    assert len(member(venue.archive(key))[1]) == 60
    assert keys(listed(venue, "data/spot/monthly/klines/OLDUSDT/1h/")) == [key, key + ".CHECKSUM"]


def test_weeks_are_published_by_the_month_only(venue):
    base = "klines/BTCUSDT/1w/BTCUSDT-1w-"
    _, rows = member(venue.archive(f"data/spot/monthly/{base}2024-12.zip"))
    assert [row[0] for row in rows] == [
        str(1_733_097_600_000 + i * 7 * 24 * HOUR) for i in range(5)
    ]
    assert venue.archive(f"data/spot/daily/{base}2024-12-02.zip").status_code == 404
    assert folders(listed(venue, "data/spot/daily/klines/BTCUSDT/")) == [
        "data/spot/daily/klines/BTCUSDT/1h/"
    ]


@pytest.mark.parametrize(
    "key",
    [
        MONTHLY + "2024-10.zip",  # before the listing
        MONTHLY + "2024-13.zip",
        MONTHLY + "2024-12-01.zip",
        DAILY + "2024-12.zip",
        "data/spot/monthly/klines/ETHUSDT/1h/ETHUSDT-1h-2024-12.zip",
        "data/spot/monthly/klines/BTCUSDT/5m/BTCUSDT-5m-2024-12.zip",
        "data/spot/monthly/klines/BTCUSDT/1h/ETHUSDT-1h-2024-12.zip",
        "data/spot/monthly/klines/../../etc/passwd",
        MONTHLY + "2024-12.csv",
    ],
)
def test_a_missing_file_is_404_with_the_xml_of_s3(venue, key):
    response = venue.archive(key)
    assert response.status_code == 404
    assert ElementTree.fromstring(response.content).findtext("Code") == "NoSuchKey"


def test_the_listing_descends_by_common_prefixes(venue):
    assert folders(listed(venue, "")) == ["data/"]
    assert folders(listed(venue, "data/")) == ["data/spot/"]
    assert folders(listed(venue, "data/spot/")) == ["data/spot/daily/", "data/spot/monthly/"]
    symbols = "data/spot/monthly/klines/"
    assert folders(listed(venue, symbols)) == [symbols + "BTCUSDT/"]
    assert folders(listed(venue, symbols + "BTC")) == [symbols + "BTCUSDT/"]
    assert folders(listed(venue, symbols + "BTCUSDT/")) == [
        symbols + "BTCUSDT/1h/",
        symbols + "BTCUSDT/1w/",
    ]


def test_the_listing_tells_size_etag_and_time_of_what_is_served(venue):
    page = listed(venue, MONTHLY)
    assert page.tag == f"{S3}ListBucketResult"
    assert page.findtext(f"{S3}IsTruncated") == "false"
    for entry in page.findall(f"{S3}Contents"):
        served = venue.archive(entry.findtext(f"{S3}Key"))
        assert int(entry.findtext(f"{S3}Size")) == len(served.content)
        assert entry.findtext(f"{S3}ETag") == served.headers["ETag"]
        assert entry.findtext(f"{S3}ETag") == f'"{hashlib.md5(served.content).hexdigest()}"'
    assert page.find(f"{S3}Contents").findtext(f"{S3}LastModified") == "2024-12-02T06:00:00.000Z"


def test_pages_of_the_listing_join_without_loss_or_double(venue):
    whole = keys(listed(venue, DAILY))
    assert len(whole) == 125 * 2
    joined, marker = [], ""
    while True:
        page = listed(venue, DAILY, marker=marker, **{"max-keys": 60})
        joined += keys(page)
        if page.findtext(f"{S3}IsTruncated") == "false":
            break
        assert len(keys(page)) == 60
        marker = page.findtext(f"{S3}NextMarker")
        assert marker == joined[-1]
    assert joined == whole == sorted(whole)


def test_a_page_holds_a_thousand_keys_and_no_next_marker_without_a_delimiter(files, serve):
    files.write("spot/BTCUSDT/1d", "2023-01-01", 600)
    venue = serve(files.exchange())
    page = listed(venue, "data/spot/daily/", delimiter="")
    assert len(keys(page)) == 1000
    assert page.findtext(f"{S3}IsTruncated") == "true"
    assert page.find(f"{S3}NextMarker") is None
    rest = listed(venue, "data/spot/daily/", delimiter="", marker=keys(page)[-1])
    assert len(keys(rest)) == 2 * 599 - 1000


def test_futures_files_have_a_header_from_june_2022_and_stay_in_milliseconds(files, serve):
    files.write("um_futures/BTCUSDT/1d", "2022-05-01", 1200)
    venue = serve(files.exchange(now="2026-01-01"))
    base = "data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-"
    _, may = member(venue.archive(base + "2022-05.zip"))
    _, june = member(venue.archive(base + "2022-06.zip"))
    _, late = member(venue.archive(base + "2025-01.zip"))
    assert may[0][0] == "1651363200000"
    assert june[0][:2] == ["open_time", "open"]
    assert june[0][-1] == "ignore"
    assert late[1][0] == "1735689600000"


def test_archives_kept_as_published_are_served_as_they_are(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 60 * 24)
    folder = files.root / "data/spot/monthly/klines/BTCUSDT/1h"
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("BTCUSDT-1h-2024-01.csv", "the publisher's bytes\n")
    (folder / "BTCUSDT-1h-2024-01.zip").write_bytes(buffer.getvalue())
    (folder / "BTCUSDT-1h-2024-01.zip.CHECKSUM").write_bytes(b"stale  BTCUSDT-1h-2024-01.zip")
    (folder / "BTCUSDT-1h-2019-07.csv").write_bytes(b"extracted\n")
    venue = serve(files.exchange(now="2026-01-01"))
    assert venue.archive(MONTHLY + "2024-01.zip").content == buffer.getvalue()
    assert venue.archive(MONTHLY + "2024-01.zip.CHECKSUM").text.startswith("stale  ")
    assert member(venue.archive(MONTHLY + "2019-07.zip"))[1] == [["extracted"]]
    assert keys(listed(venue, MONTHLY))[0] == MONTHLY + "2019-07.zip"
    venue.control("POST", "clock", {"now": "2019-08-01"})
    assert venue.archive(MONTHLY + "2019-07.zip").status_code == 404
