"""What the archive lists: every file once with what tells its version, or nothing believed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.errors import BadPayload, GeoBlocked
from candlevault.provenance import ArchiveFile
from candlevault.providers.binance_archive import BinanceArchive
from candlevault.series import parse
from tests.support.candles import series
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
from tests.support.scripted_http import Reply, ScriptedServer, scripted_server

BTC = series("1h")
FIRST, LAST = ms("2023-12-10"), ms("2025-02-20")
NOW = ms("2025-02-20T12:00")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("BTCUSDT", range(FIRST, LAST, HOUR))
    files.write("BTCUSDT", grid(span("2023-12-11", "2025-02-17"), 7 * DAY), "1w")
    for number in range(3):
        files.write(f"X{number}USDT", grid(span("2024-03-01", "2024-04-10")))
    files.write("YOUNGUSDT", grid(span("2025-02-10", "2025-02-20")))
    files.write("GONEUSDT", grid(span("2024-03-05", "2024-04-10T07:00")))
    files.end("GONEUSDT", "2024-04-10T07:00:00Z", forgotten=True)
    files.write("BTCUSDT", grid(span("2024-01-01", "2024-03-01")), market="um")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


@pytest.fixture(scope="module")
def lasting_server():
    with scripted_server() as running:
        yield running


def archive_at(server: ScriptedServer) -> BinanceArchive:
    http = client("binance_archive")
    return BinanceArchive(server.base_url, f"{server.base_url}/listing", "binance_archive", http)


# -- of an honest archive ------------------------------------------------------------------------


def test_every_zip_is_listed_once_with_its_period_ascending(venue):
    files = venue_at(venue.base_url).archive.files(BTC)
    days = [file.window for file in files if file.granularity == "daily"]
    months = [file.window for file in files if file.granularity == "monthly"]
    assert [day.start_ms for day in days] == list(range(FIRST, LAST, DAY))
    assert {day.end_ms - day.start_ms for day in days} == {DAY}
    assert (months[0], months[-1]) == (
        span("2023-12-01", "2024-01-01"),
        span("2025-01-01", "2025-02-01"),
    )
    assert len(months) == 14
    assert [file.window for file in files] == sorted(file.window for file in files)
    assert all(file.key.endswith(".zip") for file in files)


def test_a_file_is_listed_as_it_is_served(venue):
    at = venue_at(venue.base_url).archive
    month = next(f for f in at.files(BTC) if f.window == span("2024-03-01", "2024-04-01"))
    [page] = at.candles(BTC, month.window, NOW).pages
    assert page.fetch.url == f"{venue.base_url}/archive/{month.key}"
    assert page.fetch.etag == f'"{month.etag}"'
    assert page.fetch.bytes == month.bytes
    assert month.last_modified == "2024-04-01T06:00:00.000Z"


def test_weeks_are_listed_by_the_month_with_one_call(venue):
    files = venue_at(venue.base_url).archive.files(series("1w"))
    assert {file.granularity for file in files} == {"monthly"}
    assert venue.asked() == {"archive.listing": 1}


def test_futures_are_listed_below_a_folder_of_their_own(venue):
    of = parse("binance", "um", "BTCUSDT", "1h")
    files = venue_at(venue.base_url, "um").archive.files(of)
    assert {file.key.rpartition("klines")[0] for file in files} == {
        "data/futures/um/monthly/",
        "data/futures/um/daily/",
    }


def test_the_newest_file_is_found_over_many_pages_of_the_listing(venue):
    newest = venue_at(venue.base_url).archive.newest_file_end_ms(BTC)
    assert newest == ms("2025-02-20")
    # One page of months; two keys a day, more than 430 days, a thousand keys a page.
    assert venue.asked() == {"archive.listing": 2}


def test_a_symbol_that_was_never_archived_has_no_files(venue):
    archive = venue_at(venue.base_url).archive
    assert archive.files(series("1h", "NONEUSDT")) == []
    assert archive.newest_file_end_ms(series("1h", "NONEUSDT")) is None


def test_every_symbol_ever_archived_is_named_young_and_forgotten_ones_too(venue):
    archive = venue_at(venue.base_url).archive
    named = ["BTCUSDT", "GONEUSDT", "X0USDT", "X1USDT", "X2USDT", "YOUNGUSDT"]
    assert archive.symbols() == named
    assert archive.symbols("um") == ["BTCUSDT"]


# -- of any server -------------------------------------------------------------------------------


def entry(key: str, **changes: str | None) -> str:
    fields = {
        "LastModified": "2024-04-01T06:00:00.000Z",
        "ETag": f"&quot;{'0' * 32}&quot;",
        "Size": "1234",
    } | changes
    told = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items() if text is not None)
    return f"<Contents><Key>{key}</Key>{told}</Contents>"


def listing(*keys: str, truncated: bool = False, following: str = "", more: str = "") -> bytes:
    contents = "".join(key if key.startswith("<") else entry(key) for key in keys)
    marker = f"<NextMarker>{following}</NextMarker>" if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{marker}{contents}{more}"
        "</ListBucketResult>"
    ).encode()


def folders(*names: str) -> str:
    return "".join(f"<CommonPrefixes><Prefix>{n}</Prefix></CommonPrefixes>" for n in names)


def files_of(server: ScriptedServer, *bodies: bytes) -> list[ArchiveFile]:
    """The files of BTCUSDT 1h: the bodies are answered first, then pages without a file."""
    server.replies += [Reply(body) for body in bodies]
    server.answer = lambda path, parameters: Reply(listing())
    return archive_at(server).files(BTC)


def newest(server: ScriptedServer, *bodies: bytes) -> int | None:
    server.replies += [Reply(body) for body in bodies]
    server.answer = lambda path, parameters: Reply(listing())
    return archive_at(server).newest_file_end_ms(BTC)


KEY = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-"
DAILY_KEY = KEY.replace("monthly", "daily")


def test_an_entry_is_read_field_by_field(server):
    [file] = files_of(server, listing(f"{KEY}2024-02.zip", f"{KEY}2024-02.zip.CHECKSUM"))
    assert file == ArchiveFile(
        key=f"{KEY}2024-02.zip",
        granularity="monthly",
        window=span("2024-02-01", "2024-03-01"),
        etag="0" * 32,
        bytes=1234,
        last_modified="2024-04-01T06:00:00.000Z",
    )


def test_an_etag_of_parts_and_one_without_quotes_are_etags(server):
    files = files_of(
        server,
        listing(
            entry(f"{KEY}2024-01.zip", ETag='"abc-17"'), entry(f"{KEY}2024-02.zip", ETag="abc")
        ),
    )
    assert [file.etag for file in files] == ["abc-17", "abc"]


UNUSABLE = {
    "no etag": {"ETag": None},
    "empty etag": {"ETag": ""},
    "quotes only": {"ETag": '""'},
    "quote inside": {"ETag": '"a"b"'},
    "half a quote": {"ETag": '"ab'},
    "line break in the etag": {"ETag": "a&#10;b"},
    "long etag": {"ETag": "a" * 129},
    "no size": {"Size": None},
    "negative size": {"Size": "-1"},
    "huge size": {"Size": "9" * 19},
    "absurd size": {"Size": "9" * 5000},
    "broken size": {"Size": "1.5"},
    "size in other digits": {"Size": "١٢"},
    "no date": {"LastModified": None},
    "no such date form": {"LastModified": "yesterday"},
}


@pytest.mark.parametrize("changes", UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_whose_version_cannot_be_told_is_bad_payload(server, changes):
    with pytest.raises(BadPayload, match="no usable"):
        files_of(server, listing(entry(f"{KEY}2024-02.zip", **changes)))


def test_what_is_said_of_strange_keys_does_not_matter(server):
    body = listing(entry(f"{KEY}2024-02.csv", Size="-1", ETag=None), f"{KEY}2024-02.zip")
    assert len(files_of(server, body)) == 1


def test_a_listing_out_of_order_is_put_in_order(server):
    files = files_of(
        server,
        listing(f"{KEY}2024-02.zip", f"{KEY}2023-12.zip", f"{KEY}2024-01.zip"),
        listing(f"{DAILY_KEY}2024-01-02.zip", f"{DAILY_KEY}2024-01-01.zip"),
    )
    assert [(file.granularity, str(file.window.start.date())) for file in files] == [
        ("monthly", "2023-12-01"),
        ("daily", "2024-01-01"),
        ("monthly", "2024-01-01"),
        ("daily", "2024-01-02"),
        ("monthly", "2024-02-01"),
    ]


def test_a_file_listed_twice_alike_is_one_file(server):
    assert len(files_of(server, listing(f"{KEY}2024-01.zip", f"{KEY}2024-01.zip"))) == 1


def test_a_file_listed_twice_differently_is_bad_payload(server):
    body = listing(f"{KEY}2024-01.zip", entry(f"{KEY}2024-01.zip", Size="7"))
    with pytest.raises(BadPayload, match="twice"):
        files_of(server, body)


@pytest.mark.parametrize("key", [f"{KEY}2024-01-05.zip", f"{KEY}2024.zip"])
def test_a_date_of_the_other_kind_is_not_a_file(server, key):
    assert files_of(server, listing(key), listing(f"{DAILY_KEY}2024-01.zip")) == []


def test_the_last_key_is_the_marker_where_none_is_named(server):
    found = newest(
        server,
        listing(f"{KEY}2024-01.zip", truncated=True),
        listing(f"{KEY}2024-02.zip", f"{KEY}2024-02.zip.CHECKSUM"),
    )
    assert found == ms("2024-03-01")
    assert f"marker={KEY}2024-01.zip".replace("/", "%2F") in server.asked[1]


def test_december_ends_with_the_year(server):
    assert newest(server, listing(f"{KEY}2023-12.zip")) == ms("2024-01-01")


def test_strange_keys_are_not_files(server):
    strange = [
        f"{KEY}2024-01.zip.CHECKSUM",
        f"{KEY}2024-01.csv",
        f"{KEY}٢٠٢٤-٠١.zip",
        KEY.replace("BTC", "ETH") + "2024-01.zip",
        f"x/{KEY}2024-01.zip",
    ]
    assert newest(server, listing(*strange)) is None


@pytest.mark.parametrize("date", ["2024-13", "2024-00", "0000-01", "9999-12"])
def test_a_month_that_does_not_exist_is_bad_payload(server, date):
    with pytest.raises(BadPayload, match="does not exist"):
        newest(server, listing(f"{KEY}{date}.zip"))


@pytest.mark.parametrize("date", ["2024-02-30", "2023-02-29", "2024-01-00"])
def test_a_day_that_does_not_exist_is_bad_payload(server, date):
    with pytest.raises(BadPayload, match="does not exist"):
        newest(server, listing(), listing(f"{DAILY_KEY}{date}.zip"))


@pytest.mark.parametrize(
    "pages",
    [
        [listing(truncated=True)],
        [listing(f"{KEY}2024-01.zip", truncated=True)] * 2,
        [
            listing(truncated=True, following="b"),
            listing(truncated=True, following="c"),
            listing(truncated=True, following="b"),
            listing(truncated=True, following="c"),
        ],
    ],
    ids=["no key", "same page again", "in a circle"],
)
def test_a_listing_that_makes_no_progress_is_bad_payload(server, pages):
    with pytest.raises(BadPayload, match="no progress"):
        newest(server, *pages)


def test_a_listing_without_end_is_bad_payload(server):
    server.answer = lambda path, parameters: Reply(
        listing(truncated=True, following=parameters.get("marker", "") + "a")
    )
    with pytest.raises(BadPayload, match="does not end"):
        archive_at(server).files(BTC)
    assert len(server.asked) == 200


PLACE = "data/spot/monthly/klines/"


def test_symbols_are_read_over_pages_whose_marker_is_the_last_folder(server):
    server.replies += [
        Reply(listing(truncated=True, more=folders(f"{PLACE}ADAUSDT/", f"{PLACE}BTCUSDT/"))),
        Reply(listing(more=folders(f"{PLACE}ETHUSDT/"))),
        Reply(listing(more=folders(f"{PLACE.replace('monthly', 'daily')}NEWUSDT/"))),
    ]
    assert archive_at(server).symbols() == ["ADAUSDT", "BTCUSDT", "ETHUSDT", "NEWUSDT"]
    assert f"marker={PLACE}BTCUSDT/".replace("/", "%2F") in server.asked[1]


def test_folders_that_name_no_series_are_left_out(server):
    strange = ("龙虾USDT", "BTCUSDT_210924", "btcusdt", "A", "A" * 21, "", "X/Y", "BTCUSDT\n")
    server.answer = lambda path, parameters: Reply(
        listing(more=folders(*(f"{PLACE}{name}/" for name in strange), "elsewhere/BTCUSDT/"))
    )
    assert archive_at(server).symbols() == []


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>'


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS.encode(),
        LAUGHS.encode("utf-16"),
        LAUGHS.encode("utf-16-le"),
        LAUGHS.encode("utf-32"),
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a/>',
        b"<html><body>sorry",
        b"",
        b"{}",
        b"\xff\xff",
    ],
)
def test_a_document_type_or_anything_but_plain_xml_is_refused(server, body):
    server.answer = lambda path, parameters: Reply(body)
    for ask in (lambda a: a.files(BTC), lambda a: a.symbols(), lambda a: a.first_candle(BTC)):
        with pytest.raises(BadPayload):
            ask(archive_at(server))


def test_a_refused_address_is_raised(server):
    server.answer = lambda path, parameters: Reply(b"<Error/>", 403)
    with pytest.raises(GeoBlocked):
        archive_at(server).files(BTC)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_listing_is_read_or_refused(lasting_server, body):
    with contextlib.suppress(BadPayload):
        assert newest(lasting_server, body) is None
