"""The reading API gives what is stored, says what is missing, and can be asked again."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from candlevault.candles import AMOUNTS, PRICES
from candlevault.errors import ConfigurationError, InvalidRequest
from candlevault.export import candles, reading, resolve
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.export.conftest import EXTREME, HOLE, LOST, REVISED, WINDOW, expected
from tests.support.market import HOUR, Store, absence, grid, made, plain, span

NAMES = [*PRICES, *AMOUNTS]


def frame(story, **more) -> pd.DataFrame:
    asked = {"start": WINDOW.start, "end": WINDOW.end, "database": story.url} | more
    return candles("BTCUSDT", "1h", **asked)


def rows_of(candle_set) -> list[dict]:
    return candle_set.table.to_pylist()


def test_a_set_holds_exactly_the_stored_values(hours):
    assert rows_of(hours) == expected()
    assert len(hours) == 45


def test_the_frame_has_the_promised_index_columns_and_types(story):
    df = frame(story)
    assert df.index.name == "open_time"
    assert str(df.index.tz) == "UTC" and df.index.is_monotonic_increasing
    assert list(df.index) == [pd.Timestamp(r["open_time"], unit="ms", tz="UTC") for r in expected()]
    assert list(df.columns) == [*NAMES, "trades_count", "close_time"]
    assert {str(df[name].dtype) for name in NAMES} == {"float64"}
    assert str(df["trades_count"].dtype) == "int64"
    assert str(df["close_time"].dtype) == "datetime64[ms, UTC]"
    irregular = df.loc[pd.Timestamp("2024-01-02T06:00Z"), "close_time"]
    assert irregular == pd.Timestamp(EXTREME + 1_234_567, unit="ms", tz="UTC")


def test_floats_are_the_nearest_and_decimals_are_exact_on_request(story):
    loose, exact = frame(story), frame(story, exact=True)
    for name in NAMES:
        stored = [row[name] for row in expected()]
        assert exact[name].tolist() == stored
        assert all(isinstance(value, Decimal) for value in exact[name])
        assert loose[name].tolist() == [float(value) for value in stored]


def test_attributes_tell_what_was_read_and_what_is_missing(story):
    found = frame(story, as_of=story.revised).attrs
    store = Store(story.url, "BTCUSDT")
    assert found == {
        "series": "binance/spot/BTCUSDT/1h",
        "window": {"start": "2024-01-01T00:00:00Z", "end": "2024-01-03T00:00:00Z"},
        "as_of": story.revised.isoformat().replace("+00:00", "Z"),
        "revision": store.revision,
        "fingerprint": store.fingerprint(WINDOW),
        "absences": [
            {
                "start": "2024-01-01T10:00:00Z",
                "end": "2024-01-01T12:00:00Z",
                "reason": "not_published",
            }
        ],
        "lost": [{"start": "2024-01-02T20:00:00Z", "end": "2024-01-02T21:00:00Z"}],
    }


def test_the_frame_can_be_saved_by_pandas_attributes_included(story, tmp_path):
    df = frame(story)
    df.to_parquet(tmp_path / "f.parquet")
    assert pd.read_parquet(tmp_path / "f.parquet").attrs == df.attrs


def test_an_old_state_is_read_with_its_old_values_and_fingerprint(story):
    old, new = story.read(as_of=story.first), story.read()
    assert rows_of(old) == expected(revised=False)
    assert rows_of(new) == expected()
    assert rows_of(old) != rows_of(new)
    store = Store(story.url, "BTCUSDT")
    assert old.fingerprint == store.fingerprint(WINDOW, old.revision)
    assert new.fingerprint == store.fingerprint(WINDOW)
    assert old.fingerprint != new.fingerprint


def test_before_anything_was_recorded_everything_was_lost(story):
    before = story.read(as_of=story.nothing)
    assert (before.revision, len(before), before.absences) == (0, 0, ())
    assert before.lost == (WINDOW,)


def test_what_a_frame_says_of_itself_reads_the_same_again(story):
    df = frame(story)
    told = df.attrs
    again = candles("BTCUSDT", "1h", **told["window"], as_of=told["as_of"], database=story.url)
    assert again.attrs == told
    pd.testing.assert_frame_equal(again, df)


@pytest.mark.parametrize(
    "window",
    [
        Window(WINDOW.start_ms + HOUR, WINDOW.end_ms - HOUR),
        Window(HOLE.start_ms - HOUR, HOLE.end_ms + HOUR),
        Window(HOLE.start_ms, HOLE.end_ms),
        Window(HOLE.start_ms + HOUR, LOST.end_ms),
        Window(REVISED, REVISED + 1),
        Window(REVISED + 1, REVISED + HOUR),
        span("2023-01-01", "2023-02-01"),
    ],
    ids=str,
)
def test_any_window_reads_its_own_part(story, window):
    found = story.read(window)
    assert rows_of(found) == [
        row for row in expected() if window.start_ms <= row["open_time"] < window.end_ms
    ]
    assert found.fingerprint == Store(story.url, "BTCUSDT").fingerprint(window)
    hole = HOLE.intersection(window)
    assert [one.window for one in found.absences] == ([hole] if hole else [])


def test_times_can_be_written_in_many_ways(story):
    reference = frame(story)
    berlin = timezone(timedelta(hours=1))
    for start, end in [
        ("2024-01-01", "2024-01-03"),
        (date(2024, 1, 1), date(2024, 1, 3)),
        ("2024-01-01T00:00", "2024-01-03T00:00:00Z"),
        ("2024-01-01T01:00+01:00", datetime(2024, 1, 3, 1, tzinfo=berlin)),
        (pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-03", tz="UTC")),
    ]:
        found = frame(story, start=start, end=end)
        pd.testing.assert_frame_equal(found, reference)
        assert found.attrs["window"] == reference.attrs["window"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("start", {"start": "yesterday"}),
        ("start", {"start": datetime(2024, 1, 1)}),  # noqa: DTZ001
        ("start", {"start": pd.NaT}),
        ("start", {"start": 1_704_067_200}),
        ("start", {"start": None}),
        ("start", {"start": np.datetime64("2024-01-01")}),
        ("start", {"start": "1969-12-31"}),
        ("end", {"end": "2024-13-01"}),
        ("end", {"end": WINDOW.start}),
        ("end", {"end": "2023-01-01"}),
        ("as_of", {"as_of": "soon"}),
        ("as_of", {"as_of": datetime.now(UTC) + timedelta(days=1)}),
        ("venue", {"venue": "Not A Venue"}),
        ("market", {"market": "moon"}),
    ],
)
def test_bad_input_names_its_field(story, field, changes):
    with pytest.raises(InvalidRequest) as refused:
        frame(story, **changes)
    assert refused.value.field == field


def test_bad_names_are_refused(story):
    for symbol, timeframe, field in [("BTC/USDT", "1h", "symbol"), ("BTCUSDT", "7h", "timeframe")]:
        with pytest.raises(InvalidRequest) as refused:
            candles(symbol, timeframe, "2024-01-01", "2024-01-02", database=story.url)
        assert refused.value.field == field


def test_an_unknown_series_says_how_to_load_it(story):
    with pytest.raises(InvalidRequest, match="backfill__SOLUSDT__1h") as refused:
        candles("SOLUSDT", "1h", "2024-01-01", "2024-01-02", database=story.url)
    assert refused.value.field == "symbol"


def test_without_a_database_the_error_says_which_variable(monkeypatch):
    monkeypatch.delenv("CANDLEVAULT_DB_URL", raising=False)
    with pytest.raises(ConfigurationError, match="CANDLEVAULT_DB_URL"):
        candles("BTCUSDT", "1h", "2024-01-01", "2024-01-02")


def test_the_database_is_that_of_the_environment(story, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", story.url)
    assert len(candles("BTC", "1h", WINDOW.start, WINDOW.end)) == 45


def test_assets_come_from_the_store_or_from_the_name(hours):
    assert (hours.base_asset, hours.quote_asset) == ("BTC", "USDT")


def test_a_read_sees_one_state_whatever_is_published_meanwhile(market_db, monkeypatch):
    store = Store(market_db)
    window = span("2024-01-01", "2024-01-02")
    store.publish_made(window)
    whole = candle_reads.read
    seen = []

    def look(connection):
        count = connection.execute("SELECT count(*) FROM market.series_revisions").fetchone()[0]
        seen.append(count)

    def read_and_be_overtaken(connection, stored, part, revision):
        look(connection)
        found = whole(connection, stored, part, revision)
        publisher = threading.Thread(
            target=lambda: store.publish(
                made([window.start_ms], changes={window.start_ms: {"trades_count": 99_999}}), window
            )
        )
        publisher.start()
        publisher.join()
        hole = Window(window.end_ms, window.end_ms + HOUR)
        store.publish(made([]), hole, absences=[absence(hole)])
        look(connection)
        return found

    monkeypatch.setattr(candle_reads, "read", read_and_be_overtaken)
    wide = Window(window.start_ms, window.end_ms + HOUR)
    found = reading.read(store.series.symbol, "1h", wide.start, wide.end, database=store.connect)
    monkeypatch.undo()
    assert seen == [1, 1]
    assert found.revision == 1 and store.revision == 3
    assert found.absences == ()
    assert found.fingerprint == store.fingerprint(wide, 1) != store.fingerprint(wide)
    again = reading.read(
        store.series.symbol, "1h", wide.start, wide.end, as_of=found.as_of, database=store.connect
    )
    assert (again.revision, again.fingerprint) == (1, found.fingerprint)


def test_a_long_read_comes_in_parts_and_tells_how_far_it_is(story, monkeypatch):
    reference = story.read()
    monkeypatch.setattr(reading, "_CHUNK", 7)
    told, clock = [], iter(range(0, 10_000, 3))
    monkeypatch.setattr(reading.time, "monotonic", lambda: next(clock))
    found = story.read(say=told.append)
    monkeypatch.undo()
    assert rows_of(found) == rows_of(reference)
    assert found.fingerprint == reference.fingerprint
    assert len(told) > 3 and "binance/spot/BTCUSDT/1h" in told[0] and "100 %" in told[-1]


def test_a_window_that_reaches_very_far_is_read_in_few_parts(story, monkeypatch):
    parts, whole = [], candle_reads.read

    def counting(connection, stored, part, revision):
        parts.append(part)
        return whole(connection, stored, part, revision)

    monkeypatch.setattr(candle_reads, "read", counting)
    found = story.read(span("1970-01-01", "9999-01-01"))
    assert rows_of(found) == expected()
    assert len(parts) < 150


def test_default_venue_and_market_are_those_of_the_database(market_db):
    with connector(market_db)() as connection:
        connection.execute(
            "UPDATE market.settings SET value = 'simulated' WHERE name = 'default_venue'"
        )
        series = resolve.series_of(connection, "eth", "1d", None, None)
        given = resolve.series_of(connection, "ETHUSDT", "1d", "binance", "um")
        stock = resolve.series_of(connection, "AAPL", "1d", "broker", "stocks")
    assert str(series) == "simulated/spot/ETHUSDT/1d"
    assert str(given) == "binance/um/ETHUSDT/1d"
    assert stock.symbol == "AAPL"


def test_the_small_story_really_has_a_hole_a_loss_and_a_revision(story):
    """What the other tests rely on."""
    store = Store(story.url, "BTCUSDT")
    assert plain_times(store) == [
        t for t in grid(WINDOW) if not (HOLE.contains(t) or t == LOST.start_ms)
    ]
    assert store.revision == 2
    with store.connect() as connection:
        assert series_registry.find(connection, store.series) is not None
        assert candle_reads.account(connection, store.stored, WINDOW).lost_windows == [LOST]


def plain_times(store: Store) -> list[int]:
    with store.connect() as connection:
        table = candle_reads.read(connection, store.stored, WINDOW, store.revision)
    return [row["open_time"] for row in plain(table)]
