"""Funding rates from the archive: what REST has forgotten, complete or refused."""

from __future__ import annotations

import hashlib
import io
import zipfile
from decimal import Decimal

import pytest

from candlevault.errors import BadPayload, NotPublished, UnknownSymbol
from candlevault.funding import FundingEvent
from candlevault.providers.binance_archive import LATE_MS
from candlevault.providers.binance_funding_archive import FundingArchive
from tests.support.funding_venue import (
    DAY_ONE,
    NOW,
    OLD,
    covered,
    events_of,
    expected,
    provider,
    replay,
    venue,
)
from tests.support.market import client, span
from tests.support.scripted_http import Reply

__all__ = ["provider", "replay", "venue"]


def test_a_symbol_that_rest_has_forgotten_is_read_from_the_archive(provider, venue):
    window = span("2022-11-15", "2024-02-01")
    pages = provider.funding("GONEUSDT", window, NOW)
    assert covered(pages) == window
    assert events_of(pages) == expected(OLD, window, marks=False)
    files = [page.fetch.url for page in pages if page.events]
    assert len(files) == 8
    assert files[0].endswith("/GONEUSDT-fundingRate-2023-01.zip")
    silent = {page.fetch for page in pages if not page.events}
    assert [fetch.url.partition("?")[0][-15:] for fetch in silent] == ["archive-listing"]
    assert {page.fetch.provider for page in pages} == {"binance_um_archive"}
    assert venue.asked() == {
        "um.fundingRate": 1, "archive.listing": 1, "archive.zip": 8, "archive.checksum": 8
    }  # fmt: skip


def test_a_part_of_a_month_holds_only_its_part(provider):
    window = span("2023-03-05T04:00", "2023-03-05T12:00")
    [page] = provider.funding("GONEUSDT", window, NOW)
    assert (page.covers, [e.time_ms for e in page.events]) == (window, [window.start_ms])
    assert page.fetch.rows == 93


def test_a_month_that_may_still_be_published_is_not_without_funding(provider):
    """The last file is that of August 2023; September's may come until 45 days after its end."""
    september = span("2023-09-01", "2023-10-01")
    late = september.end_ms + LATE_MS
    with pytest.raises(NotPublished, match="no funding of 2023-09"):
        provider.funding("GONEUSDT", september, late)
    [page] = provider.funding("GONEUSDT", september, late + 1)
    assert (page.covers, page.events) == (september, ())


def test_a_month_that_the_archive_lacks_between_others_is_not_without_funding(server):
    server.answer = archived({"2023-01": CSV, "2023-03": CSV.replace(b"1672531", b"1677628")})
    archive = FundingArchive(server.base_url, f"{server.base_url}/list", "x", client())
    with pytest.raises(NotPublished, match="no funding of 2023-02"):
        archive.funding("um", "BTCUSDT", span("2023-01-01", "2023-04-01"), NOW)


def test_what_neither_rest_nor_the_archive_knows_is_unknown(provider):
    with pytest.raises(UnknownSymbol, match="no funding was ever published"):
        provider.funding("NOSUCHUSDT", DAY_ONE, NOW)


HEADER = b"calc_time,funding_interval_hours,last_funding_rate\n"
CSV = HEADER + b"1672531200000,8,0.00010000\n1672560000007,8,-2.5e-07\n"


def zipped(content: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        bundle.writestr(name, content)
    return out.getvalue()


def archived(months: dict[str, bytes], name: str = "BTCUSDT-fundingRate-"):
    """An archive that lists and serves these months' CSVs."""
    folder = "data/futures/um/monthly/fundingRate/BTCUSDT/"
    files = {
        f"/{folder}{name}{month}.zip": zipped(content, f"{name}{month}.csv")
        for month, content in months.items()
    }
    entries = "".join(
        f"<Contents><Key>{path[1:]}</Key><LastModified>2023-05-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"</ETag>'
        f"<Size>{len(data)}</Size></Contents>"
        for path, data in files.items()
    )
    listing = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    )

    def answer(path, parameters):
        if path == "/list":
            return Reply(listing.encode())
        if path.endswith(".CHECKSUM"):
            data = files[path.removesuffix(".CHECKSUM")]
            zip_name = path.rpartition("/")[2].removesuffix(".CHECKSUM")
            return Reply(f"{hashlib.sha256(data).hexdigest()}  {zip_name}".encode())
        return Reply(files[path])

    return answer


JANUARY = span("2023-01-01", "2023-02-01")


def read_archived(server, content: bytes) -> list[FundingEvent]:
    server.answer = archived({"2023-01": content})
    archive = FundingArchive(server.base_url, f"{server.base_url}/list", "x", client())
    return events_of(archive.funding("um", "BTCUSDT", JANUARY, NOW))


def test_files_are_read_digit_by_digit(server):
    assert read_archived(server, CSV) == read_archived(server, CSV.replace(b"\n", b"\r\n")) == [
        FundingEvent(1672531200000, Decimal("0.0001")),
        FundingEvent(1672560000007, Decimal("-0.00000025")),
    ]  # fmt: skip
    assert read_archived(server, HEADER) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "unknown CSV header"),
        (CSV.replace(b"calc_time", b"time"), "unknown CSV header"),
        (CSV.removeprefix(HEADER), "unknown CSV header"),
        (CSV.replace(b",8,", b","), "wrong form"),
        (CSV.replace(b",8,", b",eight,"), "wrong form"),
        (CSV + b"\n", "wrong form"),
        (CSV.replace(b"0.00010000", b"x"), "not a decimal"),
        (CSV.replace(b"0.00010000", b"2"), "a rate of 2"),
        (CSV.replace(b"1672531200000", b"1675209600000"), "do not ascend"),
        (CSV.replace(b"1672560000007", b"1675209600000"), "outside"),
        (CSV.replace(b"1672560000007", b"1672531200000"), "do not ascend"),
        (CSV.replace(b"1672560000007", b"1672560000007000"), "wrong form"),
        (CSV.replace(b"8", b"\xff"), "not plain text"),
    ],
)
def test_a_file_that_cannot_be_is_refused(server, content, words):
    with pytest.raises(BadPayload, match=words) as refused:
        read_archived(server, content)
    assert refused.value.url.endswith("BTCUSDT-fundingRate-2023-01.zip")


@pytest.mark.parametrize("kind", ["bad_zip", "bad_checksum", "wrong_member"])
def test_a_spoilt_file_refuses_the_whole_window(provider, venue, kind):
    venue.fault(kind, "2023-03")
    with pytest.raises(BadPayload):
        provider.funding("GONEUSDT", span("2023-02-01", "2023-05-01"), NOW)
