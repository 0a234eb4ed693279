"""The first and the last candle by the archive alone, also of symbols that REST has forgotten."""

from __future__ import annotations

import io
import zipfile

import pytest

from candlevault.errors import BadPayload, NotPublished, UnknownSymbol
from candlevault.providers.binance_archive import BinanceArchive
from candlevault.series import parse
from tests.support.candles import series
from tests.support.market import (
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    client,
    grid,
    ms,
    simulated,
    span,
    venue_at,
)
from tests.support.scripted_http import Reply

NOW = ms("2024-06-20T12:00")
LISTED, ENDED = ms("2023-11-10T05:00"), ms("2024-04-17T09:00")
GONE = series("1h", "GONEUSDT")
LIFE = list(range(LISTED, ENDED, HOUR))


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for market in ("spot", "um"):
        files.write("GONEUSDT", LIFE, market=market)
        files.end("GONEUSDT", "2024-04-17T09:00:00Z", market, forgotten=True)
    files.write("LIVEUSDT", grid(span("2024-05-25T05:00", "2024-06-20")))
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


def ends(venue: SimulatedVenue, of=GONE) -> tuple[tuple[int | None, str], ...]:
    """First and last open_time, each with the file that shows it."""
    archive = venue_at(venue.base_url, of.market).archive
    seen = (archive.first_candle(of), archive.last_candle(of))
    return tuple((one.open_time_ms, one.fetch.url.rpartition("/")[2]) for one in seen)


def gone(date: str) -> str:
    return f"GONEUSDT-1h-{date}.zip"


@pytest.mark.parametrize("market", ["spot", "um"])
def test_the_life_of_a_forgotten_symbol_is_known_from_its_files(venue, market):
    of = parse("binance", market, "GONEUSDT", "1h")
    at = venue_at(venue.base_url, market)
    with pytest.raises(UnknownSymbol):
        at.instrument("GONEUSDT")
    with pytest.raises(UnknownSymbol):
        at.first_candle(of)
    first, last = ends(venue, of)
    assert (first[0], last[0]) == (LISTED, ENDED - HOUR)


def test_the_evidence_is_the_file_as_it_was_fetched(venue):
    archive = venue_at(venue.base_url).archive
    listed = {file.key: file for file in archive.files(GONE)}
    fetch = archive.last_candle(GONE).fetch
    file = listed[fetch.url.removeprefix(f"{venue.base_url}/archive/")]
    assert (fetch.provider, fetch.bytes) == ("binance_archive", file.bytes)
    assert fetch.etag == f'"{file.etag}"'


def test_a_symbol_that_was_never_archived_has_no_ends(venue):
    archive = venue_at(venue.base_url).archive
    assert archive.first_candle(series("1h", "NONEUSDT")) is None
    assert archive.last_candle(series("1h", "NONEUSDT")) is None


def test_files_without_a_candle_are_passed_over(server):
    folder = "/data/futures/um/daily/klines/BTCUSDT/1d/BTCUSDT-1d-2024-01-0"
    header = (
        b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
    )
    opened = ms("2024-01-02")
    row = f"{opened},1,1,1,1,1,{opened + 86_399_999},1,1,1,1,0\n".encode()
    content = {1: header, 2: header + row, 3: header}
    zips = {
        f"{folder}{day}.zip": zipped(f"BTCUSDT-1d-2024-01-0{day}.csv", text)
        for day, text in content.items()
    }
    server.serve_files(zips)
    served = server.answer
    entries = "".join(
        f"<Contents><Key>{path[1:]}</Key><LastModified>2024-01-05T00:00:00.000Z</LastModified>"
        f"<ETag>a</ETag><Size>1</Size></Contents>"
        for path in zips
    )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    listing = f'<ListBucketResult xmlns="{space}">{entries}</ListBucketResult>'.encode()
    server.answer = lambda path, parameters: (
        Reply(listing) if path == "/listing" else served(path, parameters)
    )
    archive = BinanceArchive(server.base_url, f"{server.base_url}/listing", "x", client("x"))
    of = parse("binance", "um", "BTCUSDT", "1d")
    assert archive.first_candle(of).open_time_ms == archive.last_candle(of).open_time_ms == opened
    server.serve_files({path: data for path, data in zips.items() if "02.zip" not in path})
    only_empty = listing.replace(b"2024-01-02", b"2024-01-01")
    without = server.answer
    server.answer = lambda path, parameters: (
        Reply(only_empty) if path == "/listing" else without(path, parameters)
    )
    assert archive.first_candle(of) is None
    assert archive.last_candle(of) is None


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr(name, content)
    return buffer.getvalue()


def test_a_young_symbol_ends_with_its_newest_day_not_with_its_newest_month(venue):
    first, last = ends(venue, series("1h", "LIVEUSDT"))
    assert first[0] == ms("2024-05-25T05:00")
    assert last == (ms("2024-06-19T23:00"), "LIVEUSDT-1h-2024-06-19.zip")


def test_months_that_have_no_daily_files_count(venue):
    venue.fault("drop_rows", match="daily", start="2023-01-01", end="2023-12-20")
    venue.fault("drop_rows", match="daily", start="2024-02-10", end="2024-12-20")
    assert ends(venue) == ((LISTED, gone("2023-11")), (ENDED - HOUR, gone("2024-04")))


def test_days_that_have_no_monthly_file_count(venue):
    venue.fault("drop_rows", match="monthly", start="2023-01-01", end="2023-12-01")
    venue.fault("drop_rows", match="monthly", start="2024-03-01", end="2024-12-20")
    assert ends(venue) == ((LISTED, gone("2023-11-10")), (ENDED - HOUR, gone("2024-04-17")))


def test_where_the_monthly_file_is_cut_short_the_days_are_right(venue):
    """Monthly files of 2024-07 held their first week only until they were repaired."""
    venue.fault("drop_rows", match="monthly", start="2023-11-01", end="2023-11-20")
    venue.fault("drop_rows", match="monthly", start="2024-04-08", end="2024-12-20")
    assert ends(venue) == ((LISTED, gone("2023-11-10")), (ENDED - HOUR, gone("2024-04-17")))


def test_where_the_outermost_days_are_missing_the_monthly_file_is_right(venue):
    venue.fault("drop_rows", match="daily", start="2023-11-01", end="2023-11-20")
    venue.fault("drop_rows", match="daily", start="2024-04-08", end="2024-12-20")
    assert ends(venue) == ((LISTED, gone("2023-11")), (ENDED - HOUR, gone("2024-04")))


def test_no_more_files_are_read_than_may_hold_an_end(venue):
    archive = venue_at(venue.base_url).archive
    archive.first_candle(GONE)
    # The month and the day of the listing.
    assert venue.asked() == {"archive.listing": 2, "archive.zip": 2, "archive.checksum": 2}


def test_a_file_that_is_damaged_is_no_evidence(venue):
    venue.fault("bad_checksum", match="2023-11")
    with pytest.raises(BadPayload):
        ends(venue)


def test_a_file_that_is_listed_but_not_served_is_an_error(venue):
    venue.fault("html", match=r"archive/.*2024-04", status=404)
    with pytest.raises(NotPublished):
        ends(venue)
