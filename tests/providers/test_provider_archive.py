"""Binance's archive: months before days, every file verified, damaged ones never used."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

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
from tests.support.scripted_http import ScriptedServer, scripted_server

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


def test_the_week_in_which_a_month_ends_is_read_from_that_months_file(venue):
    window = span("2025-01-27", "2025-02-03")
    [page] = ask(venue, window, of=WEEKS).pages
    assert (opened_in := page.candles["open_time"].to_pylist()) == [ms("2025-01-27")]
    assert page.covers == span("2025-01-27", "2025-02-01")
    assert plain(page.candles) == plain(made(opened_in, 7 * DAY))


def test_a_week_that_is_not_over_is_not_answered(venue):
    window = span("2025-01-20", "2025-02-03")
    [page] = ask(venue, window, ms("2025-02-02"), of=WEEKS).pages
    assert page.candles["open_time"].to_pylist() == [ms("2025-01-20")]


def weeks_of_january(server: ScriptedServer, last_modified: str | None) -> BinanceArchive:
    """An archive with the weeks of 2025-01, the last of them over on the 3rd of February."""
    stem = "BTCUSDT-1w-2025-01"
    path = f"/data/spot/monthly/klines/BTCUSDT/1w/{stem}.zip"
    times = grid(span("2025-01-06", "2025-01-28"), 7 * DAY)
    server.serve_files({path: packed((f"{stem}.csv", csv(times, 7 * DAY)))})
    plainly, headers = server.answer, {"Last-Modified": last_modified} if last_modified else {}
    server.answer = lambda asked, parameters: replace(plainly(asked, parameters), headers=headers)
    return archive_at(server)


@pytest.mark.parametrize(
    "last_modified",
    ["Sun, 02 Feb 2025 23:59:59 GMT", None, "soon", "Sat, 99 Feb 2025 00:00:00 GMT", "\x7f"],
)
def test_a_file_written_before_its_last_week_was_over_says_nothing_of_that_week(
    server, last_modified
):
    archive = weeks_of_january(server, last_modified)
    [page] = archive.candles(WEEKS, span("2025-01-06", "2025-02-01"), NOW).pages
    assert page.covers == span("2025-01-06", "2025-01-27")
    assert page.candles["open_time"].to_pylist() == grid(page.covers, 7 * DAY)
    answer = archive.candles(WEEKS, span("2025-01-27", "2025-02-01"), NOW)
    assert answer.pages == []
    [problem] = answer.problems
    assert isinstance(problem.error, NotPublished)


def test_a_file_written_when_its_last_week_was_over_is_believed(server):
    archive = weeks_of_january(server, "Mon, 03 Feb 2025 00:00:00 GMT")
    window = span("2025-01-06", "2025-02-01")
    [page] = archive.candles(WEEKS, window, NOW).pages
    assert (page.covers, page.candles.num_rows) == (window, 4)


def test_a_week_inside_a_month_that_its_file_lacks_is_silence(venue):
    venue.fault("drop_rows", timeframe="1w", open_times=["2025-01-13"])
    window = span("2025-01-06", "2025-01-27")
    [page] = ask(venue, window, of=WEEKS).pages
    assert page.covers == window
    assert page.candles["open_time"].to_pylist() == [ms("2025-01-06"), ms("2025-01-20")]


def test_the_fetch_says_where_a_file_came_from(venue):
    [page] = ask(venue, JANUARY).pages
    fetch = page.fetch
    assert (fetch.provider, fetch.symbol, fetch.timeframe) == ("binance_archive", "BTCUSDT", "1h")
    assert fetch.rows == 744
    assert len(fetch.sha256) == 64
    assert fetch.etag
    assert fetch.last_modified


# -- the daily files alone ---------------------------------------------------------------------


def test_the_daily_files_alone_answer_what_the_month_answers_too(venue):
    window = span("2024-01-30T05:00", "2024-02-02")
    answer = venue_at(venue.base_url).archive.daily(BTC, window, NOW)
    assert names(answer) == [f"BTCUSDT-1h-2024-{day}.zip" for day in ("01-30", "01-31", "02-01")]
    assert answer.pages[0].covers == span("2024-01-30T05:00", "2024-01-31")
    assert opened(answer) == grid(window)
    assert answer.problems == []


def test_the_daily_files_show_what_only_the_monthly_file_has_wrong(venue):
    hour = JANUARY.start_ms + 30 * HOUR
    venue.fault(
        "restated", match="monthly", surfaces=["archive"], rows=[{"open_time": hour, "high": "9"}]
    )
    window = span("2024-01-02", "2024-01-03")
    at = venue_at(venue.base_url).archive
    [monthly], [daily] = (ask_for(BTC, window, NOW).pages for ask_for in (at.candles, at.daily))
    assert plain(daily.candles) == plain(made(grid(window)))
    assert plain(monthly.candles) != plain(daily.candles)


def test_a_day_without_a_daily_file_is_a_problem_though_its_month_has_one(venue):
    venue.fault("503", match="2024-01-02")
    answer = venue_at(venue.base_url).archive.daily(BTC, span("2024-01-01", "2024-01-04"), NOW)
    assert [problem.window for problem in answer.problems] == [span("2024-01-02", "2024-01-03")]
    assert opened(answer) == grid(span("2024-01-01", "2024-01-02")) + grid(
        span("2024-01-03", "2024-01-04")
    )


def test_a_day_that_is_not_over_is_not_asked_for_by_days_either(venue):
    answer = venue_at(venue.base_url).archive.daily(BTC, span("2025-02-20", "2025-02-22"), NOW)
    assert (answer.pages, answer.problems, venue.asked()) == ([], [], {})


def test_weeks_have_no_daily_files_and_that_is_said(venue):
    window = span("2025-01-06", "2025-01-20")
    answer = venue_at(venue.base_url).archive.daily(WEEKS, window, NOW)
    [problem] = answer.problems
    assert (problem.window, type(problem.error)) == (window, NotPublished)
    assert (answer.pages, venue.asked()) == ([], {})


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


def csv(open_times, step_ms: int = HOUR) -> bytes:
    lines = []
    for time in open_times:
        r = values_at(time, step_ms)
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
