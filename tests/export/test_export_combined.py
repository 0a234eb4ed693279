"""Readings over several series: every row says whose it is."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from candlevault import identities
from candlevault.errors import InvalidRequest
from candlevault.export import __main__ as command_line
from candlevault.export import candles, composite, lineage, read
from candlevault.ingest import retention
from candlevault.instruments import InstrumentFacts
from candlevault.series import parse
from candlevault.storage import series_registry
from candlevault.storage.database import connector
from candlevault.storage.publish import NewAbsence
from tests.support.market import HOUR, Store, grid, ms, span, table

WINDOW = span("2024-01-01", "2024-01-02")
HOLE = span("2024-01-01T05:00", "2024-01-01T08:00")


def kept(url: str, symbol: str, number: int = 1, venue: str = "binance") -> Store:
    """A stored series of one lifetime of a symbol."""
    store = Store.__new__(Store)
    store.url, store.connect = url, connector(url)
    store.series = parse(venue, "spot", symbol, "1h")
    lifetime = identities.lifetimes(venue, "spot", symbol)[number - 1]
    facts = InstrumentFacts(symbol, symbol, symbol.removesuffix("USDT"), "USDT", "TRADING", True)
    store.stored = series_registry.register(store.connect, store.series, facts, lifetime)
    return store


# -- composite -------------------------------------------------------------------------------

SOURCES = ["binance/spot/BTCUSDT", "kraken/spot/BTCUSDT"]


@pytest.fixture
def two(market_db) -> str:
    ours, theirs = kept(market_db, "BTCUSDT"), kept(market_db, "BTCUSDT", venue="kraken")
    ours.publish_made(WINDOW, without=grid(HOLE))
    times = grid(WINDOW)
    changes = {time: {"volume": 99_999} for time in times}
    theirs.publish_made(span("2024-01-01T04:00", "2024-01-01T07:00"), changes=changes)
    return market_db


def both(url: str, sources=SOURCES, **more):
    return composite(sources, "1h", WINDOW.start, WINDOW.end, database=url, **more)


def test_what_the_first_lacks_comes_from_the_next_and_is_labelled(two):
    frame = both(two)
    assert len(frame) == 24 - 1
    labels = frame["series"].value_counts().to_dict()
    assert labels == {"binance/spot/BTCUSDT/1h": 21, "kraken/spot/BTCUSDT/1h": 2}
    from_other = frame[frame["series"].str.startswith("kraken")]
    assert [t.hour for t in from_other.index] == [5, 6]
    assert (from_other["volume"] == 99_999).all()
    assert frame.index.is_monotonic_increasing and frame.index.is_unique


def test_the_order_is_the_priority(two):
    assert both(two, SOURCES[::-1])["series"].str.startswith("kraken").sum() == 3


def test_each_source_tells_its_fingerprint_and_what_it_lacks(two):
    told = both(two).attrs["sources"]
    assert [one["series"]["venue"] for one in told] == ["binance", "kraken"]
    alone = read("BTCUSDT", "1h", WINDOW.start, WINDOW.end, database=two)
    assert told[0]["fingerprint"] == alone.fingerprint
    assert told[0]["lost"] == [{"start": "2024-01-01T05:00:00Z", "end": "2024-01-01T08:00:00Z"}]


def test_nothing_of_it_is_stored(two):
    both(two)
    assert len(candles("BTCUSDT", "1h", WINDOW.start, WINDOW.end, database=two)) == 21


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ([], "sources: must name"),
        (["BTCUSDT"], r"sources\[0\]: must look like"),
        ([*SOURCES, "kraken/spot/ETHUSDT"], "were ever loaded"),
        (["binance/moon/BTCUSDT"], "market: must be one of"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(two, sources, told):
    with pytest.raises(InvalidRequest, match=told):
        both(two, sources)


# -- lineage ---------------------------------------------------------------------------------


@pytest.fixture
def renamed(market_db) -> str:
    kept(market_db, "MKRUSDT").publish_made(span("2024-01-01", "2024-01-02"))
    kept(market_db, "SKYUSDT").publish_made(span("2024-01-03", "2024-01-04"))
    return market_db


def test_a_coin_is_followed_back_through_its_renaming(renamed):
    frame = lineage("SKYUSDT", "1h", "2024-01-01", "2024-02-01", database=renamed)
    assert frame.groupby("symbol")["units"].unique().map(list).to_dict() == {
        "MKRUSDT": [24_000.0],
        "SKYUSDT": [1.0],
    }
    plain = candles("MKRUSDT", "1h", "2024-01-01", "2024-01-02", database=renamed)
    old = frame[frame["symbol"] == "MKRUSDT"]
    assert (old["close"].to_numpy() == plain["close"].to_numpy()).all(), "prices as traded"


def test_adjusted_prices_are_in_todays_units(renamed):
    raw = lineage("SKYUSDT", "1h", "2024-01-01", "2024-02-01", database=renamed)
    adjusted = lineage("SKYUSDT", "1h", "2024-01-01", "2024-02-01", adjusted=True, database=renamed)
    assert np.allclose(adjusted["close"] * adjusted["units"], raw["close"], rtol=1e-15)
    assert np.allclose(adjusted["volume"] / adjusted["units"], raw["volume"], rtol=1e-15)
    assert (adjusted["quote_volume"] == raw["quote_volume"]).all()


@pytest.fixture
def luna(market_db) -> str:
    kept(market_db, "LUNAUSDT", 1).publish_made(span("2022-05-10", "2022-05-12"))
    kept(market_db, "LUNAUSDT", 2).publish_made(span("2022-06-01", "2022-06-03"))
    kept(market_db, "LUNCUSDT").publish_made(span("2022-09-10", "2022-09-11"))
    return market_db


def test_a_plain_reading_over_two_instruments_is_refused(luna):
    with pytest.raises(InvalidRequest, match="2 instruments here"):
        candles("LUNAUSDT", "1h", "2022-05-01", "2022-07-01", database=luna)


def test_the_refusal_points_to_the_reading_that_can(luna):
    with pytest.raises(InvalidRequest, match=r"`lineage` reads all of them"):
        candles("LUNAUSDT", "1h", "2022-05-01", "2022-07-01", database=luna)


def test_what_lies_before_an_instruments_share_is_not_lost_to_it(luna):
    """It began on May 28; the one before had ended on the 12th."""
    proof = {"last_open_time_ms": ms("2022-05-11T23:00")}
    after = NewAbsence(span("2022-05-12", "2022-05-28"), "after_end", proof)
    first = kept(luna, "LUNAUSDT", 1)
    first.publish(table([]), after.window, absences=[after])
    found = read("LUNAUSDT", "1h", "2022-05-20", "2022-06-10", database=luna)
    assert found.lifetime == 2
    assert found.window == span("2022-05-20", "2022-06-10"), "as asked"
    assert found.lost == (span("2022-05-28", "2022-06-01"), span("2022-06-03", "2022-06-10"))


def test_adjusted_to_a_coin_that_nothing_became_is_refused_in_words(luna):
    with pytest.raises(InvalidRequest, match="adjusted: nothing in this window"):
        lineage("LUNAUSDT", "1h", "2022-05-01", "2022-05-20", adjusted=True, database=luna)


def test_asked_for_both_are_read_and_told_apart(luna):
    frame = lineage("LUNAUSDT", "1h", "2022-05-01", "2022-07-01", database=luna)
    assert frame.groupby("lifetime").size().to_dict() == {1: 48, 2: 48}
    assert frame[frame["lifetime"] == 1]["units"].isna().all(), "only the ticker is the same"
    one = lineage("LUNAUSDT", "1h", "2022-05-01", "2022-07-01", adjusted=True, database=luna)
    assert set(one["lifetime"]) == {2}


def test_the_old_coin_is_found_under_its_new_name(luna):
    frame = lineage("LUNCUSDT", "1h", "2022-05-01", "2022-12-01", database=luna)
    assert frame.groupby(["symbol", "lifetime"]).size().to_dict() == {
        ("LUNAUSDT", 1): 48,
        ("LUNCUSDT", 1): 24,
    }
    assert (frame["units"] == 1).all()


def test_a_lineage_as_of_before_anything_is_empty_but_of_one_state(luna):
    before = datetime(2020, 1, 1, tzinfo=UTC)
    frame = lineage("LUNCUSDT", "1h", "2022-05-01", "2022-12-01", as_of=before, database=luna)
    assert len(frame) == 0
    assert {one["as_of"] for one in frame.attrs["sources"]} == {"2020-01-01T00:00:00Z"}


# -- on the command line ---------------------------------------------------------------------


def printed(capsys, *arguments: str) -> tuple[int, str, str]:
    code = command_line.main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_composite_is_printed_with_its_sources_below(two, capsys, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", two)
    asked = ["--start", "2024-01-01", "--end", "2024-01-02", "--rows", "0"]
    code, out, _ = printed(capsys, "composite", "1h", *SOURCES, *asked)
    rows = [line for line in out.splitlines() if line.startswith("2024-")]
    assert (code, len(rows)) == (0, 23)
    assert [row.split()[1] for row in rows[4:7]] == [
        "binance/spot/BTCUSDT/1h", "kraken/spot/BTCUSDT/1h", "kraken/spot/BTCUSDT/1h",
    ]  # fmt: skip
    for told in both(two).attrs["sources"]:
        assert told["fingerprint"] in out
    assert "LOST         1 windows, the first [2024-01-01T05:00:00Z" in out
    few = printed(capsys, "composite", "1h", *SOURCES, *asked[:4], "--rows", "6")[1]
    assert len([line for line in few.splitlines() if line.startswith("2024-")]) == 6


def test_a_lineage_is_printed_and_its_refusals_are_one_line(luna, capsys, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", luna)
    asked = ["LUNAUSDT", "1h", "--start", "2022-05-01", "--end", "2022-07-01"]
    code, out, _ = printed(capsys, "lineage", *asked)
    assert code == 0
    assert "binance/spot/LUNAUSDT/1h (lifetime 2): 48 candles" in out
    assert "candles      96" in out
    code, out, err = printed(capsys, "candles", *asked)
    assert (code, out) == (2, "") and "`lineage` reads all of them" in err
    code, out, err = printed(capsys, "lineage", *asked[:-1], "2022-05-20", "--adjusted")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1


# -- cold months -----------------------------------------------------------------------------


def test_a_cold_month_reads_and_fingerprints_as_before(market_db):
    store = Store(market_db, "BTCUSDT")
    store.publish_made(span("2024-01-01", "2024-03-01"))
    before = candles("BTCUSDT", "1h", "2024-01-01", "2024-03-01", database=market_db)
    now = datetime(2024, 4, 1, 4, tzinfo=UTC)
    moved = retention.apply(store.connect, store.stored, 1, now, say=lambda line: None)
    assert moved.candles_moved == 60 * 24
    after = candles("BTCUSDT", "1h", "2024-01-01", "2024-03-01", database=market_db)
    assert after.equals(before)
    for key in ("fingerprint", "revision", "absences", "lost"):
        assert after.attrs[key] == before.attrs[key]
    assert ms("2024-01-01") + HOUR == int(after.index[1].timestamp() * 1000)
