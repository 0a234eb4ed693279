"""Funding rates from REST and the archive: every event once, complete or refused."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotPublished,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.funding import FundingEvent, FundingPage
from candlevault.providers import binance_funding_rows as rows_of
from candlevault.providers.binance_archive import LATE_MS
from candlevault.providers.binance_funding import CALLS_PER_MINUTE, BinanceFunding
from candlevault.providers.binance_funding_archive import FundingArchive
from candlevault.providers.registry import home_venue
from candlevault.windows import Window
from tests.support.market import (
    DAY,
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

FIRST = ms("2023-01-01")
EIGHT = 8 * HOUR
NOW = ms("2024-06-20")
HOURLY = Window(ms("2024-05-01"), ms("2024-05-03"))


def times_of_btc() -> list[int]:
    """Every eight hours; hourly for two days; a little late each, and one told on the dot."""
    times = set(range(FIRST, NOW + 10 * DAY, EIGHT)) | set(grid(HOURLY))
    return [time + time // HOUR % 13 for time in sorted(times)]


def told(times: list[int]) -> list[tuple[int, str, str]]:
    return [
        (t, f"{(t // HOUR % 2001 - 1000) / 1e7:.8f}", "" if t < FIRST + DAY else "61440.20000000")
        for t in times
    ]


BTC = told(times_of_btc())
OLD = told(list(range(FIRST + 4 * HOUR, ms("2023-08-10"), EIGHT)))


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol, rates in (("BTCUSDT", BTC), ("OLDUSDT", OLD), ("GONEUSDT", OLD)):
        files.write(symbol, grid(Window(FIRST, FIRST + DAY)), market="um")
        files.write_funding(symbol, rates)
    files.end("OLDUSDT", "2023-08-10T00:00:00Z", "um")
    files.end("GONEUSDT", "2023-08-10T00:00:00Z", "um", forgotten=True)
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.exchange.reset()
    return replay


@pytest.fixture
def provider(venue) -> BinanceFunding:
    return venue_at(venue.base_url, "um").funding


def events_of(pages: list[FundingPage]) -> list[FundingEvent]:
    return [event for page in pages for event in page.events]


def expected(rates, window: Window, marks: bool = True) -> list[FundingEvent]:
    return [
        FundingEvent(t, Decimal(rate), Decimal(mark) if mark and marks else None)
        for t, rate, mark in rates
        if window.contains(t)
    ]


def covered(pages: list[FundingPage]) -> Window:
    """What the pages cover, which follow each other without a hole."""
    for earlier, later in itertools.pairwise(pages):
        assert earlier.covers.end_ms == later.covers.start_ms
    for page in pages:
        assert all(page.covers.contains(event.time_ms) for event in page.events)
    return Window(pages[0].covers.start_ms, pages[-1].covers.end_ms)


# -- REST ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window",
    [
        span("2023-01-01", "2023-01-02"),
        span("2023-02-01T08:00", "2023-02-01T16:00"),
        span("2022-06-01", "2023-01-02"),
        span("2024-04-28", "2024-05-05"),
        span("2023-01-01", "2024-06-19"),
        span("2023-03-01T01:00", "2023-03-01T07:00"),
    ],
    ids=["a day", "bounds", "before the listing", "hourly", "everything", "between two"],
)
def test_every_event_of_the_window_once_ascending_and_exact(provider, window):
    pages = provider.funding("BTCUSDT", window, NOW)
    assert covered(pages) == window
    assert events_of(pages) == expected(BTC, window)


def test_an_event_at_the_start_of_the_window_is_in_it_and_one_at_its_end_is_not(provider):
    """Both bounds of the question are inclusive, and these events are told on the dot."""
    first, second = [t for t, _, _ in BTC if t % HOUR == 0][3:5]
    window = Window(first, second)
    found = [event.time_ms for event in events_of(provider.funding("BTCUSDT", window, NOW))]
    assert found[0] == first
    assert second not in found


def test_pages_are_followed_up_until_one_is_short(provider, venue):
    window = Window(FIRST, NOW)
    pages = provider.funding("BTCUSDT", window, NOW)
    # More than a hundred may always have been cut.
    assert [len(page.events) for page in pages] == [1000, len(expected(BTC, window)) - 1000, 0]
    assert covered(pages) == window
    assert venue.asked() == {"um.fundingRate": 3}


def test_an_event_at_a_page_boundary_is_in_one_page(provider):
    window = Window(FIRST, NOW)
    first, second = provider.funding("BTCUSDT", window, NOW)[:2]
    assert first.covers.end_ms == first.events[-1].time_ms + 1 == second.covers.start_ms
    assert second.events[0].time_ms > first.events[-1].time_ms


def test_a_venue_that_cuts_answers_shorter_than_asked_is_followed_up(server):
    rates = [(FIRST + n * EIGHT, f"0.{n:08d}") for n in range(450)]

    def answer(path, parameters):
        start, end = int(parameters["startTime"]), int(parameters["endTime"])
        found = [row for row in rates if start <= row[0] <= end][:100]
        return Reply(json.dumps([row_of(*row) for row in found]).encode())

    server.answer = answer
    window = Window(FIRST, FIRST + 450 * EIGHT)
    pages = rest_at(server).funding("BTCUSDT", window, NOW)
    assert [len(page.events) for page in pages] == [100, 100, 100, 100, 50]
    assert covered(pages) == window
    assert {parse_qs(urlsplit(asked).query)["limit"][0] for asked in server.asked} == {"1000"}


def test_every_page_leads_to_its_fetch(provider):
    for page in provider.funding("BTCUSDT", Window(FIRST, NOW), NOW):
        assert page.fetch.provider == "binance_um_rest"
        assert (page.fetch.symbol, page.fetch.timeframe) == ("BTCUSDT", "funding")
        assert page.fetch.rows == len(page.events)
        assert f"startTime={page.covers.start_ms}&" in page.fetch.url
        assert len(page.fetch.sha256) == 64


def test_a_window_without_events_is_believed_of_a_symbol_that_has_had_some(provider, venue):
    window = span("2022-01-01", "2022-06-01")
    [page] = provider.funding("BTCUSDT", window, NOW)
    assert (page.covers, page.events) == (window, ())
    [page] = provider.funding("OLDUSDT", span("2024-01-01", "2024-06-01"), NOW)
    assert page.events == ()
    assert venue.asked() == {"um.fundingRate": 4}


def test_silence_about_a_symbol_that_never_had_any_proves_nothing(server):
    """An answer may be empty because the symbol is not known."""
    server.answer = lambda path, parameters: Reply(b"[]")
    with pytest.raises(UnknownSymbol, match="no funding of it at any time"):
        rest_at(server).funding("NOSUCHUSDT", span("2024-01-01", "2024-01-02"), NOW)
    last = parse_qs(urlsplit(server.asked[-1]).query)
    assert last == {"symbol": ["NOSUCHUSDT"], "limit": ["1"]}


def test_every_question_to_rest_waits_for_its_turn(server):
    turns = []
    server.answer = lambda path, parameters: Reply(b"[]")
    provider = BinanceFunding(
        server.base_url, "binance_um_rest", client(), turn=lambda: turns.append(len(server.asked))
    )
    with pytest.raises(UnknownSymbol):
        provider.funding("BTCUSDT", span("2024-01-01", "2024-01-02"), NOW)
    assert turns == [0, 1]
    # 500 calls in five minutes are allowed.
    assert 5 * CALLS_PER_MINUTE < 500


# -- what goes wrong ----------------------------------------------------------------------------


def rest_at(server) -> BinanceFunding:
    return BinanceFunding(server.base_url, "binance_um_rest", client())


def row_of(time_ms: object = FIRST, rate: object = "0.00010000", **more: object) -> dict:
    return {"symbol": "BTCUSDT", "fundingTime": time_ms, "fundingRate": rate} | more


DAY_ONE = Window(FIRST, FIRST + DAY)


def asked_of(server, *rows: object, body: bytes | None = None) -> list[FundingEvent]:
    server.answer = lambda path, parameters: Reply(body or json.dumps(list(rows)).encode())
    return events_of(rest_at(server).funding("BTCUSDT", DAY_ONE, NOW))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row_of(FIRST - 1)], "outside"),
        ([row_of(FIRST + DAY)], "outside"),
        ([row_of(FIRST + 1), row_of(FIRST)], "do not ascend"),
        ([row_of(), row_of()], "do not ascend"),
        ([row_of(rate="1")], "a rate of 1"),
        ([row_of(rate="-1.00000000")], "a rate of -1"),
        ([row_of(rate="NaN")], "not a decimal"),
        ([row_of(rate="Infinity")], "not a decimal"),
        ([row_of(rate="")], "not a decimal"),
        ([row_of(rate="0,1")], "not a decimal"),
        ([row_of(rate=0.0001)], "not a decimal in a text"),
        ([row_of(rate=None)], "not a decimal"),
        ([row_of(rate="0.0000000000001")], "more than 12 decimals"),
        ([row_of(rate="1e-13")], "more than 12 decimals"),
        ([row_of(str(FIRST))], "not a time in ms"),
        ([row_of(float(FIRST))], "not a time in ms"),
        ([row_of(True)], "not a time in ms"),
        ([row_of(-5)], "not a time in ms"),
        ([row_of(FIRST * 1000)], "not a time in ms"),
        ([row_of(markPrice="-1")], "a mark price of -1"),
        ([row_of(markPrice="1.000000001")], "more than 8 decimals"),
        ([row_of(markPrice=12)], "markPrice is not a decimal"),
        ([row_of(symbol="ETHUSDT")], "of another symbol"),
        ([{"fundingTime": FIRST, "fundingRate": "0.1"}], "of another symbol"),
        ([[FIRST, "0.1"]], "not an object"),
        ([row_of(FIRST + 1), None], "not an object"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_the_whole_answer(server, rows, words):
    with pytest.raises(BadPayload, match=words) as refused:
        asked_of(server, *rows)
    assert (refused.value.provider, refused.value.symbol) == ("binance_um_rest", "BTCUSDT")
    assert "fundingRate?" in refused.value.url


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"", b"{}", b'{"code":-1001,"msg":"Internal error"}', b"null", b"[" * 100_000,
        b'[{"symbol":"BTCUSDT"', b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(server, body):
    with pytest.raises(BadPayload):
        asked_of(server, body=body or b" ")


def test_digits_are_kept_as_sent_and_a_missing_mark_price_is_none(server):
    found = asked_of(
        server,
        row_of(FIRST, "-0.00037525", markPrice="0.00000001"),
        row_of(FIRST + 1, "0.123456789012", markPrice=""),
        row_of(FIRST + 2, "1.5e-05", markPrice="0.00000000"),
        row_of(FIRST + 3, "0", markPrice=None),
        row_of(FIRST + DAY - 1, "0.99999999"),
    )
    assert found == [
        FundingEvent(FIRST, Decimal("-0.00037525"), Decimal("0.00000001")),
        FundingEvent(FIRST + 1, Decimal("0.123456789012")),
        FundingEvent(FIRST + 2, Decimal("0.000015")),
        FundingEvent(FIRST + 3, Decimal(0)),
        FundingEvent(FIRST + DAY - 1, Decimal("0.99999999")),
    ]


@pytest.mark.parametrize(
    ("kind", "args", "error"),
    [
        ("451", {}, GeoBlocked),
        ("403", {}, GeoBlocked),
        ("429", {"retry_after": 100_000}, RateLimited),
        ("418", {"retry_after": 100_000}, RateLimited),
        ("503", {}, Unavailable),
        ("500", {}, Unavailable),
        ("cut_body", {}, Unavailable),
        ("html", {}, BadPayload),
        ("empty", {}, BadPayload),
        ("error200", {}, BadPayload),
        ("reversed", {}, BadPayload),
        ("duplicate_rows", {}, BadPayload),
        ("misaligned", {"shift_ms": 10 * DAY}, BadPayload),
    ],
)
def test_failures_are_those_of_the_candle_provider(provider, venue, kind, args, error):
    venue.fault(kind, "fundingRate", **args)
    with pytest.raises(error):
        provider.funding("BTCUSDT", span("2023-02-01", "2023-02-03"), NOW)


def test_a_429_is_waited_out_and_the_retry_is_counted(provider, venue):
    venue.fault("429", times=1, retry_after=1)
    assert len(events_of(provider.funding("BTCUSDT", span("2023-02-01", "2023-02-03"), NOW))) == 6
    assert provider.traffic.retries == 1


def test_while_funding_is_refused_candles_are_not_asked_for_either(venue):
    """Both are asked from one address: a ban is a ban."""
    at = venue_at(venue.base_url, "um")
    venue.fault("418", "fundingRate", retry_after=100_000)
    with pytest.raises(RateLimited):
        at.funding.funding("BTCUSDT", DAY_ONE, NOW)
    venue.forget()
    with pytest.raises(RateLimited):
        at.server_time_ms()
    assert venue.asked() == {}


# -- the archive --------------------------------------------------------------------------------


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


# -- who serves it ------------------------------------------------------------------------------


def test_the_home_venue_has_funding_for_perpetual_futures_only(monkeypatch, venue):
    monkeypatch.setenv("CANDLEVAULT_BINANCE_FUTURES_URL", venue.base_url)
    monkeypatch.setenv("CANDLEVAULT_BINANCE_ARCHIVE_URL", f"{venue.base_url}/archive")
    monkeypatch.setenv("CANDLEVAULT_BINANCE_LISTING_URL", f"{venue.base_url}/archive-listing")
    assert home_venue("binance", "spot").funding is None
    provider = home_venue("binance", "um").funding
    window = span("2023-02-01", "2023-02-03")
    for symbol, rates, marks in (("BTCUSDT", BTC, True), ("GONEUSDT", OLD, False)):
        pages = provider.funding(symbol, window, NOW)
        assert events_of(pages) == expected(rates, window, marks)


def test_rest_rows_and_file_rows_are_the_same_events(provider):
    window = span("2023-02-01", "2023-07-01")
    rest = events_of(provider.funding("OLDUSDT", window, NOW))
    files = events_of(provider._archive.funding("um", "OLDUSDT", window, NOW))
    assert [(e.time_ms, e.rate) for e in rest] == [(e.time_ms, e.rate) for e in files]
    assert len(rest) > 400


def test_checks_hold_at_their_edges():
    window = Window(1_000, 2_000)
    good = [FundingEvent(1_000, Decimal("-0.999999999999")), FundingEvent(1_999, Decimal(0))]
    assert rows_of.checked(good, window) == tuple(good)
    assert rows_of.checked([], window) == ()
