"""Real BTCUSDT hours through corrections and retention: the past stays what it was."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from candlevault.backtest import jobs
from candlevault.errors import ColdFileDamaged
from candlevault.ingest import corrections, retention
from candlevault.ingest.load import load
from candlevault.quality import check, months
from candlevault.simulator import build_exchange, running
from candlevault.storage import candle_reads, cold, impact
from candlevault.timeframe import from_ms, to_ms
from tests.support.candles import series
from tests.support.market import HOUR, SimulatedVenue, Store, market_at, span

FULL = span("2020-01-01", "2025-10-01")
CORRECTIONS = 1_000
SEED = 20260101
WINDOWS = {
    "first years": ("2020-01-01T00:00:00Z", "2022-01-01T00:00:00Z"),
    "a quiet week": ("2023-07-03T00:00:00Z", "2023-07-10T00:00:00Z"),
    "everything": ("2020-01-01T00:00:00Z", "2025-10-01T00:00:00Z"),
    "the last month": ("2025-09-01T00:00:00Z", "2025-10-01T00:00:00Z"),
}
UNTOUCHED = span("2023-07-03", "2023-07-10")


@pytest.fixture(scope="module")
def venue(shared_data):
    exchange = build_exchange(f"replay:{shared_data}", end="2025-10-01", symbols=("BTCUSDT",))
    with running(exchange) as simulator:
        yield SimulatedVenue(simulator.base_url, simulator.exchange)


@pytest.fixture
def market(market_db, venue):
    market = market_at(market_db, venue.base_url)
    assert load(market, series("1h"), FULL, purpose="backfill").lost == 0
    return market


@pytest.fixture
def store(market, market_db) -> Store:
    return Store(market_db, "BTCUSDT")


def backtest(market, run: str, window: tuple[str, str], as_of: datetime | None = None) -> dict:
    """One backtest from payload to stored result."""
    conf = {
        "symbol": "BTCUSDT",
        "timeframe": "1h",
        "start_time": window[0],
        "end_time": window[1],
        "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
    }
    if as_of is not None:
        conf["data"] = {"as_of": as_of.isoformat()}
    request = jobs.accept(
        market.connect,
        lambda *_: market.venue,
        run,
        conf,
        default_venue="binance",
    )
    jobs.gather(market.connect, run, request, lambda *_: pytest.fail("nothing may be fetched"))
    done = jobs.execute(market.connect, run, request)
    return {key: value for key, value in done.items() if key != "backtest_id"}


def trades(store: Store, run: str) -> list[tuple]:
    return store.rows(
        "SELECT t.trade_no, t.entry_time, t.entry_price, t.exit_time, t.exit_price, t.quantity,"
        " t.pnl, t.mae_pct, t.mfe_pct FROM market.trades t JOIN market.backtests USING"
        " (backtest_id) WHERE dag_run_id = %(run)s ORDER BY trade_no",
        run=run,
    )


def database_now(store: Store) -> datetime:
    [(now,)] = store.rows("SELECT clock_timestamp()")
    return now


def correct_at_random(market, store: Store, rng: random.Random) -> list[int]:
    """CORRECTIONS candles outside UNTOUCHED get other prices and volumes; their open times."""
    rows = {
        row["open_time"]: row
        for row in store.read(FULL)
        if not UNTOUCHED.contains(row["open_time"])
    }
    chosen = rng.sample(sorted(rows), CORRECTIONS)
    lines = ["open_time,open,high,low,close,volume"]
    for time in chosen:
        row = rows[time]
        shift = Decimal(rng.randrange(1, 10**6)) / 10**8
        scale = 1 + shift
        prices = [(row[name] * scale).quantize(Decimal("0.00000001")) for name in
                  ("open", "high", "low", "close")]  # fmt: skip
        volume = row["volume"] + Decimal(rng.randrange(1, 10**6)) / 10**6
        lines.append(",".join(map(str, (time, *prices, volume))))
    for part in range(4):
        body = "\n".join([lines[0], *lines[1 + part :: 4], ""]).encode()
        report = corrections.apply_file(
            market, series("1h"), body, name=f"part{part}.csv", reason="random correction"
        )
        assert report.records_updated == CORRECTIONS // 4
    return chosen


@pytest.mark.slow
def test_a_thousand_corrections_leave_the_past_as_it_was(market, store):
    for name, window in WINDOWS.items():
        backtest(market, f"before {name}", window)
    reference = {
        name: backtest(market, f"reference {name}", window, database_now(store))
        for name, window in WINDOWS.items()
    }
    as_of = database_now(store)
    revision = store.revision
    fingerprint = store.fingerprint(FULL)
    rows = store.read(FULL)

    chosen = correct_at_random(market, store, random.Random(SEED))

    assert store.revision > revision
    assert store.fingerprint(FULL) != fingerprint
    with store.connect() as connection:
        assert candle_reads.revision_at(connection, store.stored, as_of) == revision
    assert store.fingerprint(FULL, revision) == fingerprint
    assert store.read(FULL, revision) == rows
    changed = [row["open_time"] for row, old in zip(store.read(FULL), rows, strict=True)
               if row != old]  # fmt: skip
    assert changed == sorted(chosen)

    for name, window in WINDOWS.items():
        after = backtest(market, f"as of {name}", window, as_of)
        assert {k: v for k, v in after.items() if k != "result_hash"} == {
            k: v for k, v in reference[name].items() if k != "result_hash"
        }, name
        assert trades(store, f"as of {name}") == trades(store, f"reference {name}")
        assert trades(store, f"as of {name}") == trades(store, f"before {name}")
        if name != "a quiet week":
            now = backtest(market, f"now {name}", window)
            assert now["data_fingerprint"] != after["data_fingerprint"]

    found = {one.dag_run_id: one for one in impact.affected(store.connect)}
    expected = {
        f"{kind} {name}"
        for name, window in WINDOWS.items()
        for kind in ("before", "reference", "as of")
        if name != "a quiet week"
    }
    assert set(found) == expected
    for run, one in found.items():
        start, end = (
            datetime.fromisoformat(text)
            for text in WINDOWS[run.split(" ", 1)[1].removeprefix("of ")]
        )
        inside = {time for time in chosen if to_ms(start) <= time < to_ms(end)}
        assert one.changed_candles == len(inside)
        lying = {
            (number, time)
            for number, entry, _, out, *_ in trades(store, run)
            for time in inside
            if to_ms(entry) - HOUR <= time <= to_ms(out)
        }
        told = {(t.trade_no, to_ms(datetime.fromisoformat(t.open_time))) for t in one.trades}
        assert told == lying


def test_the_same_question_as_of_the_same_time_is_the_same_to_the_byte(market, store):
    as_of = database_now(store)
    window = WINDOWS["the last month"]
    first = backtest(market, "first", window, as_of)
    correct_at_random(market, store, random.Random(SEED + 1))
    assert backtest(market, "second", window, as_of) == first


@pytest.mark.slow
def test_retention_on_nearly_six_years_of_hours(market, store):
    now = datetime(2025, 10, 1, 4, tzinfo=UTC)
    windows = [FULL, span("2020-01-01", "2021-01-01"), span("2024-09-20", "2024-10-10")]
    as_of = database_now(store)
    correct_at_random(market, store, random.Random(SEED + 2))
    revisions = [store.revision, store.revision - 2]

    def reading() -> list:
        return [(store.read(w, r), store.fingerprint(w, r)) for w in windows for r in revisions]

    def coverage() -> tuple:
        report = check.check(store.connect, store.stored, FULL, FULL.end_ms + 60_000)
        return (report.expected, report.stored, report.known_absent, report.lost,
                report.completeness_percentage, report.raw_percentage,
                [finding.check for finding in report.failures])  # fmt: skip

    before = reading(), coverage()
    results = {
        name: backtest(market, f"hot {name}", window, as_of) for name, window in WINDOWS.items()
    }
    ledger = "SELECT month, stored, lost, content_hash FROM market.series_months"
    months.take(store.connect, store.stored, FULL)
    hashes = store.rows(f"{ledger} WHERE series_id = %(id)s ORDER BY month")

    report = retention.apply(
        store.connect, store.stored, 12, now, say=lambda line: None, linger=timedelta(0)
    )

    hot = store.rows("SELECT count(*) FROM market.candles_1h WHERE series_id = %(id)s")[0][0]
    assert report.hot_candles == hot == 365 * 24
    assert report.candles_moved == 50_368 - hot
    assert report.cold_months == 57
    assert [name for name in report.partitions_dropped if "candles_1h" in name] == [
        f"candles_1h_{year}" for year in (2020, 2021, 2022, 2023)
    ]
    assert (reading(), coverage()) == before
    assert store.rows(f"{ledger} WHERE series_id = %(id)s ORDER BY month") == hashes
    for name, window in WINDOWS.items():
        assert backtest(market, f"cold {name}", window, as_of) == results[name], name
        assert trades(store, f"cold {name}") == trades(store, f"hot {name}")
    print(
        f"\nretention: {report.candles_moved:,} candles in {report.cold_months} files,"
        f" {report.cold_bytes / report.candles_moved:.1f} bytes a candle; {hot:,} hot"
    )


def test_one_flipped_byte_is_reported(market, store, cold_tier):
    retention.apply(
        store.connect, store.stored, 12, datetime(2025, 10, 1, 4, tzinfo=UTC), say=lambda line: None
    )
    with store.connect() as connection:
        files = cold.files(connection, store.stored.series_id, FULL)
    victim = random.Random(SEED).choice(files)
    path = cold_tier / victim.path
    body = bytearray(path.read_bytes())
    body[random.Random(SEED).randrange(len(body))] ^= 0x10
    path.write_bytes(bytes(body))
    with pytest.raises(ColdFileDamaged) as error:
        store.read(FULL)
    assert victim.path in error.value.path
    with pytest.raises(ColdFileDamaged):
        backtest(market, "damaged", WINDOWS["everything"])
    assert from_ms(victim.first_ms).strftime("%Y-%m") == f"{victim.month:%Y-%m}"
