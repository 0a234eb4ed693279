"""Binance's archive: months before days, every file verified, damaged ones never used."""

from __future__ import annotations

import contextlib
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.errors import BadPayload, GeoBlocked, NotPublished, RateLimited, Unavailable
from candlevault.providers.binance_archive import BinanceArchive
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    client,
    grid,
    made,
    ms,
    plain,
    simulated,
    span,
    values_at,
    venue_at,
)
from tests.support.scripted_http import Reply, ScriptedServer, scripted_server

BTC = series("1h")
WEEKS = series("1w")
FIRST, LAST = ms("2023-12-10"), ms("2025-02-20")
NOW = ms("2025-02-20T12:00")
JANUARY = span("2024-01-01", "2024-02-01")
FOLDER = "/data/spot/monthly/klines/BTCUSDT/1h/"
STEM = "BTCUSDT-1h-2024-01"


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("BTCUSDT", range(FIRST, LAST, HOUR))
    files.write("BTCUSDT", grid(span("2023-12-11", "2025-02-17"), 7 * DAY), "1w")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture(scope="module")
def lasting_server():
    with scripted_server() as running:
        yield running


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


def ask(venue: SimulatedVenue, window: Window, closed_before_ms: int = NOW, of=BTC):
    return venue_at(venue.base_url).archive.candles(of, window, closed_before_ms)


def archive_at(server: ScriptedServer, **options) -> BinanceArchive:
    http = client("binance_archive", **options)
    return BinanceArchive(server.base_url, f"{server.base_url}/listing", "binance_archive", http)


def opened(answer) -> list[int]:
    return [t for page in answer.pages for t in page.candles["open_time"].to_pylist()]


def names(answer) -> list[str]:
    return [page.fetch.url.rpartition("/")[2] for page in answer.pages]


# -- which files -------------------------------------------------------------------------------


def test_past_months_are_monthly_files_and_the_days_since_are_daily_ones(venue):
    answer = ask(venue, span("2024-12-30", "2025-02-20"))
    assert names(answer)[:3] == [
        "BTCUSDT-1h-2024-12.zip",
        "BTCUSDT-1h-2025-01.zip",
        "BTCUSDT-1h-2025-02-01.zip",
    ]
    assert names(answer)[-1] == "BTCUSDT-1h-2025-02-19.zip"
    assert opened(answer) == grid(span("2024-12-30", "2025-02-20"))
    assert answer.problems == []


def test_candles_of_both_time_units_are_the_same_candles(venue):
    """Spot files count microseconds from 2025-01-01 on."""
    window = span("2024-12-31T22:00", "2025-01-01T02:00")
    answer = ask(venue, window)
    found = [row for page in answer.pages for row in plain(page.candles)]
    assert found == plain(made(grid(window)))


def test_only_the_part_asked_for_is_kept_and_covered(venue):
    window = span("2024-03-10T05:00", "2024-03-11")
    answer = ask(venue, window)
    assert [page.covers for page in answer.pages] == [window]
    assert opened(answer) == grid(window)


def test_a_month_that_is_not_published_yet_is_asked_by_days(venue):
    venue.at("2025-02-02T12:00")
    now = ms("2025-02-02T12:00")
    answer = ask(venue, span("2025-01-30", "2025-02-02"), now)
    days = ("2025-01-30", "2025-01-31", "2025-02-01")
    assert names(answer) == [f"BTCUSDT-1h-{day}.zip" for day in days]
    [problem] = answer.problems
    assert isinstance(problem.error, NotPublished)
    assert problem.window == span("2025-01-30", "2025-02-01")


def test_a_day_that_is_not_published_yet_is_a_problem_of_that_day(venue):
    venue.at("2025-02-20T03:00")
    answer = ask(venue, span("2025-02-18", "2025-02-20"), ms("2025-02-20T03:00"))
    assert names(answer) == ["BTCUSDT-1h-2025-02-18.zip"]
    assert [problem.window for problem in answer.problems] == [span("2025-02-19", "2025-02-20")]


def test_the_day_that_has_not_ended_is_not_asked_for(venue):
    answer = ask(venue, span("2025-02-20", "2025-02-21"))
    assert (answer.pages, answer.problems) == ([], [])
    assert venue.asked() == {}


def test_weeks_have_monthly_files_only(venue):
    answer = ask(venue, span("2025-01-06", "2025-02-10"), of=WEEKS)
    assert names(answer) == ["BTCUSDT-1w-2025-01.zip"]
    assert venue.asked() == {"archive.checksum": 1, "archive.zip": 1}


def test_the_fetch_says_where_a_file_came_from(venue):
    [page] = ask(venue, JANUARY).pages
    fetch = page.fetch
    assert (fetch.provider, fetch.symbol, fetch.timeframe) == ("binance_archive", "BTCUSDT", "1h")
    assert fetch.rows == 744
    assert len(fetch.sha256) == 64
    assert fetch.etag
    assert fetch.last_modified


# -- damaged files -----------------------------------------------------------------------------

MONTH_OF_JANUARY = "monthly.*2024-01"


@pytest.mark.parametrize("mode", ["digest", "name", "empty"])
def test_a_checksum_that_disagrees_once_is_fetched_again(venue, mode):
    venue.fault("bad_checksum", match=MONTH_OF_JANUARY, times=1, mode=mode)
    answer = ask(venue, JANUARY)
    assert (opened(answer), answer.problems) == (grid(JANUARY), [])
    assert venue.asked() == {"archive.checksum": 2, "archive.zip": 2}


def test_a_checksum_that_disagrees_twice_is_bad_payload_and_the_days_are_asked(venue):
    venue.fault("bad_checksum", match=MONTH_OF_JANUARY)
    answer = ask(venue, JANUARY)
    [problem] = answer.problems
    assert isinstance(problem.error, BadPayload)
    assert "twice" in str(problem.error)
    assert len(names(answer)) == 31
    assert opened(answer) == grid(JANUARY)


@pytest.mark.parametrize("mode", ["truncated", "not_zip", "crc"])
def test_a_damaged_zip_with_a_matching_checksum_is_bad_payload(venue, mode):
    venue.fault("bad_zip", match="2024-01", mode=mode)
    answer = ask(venue, JANUARY)
    assert answer.pages == []
    assert all(isinstance(problem.error, BadPayload) for problem in answer.problems)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("name", ["OTHERUSDT-1h-2024-01.csv", "../../etc/passwd", "/abs.csv"])
def test_a_wrong_or_second_member_is_bad_payload(venue, name, extra):
    venue.fault("wrong_member", match="2024-01", name=name, extra=extra)
    answer = ask(venue, JANUARY)
    assert answer.pages == []
    assert all(isinstance(problem.error, BadPayload) for problem in answer.problems)


@pytest.mark.parametrize("kind", ["451", "403"])
def test_a_blocked_address_is_raised(venue, kind):
    venue.fault(kind)
    with pytest.raises(GeoBlocked):
        ask(venue, JANUARY)


def test_a_long_pause_is_raised(venue):
    venue.fault("429", retry_after=100_000)
    with pytest.raises(RateLimited):
        ask(venue, JANUARY)


def test_a_server_that_fails_leaves_the_part_unanswered(venue):
    venue.fault("503")
    answer = ask(venue, span("2025-02-18", "2025-02-19"))
    [problem] = answer.problems
    assert isinstance(problem.error, Unavailable)


def csv(open_times) -> bytes:
    lines = []
    for time in open_times:
        r = values_at(time)
        lines.append(
            f"{time},{r['open']},{r['high']},{r['low']},{r['close']},{r['volume']},"
            f"{r['close_time']},{r['quote_volume']},{r['trades_count']},"
            f"{r['taker_buy_base_volume']},{r['taker_buy_quote_volume']},0\n"
        )
    return "".join(lines).encode()


def packed(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return buffer.getvalue()


def refused(server: ScriptedServer, data: bytes) -> BadPayload:
    """The error of a January file that must not be used."""
    server.serve_files({f"{FOLDER}{STEM}.zip": data})
    answer = archive_at(server).candles(BTC, Window(JANUARY.start_ms, JANUARY.start_ms + HOUR), NOW)
    assert answer.pages == []
    return answer.problems[0].error


WHOLE = csv(grid(JANUARY))
GOOD = packed((f"{STEM}.csv", WHOLE))


def test_the_good_file_is_read(server):
    server.serve_files({f"{FOLDER}{STEM}.zip": GOOD})
    [page] = archive_at(server).candles(BTC, JANUARY, NOW).pages
    assert plain(page.candles) == plain(made(grid(JANUARY)))


def test_two_members_of_the_same_name_are_refused(server):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = packed((f"{STEM}.csv", WHOLE), (f"{STEM}.csv", WHOLE))
    assert isinstance(refused(server, data), BadPayload)


def test_an_empty_zip_is_refused(server):
    assert isinstance(refused(server, packed()), BadPayload)


def test_an_encrypted_member_is_refused(server):
    data = bytearray(GOOD)
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert "exactly" in str(refused(server, bytes(data)))


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(server, how):
    assert "unusual" in str(refused(server, packed((f"{STEM}.csv", WHOLE), how=how)))


def test_a_zip_bomb_is_refused_by_what_it_expands_to(server):
    bomb = packed((f"{STEM}.csv", b"0" * 80_000_000))
    assert len(bomb) < 100_000
    assert "beyond reason" in str(refused(server, bomb))


def test_a_bomb_that_lies_about_its_size_is_refused(server):
    bomb = bytearray(packed((f"{STEM}.csv", b"0" * 80_000_000)))
    directory = bomb.rindex(b"PK\x01\x02")
    for place in (22, directory + 24):
        bomb[place : place + 4] = (1000).to_bytes(4, "little")
    assert isinstance(refused(server, bytes(bomb)), BadPayload)


def test_a_zip_cut_anywhere_is_refused():
    small = packed((f"{STEM}.csv", csv(grid(JANUARY)[:3])))
    with scripted_server() as server:
        for length in range(0, len(small), 3):
            assert isinstance(refused(server, small[:length]), BadPayload), length


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_zip_with_bytes_changed_is_read_right_or_refused(lasting_server, changes):
    """Whatever zipfile makes of it: the right candles or BadPayload, nothing else."""
    data = bytearray(packed((f"{STEM}.csv", csv(grid(JANUARY)[:3]))))
    for place, value in changes:
        data[place % len(data)] = value
    window = Window(JANUARY.start_ms, JANUARY.start_ms + 3 * HOUR)
    lasting_server.serve_files({f"{FOLDER}{STEM}.zip": bytes(data)})
    answer = archive_at(lasting_server).candles(BTC, window, NOW)
    if answer.pages:
        assert plain(answer.pages[0].candles) == plain(made(grid(window)))
    else:
        assert isinstance(answer.problems[0].error, BadPayload)


# -- the listing ---------------------------------------------------------------------------------


def test_the_newest_file_is_found_over_many_pages_of_the_listing(venue):
    newest = venue_at(venue.base_url).archive.newest_file_end_ms(BTC)
    assert newest == ms("2025-02-20")
    # One page of months; two keys a day, more than 430 days, a thousand keys a page.
    assert venue.asked() == {"archive.listing": 2}


def test_a_symbol_that_was_never_archived_has_no_newest_file(venue):
    assert venue_at(venue.base_url).archive.newest_file_end_ms(series("1h", "NONEUSDT")) is None


def listing(*keys: str, truncated: bool = False, following: str = "") -> bytes:
    contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    marker = f"<NextMarker>{following}</NextMarker>" if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{marker}{contents}"
        "</ListBucketResult>"
    ).encode()


def newest(server: ScriptedServer, *bodies: bytes) -> int | None:
    server.replies += [Reply(body) for body in bodies]
    server.answer = lambda path, parameters: Reply(listing())
    return archive_at(server).newest_file_end_ms(BTC)


KEY = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-"


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


@pytest.mark.parametrize("date", ["2024-13", "2024-00", "2024-02-30", "0000-01"])
def test_a_date_that_does_not_exist_is_bad_payload(server, date):
    with pytest.raises(BadPayload):
        newest(server, listing(f"{KEY}{date}.zip"))


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
    with pytest.raises(BadPayload):
        newest(server, body)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_listing_is_read_or_refused(lasting_server, body):
    with contextlib.suppress(BadPayload):
        assert newest(lasting_server, body) is None
