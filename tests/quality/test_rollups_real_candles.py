"""The conservation law over real candles: every mismatch is listed, and explained where it can be.

Hours that Binance restated stand in the store first as they were before, so that the old
versions are on record. `-s` prints the figures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from candlevault.quality import rollups, sql_tests
from candlevault.storage import series_registry
from candlevault.storage.database import Connect, connector
from candlevault.timeframe import from_ms
from tests.quality import real_candles as real
from tests.support.candles import ms, window

YEARS = window("2020-01-01", "2025-10-01")

Key = tuple[str, str, str]
"""Symbol, coarse and finer timeframe."""


@dataclass(frozen=True)
class Held:
    """Candles and columns that differ: candles open and explained, columns open."""

    open: int = 0
    explained: int = 0
    columns: str = ""


# Before 2020-11-28 the hours of this copy have passed through floating point: quote volumes
# are off in their last digit.
FLOATS = {
    ("BTCUSDT", "1d", "1h"): Held(90, 0, "quote_volume 85, taker_buy_quote_volume 18"),
    ("BTCUSDT", "4h", "1h"): Held(153, 0, "quote_volume 145, taker_buy_quote_volume 24"),
}

# 2021-04-22T02, 04-23T01 and 04-23T02 were restated several times; of the minutes, five
# minutes and hours of these copies each is of another time, and no earlier version of any of
# them makes the sums of another.
APRIL_2021 = {
    ("BTCUSDT", "1d", "1m"): Held(2, 0, "volume 2"),
    ("BTCUSDT", "4h", "1m"): Held(2, 0, "low 1, volume 2"),
    ("BTCUSDT", "1h", "1m"): Held(3, 0, "close 1, high 1, low 1, volume 3"),
    ("BTCUSDT", "5m", "1m"): Held(16, 0, "high 4, low 2, volume 16"),
    ("DOGEUSDT", "1d", "1m"): Held(2, 0, "volume 2"),
    ("DOGEUSDT", "1h", "1m"): Held(3, 0, "close 1, high 1, low 1, volume 3"),
    ("ETHUSDT", "1d", "1m"): Held(2, 0, "volume 2"),
    ("ETHUSDT", "4h", "1m"): Held(2, 0, "volume 2"),
    ("ETHUSDT", "1h", "1m"): Held(3, 0, "close 1, volume 3"),
    ("ETHUSDT", "5m", "1m"): Held(16, 0, "high 4, low 2, volume 16"),
}

# The five minutes hold old values. 2020-12-21T13 and 2021-01-11T08 are explained by the hours
# whose old versions are on record, in the coarser timeframes as well; 2021-04-22 and 04-23 are
# as above.
JULY_2021 = {
    ("BTCUSDT", "1h", "5m"): Held(3, 2, "close 1, volume 3"),
    ("BTCUSDT", "4h", "5m"): Held(2, 2, "volume 2"),
    ("BTCUSDT", "1d", "5m"): Held(2, 2, "volume 2"),
    ("ETHUSDT", "1h", "5m"): Held(3, 2, "close 1, volume 3"),
    ("ETHUSDT", "4h", "5m"): Held(2, 2, "volume 2"),
    ("ETHUSDT", "1d", "5m"): Held(2, 2, "volume 2"),
    # No earlier version of an hour of XRPUSDT is on record.
    ("XRPUSDT", "1h", "5m"): Held(5, 0, "close 2, high 1, low 1, volume 5"),
    ("XRPUSDT", "1d", "5m"): Held(4, 0, "volume 4"),
}

# The days hold old values of hours restated in December 2021 and March 2022. On 2020-12-21 the
# hours are the old ones and the day is not; of 2021-01-21 nothing is on record.
LUNA = {("LUNAUSDT", "1d", "1h"): Held(2, 4, "volume 2")}

HELD: dict[Key, Held] = FLOATS | APRIL_2021 | JULY_2021 | LUNA

COMPARED: dict[Key, int] = {
    ("ADAUSDT", "1d", "1h"): 2100,
    ("ARBUSDT", "1d", "1h"): 534,
    ("BTCUSDT", "5m", "1m"): 8583,
    ("BTCUSDT", "15m", "1m"): 2879,
    ("BTCUSDT", "15m", "5m"): 0,
    ("BTCUSDT", "1h", "1m"): 3253,
    ("BTCUSDT", "1h", "5m"): 7199,
    ("BTCUSDT", "1h", "15m"): 6600,
    ("BTCUSDT", "4h", "1m"): 812,
    ("BTCUSDT", "4h", "5m"): 1803,
    ("BTCUSDT", "4h", "15m"): 1650,
    ("BTCUSDT", "4h", "1h"): 12599,
    ("BTCUSDT", "1d", "1m"): 132,
    ("BTCUSDT", "1d", "5m"): 299,
    ("BTCUSDT", "1d", "15m"): 275,
    ("BTCUSDT", "1d", "1h"): 2100,
    ("BTCUSDT", "1d", "4h"): 2100,
    ("DOGEUSDT", "1h", "1m"): 716,
    ("DOGEUSDT", "1d", "1m"): 29,
    ("DOGEUSDT", "1d", "1h"): 2100,
    ("ETHUSDT", "5m", "1m"): 8583,
    ("ETHUSDT", "15m", "1m"): 2879,
    ("ETHUSDT", "15m", "5m"): 0,
    ("ETHUSDT", "1h", "1m"): 3253,
    ("ETHUSDT", "1h", "5m"): 5481,
    ("ETHUSDT", "1h", "15m"): 6600,
    ("ETHUSDT", "4h", "1m"): 812,
    ("ETHUSDT", "4h", "5m"): 1373,
    ("ETHUSDT", "4h", "15m"): 1650,
    ("ETHUSDT", "4h", "1h"): 12599,
    ("ETHUSDT", "1d", "1m"): 132,
    ("ETHUSDT", "1d", "5m"): 228,
    ("ETHUSDT", "1d", "15m"): 275,
    ("ETHUSDT", "1d", "1h"): 2100,
    ("ETHUSDT", "1d", "4h"): 2100,
    ("LINKUSDT", "1d", "1h"): 2100,
    ("LUNAUSDT", "1d", "1h"): 578,
    ("MATICUSDT", "1d", "1h"): 1264,
    ("SOLUSDT", "1h", "15m"): 18967,
    ("SOLUSDT", "1d", "15m"): 791,
    ("SOLUSDT", "1d", "1h"): 1877,
    ("XRPUSDT", "1h", "5m"): 5481,
    ("XRPUSDT", "1d", "5m"): 228,
    ("XRPUSDT", "1d", "1h"): 2100,
}
"""Candles of which every finer one is stored or was never published."""

SOME = frozenset({"ARBUSDT", "BTCUSDT", "LUNAUSDT", "MATICUSDT", "XRPUSDT"})


@pytest.fixture(
    scope="module", params=[SOME, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"]
)
def symbols(request, postgres_server, market_template, shared_data):
    """A store with the files of some symbols, or of all, and which those are."""
    with postgres_server.database(market_template) as url:
        connect = connector(url)
        before = real.restated(shared_data)
        for of in real.real_series(shared_data):
            if request.param is None or of.series.symbol in request.param:
                real.store(connect, of, before.get(of.series))
        yield connect, request.param


def held(connect: Connect) -> dict[Key, Held]:
    """What market.discrepancies holds, by pair."""
    with connect() as connection:
        rows = connection.execute(
            "SELECT n.symbol, n.timeframe, d.other, d.open_time, d.field, d.state"
            " FROM market.discrepancies d JOIN market.series_names n USING (series_id)"
            " ORDER BY d.field"
        ).fetchall()
    found: dict[Key, Held] = {}
    for key in {row[:3] for row in rows}:
        told = [row[3:] for row in rows if row[:3] == key]
        times = {state: {time for time, _, s in told if s == state} for _, _, state in told}
        columns = Counter(field for _, field, state in told if state == "open")
        found[key] = Held(
            len(times.get("open", ())),
            len(times.get("explained", ())),
            ", ".join(f"{name} {count}" for name, count in columns.items()),
        )
    return found


def test_real_candles_agree_but_for_the_listed_mismatches(symbols):
    connect, some = symbols
    compared: dict[Key, int] = {}
    for stored in series_registry.everything(connect):
        for pair, count in rollups.examine(connect, stored, YEARS).compared.items():
            coarse, finer = pair.split(" = ")
            key = (stored.series.symbol, coarse, finer)
            # Every pair is compared twice: from its coarse side and from its finer one.
            assert compared.setdefault(key, count) == count
    found = held(connect)
    for key, count in sorted(compared.items()):
        print(*key, f"compared {count}", found.get(key, "all agree"))
    print(
        f"compared {sum(compared.values())}, open {sum(h.open for h in found.values())},"
        f" explained {sum(h.explained for h in found.values())} candles"
    )
    mine = {key for key in COMPARED if some is None or key[0] in some}
    assert compared == {key: COMPARED[key] for key in mine}
    assert found == {key: HELD[key] for key in mine & HELD.keys()}
    with connect() as connection:
        for stored in series_registry.everything(connect):
            for outcome in sql_tests.run(
                connection, LISTED, stored.series_id, YEARS, from_ms(ms("2025-10-01"))
            ):
                assert outcome.passed, (str(stored), outcome.samples)


LISTED = tuple(
    test for test in sql_tests.project_tests() if test.name == "assert_coarse_equals_children"
)


def test_explanations_name_the_restated_hours(symbols):
    connect, _ = symbols
    with connect() as connection:
        told = {
            (row[0], row[1], f"{row[2]:%Y-%m-%d}"): row[3]
            for row in connection.execute(
                "SELECT n.symbol, n.timeframe, d.open_time, d.explanation"
                " FROM market.discrepancies d JOIN market.series_names n USING (series_id)"
                " WHERE d.state = 'explained'"
            ).fetchall()
        }
    hour = told["BTCUSDT", "1h", "2020-12-21"]
    assert hour.startswith("1h candle 2020-12-21T13:00Z restated at ")
    assert hour.endswith("the 5m candles still hold the old values")
    day = told["BTCUSDT", "1d", "2021-01-11"]
    assert day.startswith("1h candle 2021-01-11T08:00Z restated at ")
    assert day.endswith("the 5m candles still hold the old values, the 1d candles the new ones")
    luna = told["LUNAUSDT", "1d", "2022-03-08"]
    assert luna.startswith("1h candles 2022-03-08T03:00Z, 2022-03-08T04:00Z restated at ")
    assert luna.endswith("the 1d candles still hold the old values")
