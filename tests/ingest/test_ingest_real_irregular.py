"""Irregular real candles on the ways they would come in: each is caught and told in words."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from candlevault.errors import InvalidRequest
from candlevault.ingest import corrections, cross_validation, radar
from candlevault.ingest.load import load
from candlevault.ingest.syncs import increment
from candlevault.simulator import build_exchange, running
from candlevault.windows import Window
from tests.support.candles import fetch, register, series
from tests.support.market import HOUR, SimulatedVenue, Store, market_at, ms, span, table

NEEDED = ("open", "high", "low", "close", "volume")


def lines(shared_data: Path, name: str) -> list[dict[str, str]]:
    with (shared_data / "irregular" / name).open() as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def venue(shared_data: Path):
    exchange = build_exchange(
        f"replay:{shared_data}", end="2023-05-01", symbols=("BTCUSDT", "MATICUSDT", "ETHUSDT")
    )
    with running(exchange) as simulator:
        yield SimulatedVenue(simulator.base_url, simulator.exchange)


@pytest.fixture
def market(market_db, venue):
    venue.heal()
    venue.exchange.restatements.clear()
    return market_at(market_db, venue.base_url)


# -- restated --------------------------------------------------------------------------------


def versions(shared_data: Path, symbol: str) -> dict[int, list[dict[str, str]]]:
    """The recorded copies of restated hours of a symbol, by open time, as they were dated."""
    found = defaultdict(list)
    for line in lines(shared_data, "restated_candles_1h.csv"):
        if line["symbol"] == symbol:
            found[int(line["open_time"])].append(line)
    return found


def test_restated_hours_are_found_and_both_versions_stay_readable(
    market, market_db, venue, shared_data
):
    """The venue first serves the old copies; the archive's files are rewritten afterwards."""
    old = {}
    for time, copies in versions(shared_data, "BTCUSDT").items():
        dated = [c for c in copies if not c["snapshot"].startswith("unknown") and c["open"]]
        if dated and time < ms("2023-05-01"):
            old[time] = min(dated, key=lambda copy: copy["snapshot"])
    window = span("2020-10-01", "2022-05-01")
    restated = [
        {"market": "spot", "symbol": "BTCUSDT", "timeframe": "1h", "open_time": time,
         "values": {name: copy[name] for name in NEEDED}}
        for time, copy in old.items()
    ]  # fmt: skip
    exchange = venue.exchange
    exchange.restatements.add({"rows": restated}, exchange.source, exchange.clock.now_ms())
    report = load(market, series("1h"), window, purpose="backfill")
    store = Store(market_db, "BTCUSDT")
    before = {row["open_time"]: row for row in store.read(window)}
    assert report.lost == 0
    assert all(before[time]["close"] == Decimal(copy["close"]) for time, copy in old.items())

    exchange.restatements.clear()
    revision = store.revision
    found = radar.examine(market, store.stored)
    after = {row["open_time"]: row for row in store.read(window)}
    differing = {time for time in before if before[time] != after.get(time)}
    assert differing <= set(old)
    assert len(differing) >= 5
    assert found.candles_changed + found.candles_removed == len(differing)
    assert len(found.rewritten) >= 3
    assert {r["open_time"]: r for r in store.read(window, revision)} == before
    logged = store.rows(
        "SELECT reason, source, records_updated + records_removed, changed_fields"
        " FROM market.corrections WHERE series_id = %(id)s"
    )
    assert sum(row[2] for row in logged) == len(differing)
    assert all(row[0] == "provider_correction" and row[1].endswith(".zip") for row in logged)
    assert any("volume" in row[3] for row in logged)


# -- frozen while they were forming ----------------------------------------------------------


def frozen(shared_data: Path) -> dict[int, dict[str, Decimal]]:
    return {
        int(line["open_time"]): {name: Decimal(line[f"frozen_{name}"]) for name in NEEDED}
        for line in lines(shared_data, "MATICUSDT_1h_frozen_partial_candles.csv")
    }


def test_candles_frozen_while_they_formed_are_replaced_by_reading_again(
    market, market_db, shared_data
):
    held = frozen(shared_data)
    window = Window(min(held) - 24 * HOUR, max(held) + 24 * HOUR)
    stored = register(market.connect, series("1h", "MATICUSDT"))
    store = Store(market_db, "MATICUSDT")
    rows = [
        {"open_time": time, "close_time": time + HOUR - 1, "trades_count": 0, "source": 0}
        | {name: Decimal(0) for name in ("quote_volume", "taker_buy_base_volume",
                                         "taker_buy_quote_volume")} | values
        for time, values in sorted(held.items())
    ]  # fmt: skip
    store.publish(table(rows), window, fetches=[fetch(stored.series)])
    assert len(held) == 13

    report = corrections.reread(market, series("1h", "MATICUSDT"), window)

    assert report.outcome == "applied"
    assert report.records_updated == 13
    final = {row["open_time"]: row for row in store.read(window)}
    for line in lines(shared_data, "MATICUSDT_1h_frozen_partial_candles.csv"):
        assert final[int(line["open_time"])]["volume"] == Decimal(line["final_volume"])
    kept = store.rows(
        "SELECT count(*) FROM market.candle_revisions WHERE series_id = %(id)s AND NOT removed"
    )
    assert kept == [(13,)]
    [(reason, fields)] = store.rows(
        "SELECT reason, changed_fields FROM market.corrections WHERE series_id = %(id)s"
    )
    assert reason == "provider_correction"
    assert fields["volume"] == 13


def test_the_daily_overlap_replaces_a_frozen_candle_by_itself(market, market_db, venue):
    window = span("2023-04-20", "2023-05-01")
    load(market, series("1h"), window, purpose="backfill")
    store = Store(market_db, "BTCUSDT")
    last = store.read(window)[-5]
    body = "open_time,open,high,low,close,volume,taker_buy_base_volume\n"
    body += f"{last['open_time']},{last['open']},{last['high']},{last['low']},{last['open']},1,0\n"
    corrections.apply_file(
        market, series("1h"), body.encode(), name="half.csv", reason="as if frozen"
    )
    report = increment(market, series("1h"))
    assert report.candles_changed == 1
    assert last in store.read(window)


# -- twice, off the grid ---------------------------------------------------------------------


def test_a_row_that_came_twice_is_taken_once_and_told(market, market_db, venue):
    window = span("2023-04-01", "2023-04-02")
    venue.fault("duplicate_rows", "klines", open_times=[ms("2023-04-01T05:00")])
    report = load(market, series("1h"), window, purpose="backfill", order=("rest", "archive"))
    assert (report.stored, report.lost, report.quarantined) == (24, 0, 0)
    assert any("came more than once, identical" in told for told in report.problems)


def test_a_file_with_a_row_twice_is_refused_by_line(market, market_db, shared_data):
    load(market, series("1h"), span("2023-04-01", "2023-04-02"), purpose="backfill")
    path = shared_data / "irregular" / "BTCUSDT_5m_duplicate_row.csv"
    with pytest.raises(InvalidRequest, match=r"line 5: open_time was given before, in line 4"):
        corrections.apply_file(
            market, series("1h"), path.read_bytes(), name=path.name, reason="two downloads in one"
        )


def test_hours_off_the_grid_are_refused_in_words(market, market_db, shared_data):
    load(market, series("1h"), span("2023-04-01", "2023-04-02"), purpose="backfill")
    rows = lines(shared_data, "BTCUSDT_1h_2018-02_misaligned.csv")
    body = ["open_time,open,high,low,close,volume"] + [
        ",".join((r["timestamp"].replace(" ", "T") + "Z", *(r[name] for name in NEEDED)))
        for r in rows
    ]
    with pytest.raises(InvalidRequest) as refusal:
        corrections.apply_file(
            market, series("1h"), "\n".join(body).encode(), name="2018.csv", reason="old copy"
        )
    assert "43 candles break a rule" in str(refusal.value)
    assert "open_time_on_grid" in str(refusal.value)


# -- invented by somebody else ---------------------------------------------------------------


def interpolated(shared_data: Path, exact: bool) -> bytes:
    """The third party's hours as a correction file; `exact` keeps its many decimals."""
    out = ["open_time,open,high,low,close,volume"]
    for line in lines(shared_data, "BTCUSDT_1h_third_party_interpolated.csv"):
        values = [line[name.capitalize()] for name in NEEDED]
        if not exact:
            values = [f"{Decimal(value):.8f}" for value in values]
        out.append(",".join((line["DateTime"].replace(" ", "T") + "Z", *values)))
    return "\n".join(out).encode()


@pytest.fixture
def outages(market, market_db):
    for window in (span("2021-02-11", "2021-02-12"), span("2023-03-24", "2023-03-25")):
        assert load(market, series("1h"), window, purpose="backfill").lost == 0
    return Store(market_db, "BTCUSDT")


def test_interpolated_candles_cannot_come_in_by_a_file(market, outages, shared_data):
    before = outages.touched()
    with pytest.raises(InvalidRequest, match="at most 8 places"):
        corrections.apply_file(
            market, series("1h"), interpolated(shared_data, exact=True), name="a.csv", reason="x"
        )
    with pytest.raises(InvalidRequest, match=r"lies in a known absence .*never published it"):
        corrections.apply_file(
            market, series("1h"), interpolated(shared_data, exact=False), name="b.csv", reason="x"
        )
    assert outages.touched() == before


def test_interpolated_candles_are_named_by_comparing_sources(market, outages, shared_data):
    report = cross_validation.against_file(
        market, outages.stored, interpolated(shared_data, exact=False), "third party"
    )
    assert report.only_other == 2
    rows = outages.rows(
        "SELECT to_char(open_time, 'YYYY-MM-DD\"T\"HH24'), field, state, explanation"
        " FROM market.discrepancies WHERE series_id = %(id)s ORDER BY open_time, field"
    )
    invented = [row for row in rows if row[1] == "candle"]
    assert [row[:3] for row in invented] == [
        ("2021-02-11T04", "candle", "explained"),
        ("2023-03-24T13", "candle", "explained"),
    ]
    assert all("never published this candle" in row[3] for row in invented)
    volumes = [row[0] for row in rows if row[1] == "volume" and row[2] == "open"]
    assert {"2021-02-11T03", "2023-03-24T12"} <= set(volumes)
