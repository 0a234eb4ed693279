"""Instruments with funding of their own in a real store: written page by page, read, counted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from candlevault.funding import FundingEvent, FundingPage
from candlevault.identities import Lifetime
from candlevault.instruments import InstrumentFacts
from candlevault.series import parse
from candlevault.storage import funding, instruments
from candlevault.storage.database import connector
from candlevault.storage.funding import Written
from candlevault.windows import Window
from tests.support import candles as made
from tests.support.market import DAY, HOUR, ms, new_symbol

START = ms("2024-03-01")
WEEK = Window(START, START + 7 * DAY)


def event(hours: float, rate: str = "0.0001", mark: str | None = None, late: int = 0):
    """The event so many hours after START and `late` ms."""
    when = START + int(hours * HOUR) + late
    return FundingEvent(when, Decimal(rate), None if mark is None else Decimal(mark))


def page(window: Window, *events: FundingEvent) -> FundingPage:
    """An answer that covers `window`."""
    series = parse("binance", "um", "BTCUSDT", "1h")
    fetch = made.fetch(series, "binance_um_rest", timeframe="funding", rows=len(events))
    return FundingPage(window, events, fetch)


class Contract:
    """An instrument of its own in the shared database."""

    def __init__(self, url: str, symbol: str | None = None, lifetime: int = 1) -> None:
        self.connect = connector(url)
        self.symbol = symbol or new_symbol()
        facts = InstrumentFacts(self.symbol, self.symbol, "", "USDT", "TRADING", trading=True)
        begins = None if lifetime == 1 else START
        with self.connect() as connection:
            self.id = instruments.record(
                connection, "binance", "um", facts, Lifetime(lifetime, begins)
            )

    def write(self, *pages: FundingPage) -> Written:
        with self.connect() as connection:
            after = funding.newest_load(connection, self.id)
        return funding.write(self.connect, self.id, pages, after=after)

    def read(self, window: Window = WEEK, as_of: datetime | None = None) -> funding.Funding:
        with self.connect() as connection:
            return funding.read(connection, self.id, window, as_of)

    def pairs(self, as_of: datetime | None = None) -> list[tuple[int, float]]:
        events = self.read(as_of=as_of).events
        return list(zip(events.times.tolist(), events.rates.tolist(), strict=True))

    def rows(self, statement: str) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(statement, {"id": self.id}).fetchall()

    def count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) FROM market.{table} WHERE instrument_id = %(id)s")[0][0]

    def now(self) -> datetime:
        return self.rows("SELECT clock_timestamp()")[0][0]


@pytest.fixture
def contract(database: str) -> Contract:
    return Contract(database)
