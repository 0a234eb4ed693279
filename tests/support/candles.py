"""Small self-made candles, and the short way of getting them into a database.

A row is a dict of the columns of `candlevault.candles` with decimals, made by `row` and
changed at will; `table` turns rows into what providers hand over.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from candlevault import candles, windows
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Fetch, Rejected
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.storage import ledger, publish, series_registry
from candlevault.storage.database import Connect
from candlevault.storage.publish import NewAbsence, Published
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import Timeframe, to_ms
from candlevault.windows import Window

Row = dict[str, object]

_SUMMED = (*candles.AMOUNTS, "trades_count")
_numbers = itertools.count(1)


def ms(text: str) -> int:
    """Epoch milliseconds of an ISO date or instant, UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def window(start: str, end: str) -> Window:
    """The window of two ISO dates or instants."""
    return Window(ms(start), ms(end))


def series(timeframe: str, symbol: str = "BTCUSDT") -> Series:
    """A series of Binance spot."""
    return parse_series("binance", "spot", symbol, timeframe)


def row(timeframe: Timeframe, open_time: int, price: object = 100, **changes: object) -> Row:
    """A plausible candle that opens at `price` and closes one higher; `changes` override."""
    price = Decimal(str(price))
    values: Row = {
        "open_time": open_time,
        "open": price,
        "high": price + 2,
        "low": price - Decimal("0.5"),
        "close": price + 1,
        "volume": Decimal("10.25"),
        "quote_volume": Decimal("1030.5"),
        "taker_buy_base_volume": Decimal("4.125"),
        "taker_buy_quote_volume": Decimal("414.75"),
        "trades_count": 7,
        "close_time": open_time + timeframe.step_ms - 1,
        "source": 0,
    }
    assert changes.keys() <= values.keys()
    return values | changes


def rows(timeframe: Timeframe, span: Window) -> list[Row]:
    """One plausible candle for every open_time of `span`."""
    times = windows.expected_open_times(span, timeframe)
    return [row(timeframe, int(time), 100 + i % 50) for i, time in enumerate(times)]


def quiet(candle: Row, price: Decimal) -> Row:
    """The candle without a trade, as venues send it: every price is the last one."""
    return candle | dict.fromkeys(candles.PRICES, price) | dict.fromkeys(_SUMMED, 0)


def walk(timeframe: Timeframe, span: Window, seed: int = 1) -> list[Row]:
    """A random walk over `span`: candles whose sums and extremes tell them apart."""
    chance = random.Random(seed)
    made, price = [], Decimal(40_000)
    for time in windows.expected_open_times(span, timeframe):
        close = price + Decimal(chance.randint(-9_000, 9_000)) / 100
        volume = Decimal(chance.randint(1, 10**9)) / 10**6
        bought = volume * chance.randint(0, 100) / 100
        made.append(
            row(
                timeframe,
                int(time),
                open=price,
                high=max(price, close) + Decimal(chance.randint(0, 999)) / 100,
                low=min(price, close) - Decimal(chance.randint(0, 999)) / 100,
                close=close,
                volume=volume,
                quote_volume=volume * 2,
                taker_buy_base_volume=bought,
                taker_buy_quote_volume=bought * 2,
                trades_count=chance.randint(1, 5_000),
            )
        )
        price = close
    return made


def resample(finer: Iterable[Row], timeframe: Timeframe) -> list[Row]:
    """The candles of a coarser timeframe, as a venue makes them of the same trades."""
    made = []
    for time, group in itertools.groupby(finer, lambda r: timeframe.floor(r["open_time"])):
        parts = list(group)
        traded = [part for part in parts if part["volume"]] or parts
        made.append(
            row(
                timeframe,
                time,
                open=traded[0]["open"],
                high=max(part["high"] for part in traded),
                low=min(part["low"] for part in traded),
                close=traded[-1]["close"],
                **{name: sum(part[name] for part in parts) for name in _SUMMED},
            )
        )
    return made


def table(made: Sequence[Row]) -> pa.Table:
    """The rows as a table of candles, in the order given."""
    columns = {
        field.name: pa.array([line[field.name] for line in made], field.type)
        for field in candles.SCHEMA
    }
    return pa.table(columns, candles.SCHEMA)


def fetch(of: Series, provider: str = "binance_archive", **changes: object) -> Fetch:
    """Where candles of a series came from; every call gives another URL."""
    number = next(_numbers)
    values: dict[str, object] = {
        "provider": provider,
        "symbol": of.symbol,
        "timeframe": of.timeframe.code,
        "url": f"https://venue.test/{of.slug}/{number}",
        "sha256": f"{number:064x}",
        "bytes": 1000,
        "rows": 10,
        "fetched_at": datetime(2024, 3, 1, tzinfo=UTC) + timedelta(seconds=number),
        "duration_ms": 12,
    }
    return Fetch(**(values | changes))


def absence(start: str, end: str, reason: str = "not_published") -> NewAbsence:
    """A known absence with complete evidence."""
    span = window(start, end)
    answer = [{"url": "https://venue.test/answer", "sha256": "0" * 64, "fetched_at": start}]
    evidence = {
        "neighbours_ms": [span.start_ms - 1, span.end_ms],
        "archive": answer,
        "rest": answer,
    }
    if reason == "before_listing":
        evidence["first_open_time_ms"] = span.end_ms
    return NewAbsence(span, reason, evidence)


def rejected(of: Series, open_time: int, *reasons: str) -> Rejected:
    """A row that a check refused."""
    refused = {name: str(value) for name, value in row(of.timeframe, open_time).items()}
    return Rejected(open_time, reasons, refused, "https://venue.test/refused")


def register(connect: Connect, of: Series) -> StoredSeries:
    """The series with its rows in the registry, as of a trading instrument."""
    base = of.symbol.removesuffix("USDT")
    facts = InstrumentFacts(of.symbol, of.symbol, base, "USDT", "TRADING", trading=True)
    return series_registry.register(connect, of, facts)


def store(
    connect: Connect,
    of: Series,
    made: Sequence[Row],
    span: Window,
    *,
    absences: Sequence[NewAbsence] = (),
    refused: Sequence[Rejected] = (),
    provider: str = "binance_archive",
    reason: str = "load",
) -> tuple[StoredSeries, Published]:
    """Publish a batch of candles of `span` the way loads do it."""
    stored = register(connect, of)
    claim = ledger.claim(connect, stored.series_id, span, reason, "test")
    batch = publish.Batch(
        candles=table(made),
        fetches=[fetch(of, provider)],
        absences=list(absences),
        rejected=list(refused),
        expected=windows.expected_count(span, of.timeframe),
        requests=1,
        reason=reason,
    )
    return stored, publish.publish(connect, stored, claim, batch)
