"""The extended universe: every pair a venue trades or ever traded against a quote asset.

Active pairs come from the venue's list, ended ones from its archive, which forgets nothing:
without them a backtest over "all pairs" would only see the survivors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import psycopg

from candlevault import identities
from candlevault.ingest.life import ARCHIVED
from candlevault.ingest.load import Market
from candlevault.instruments import InstrumentFacts
from candlevault.leveraged import is_leveraged
from candlevault.providers.registry import BinanceVenue
from candlevault.storage import instruments
from candlevault.storage.database import retrying


@dataclass(slots=True)
class UniverseReport:
    """The pairs of a venue and market against one quote asset, by symbol. Plain values only."""

    venue: str
    market: str
    quote_asset: str
    active: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    leveraged: list[str] = field(default_factory=list)
    listed_now: list[str] = field(default_factory=list)
    ended_now: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.venue} {self.market}: {len(self.active)} active pairs against"
            f" {self.quote_asset}, {len(self.ended)} ended ones kept, {len(self.leveraged)}"
            f" leveraged tokens left out; new: {', '.join(self.listed_now) or 'none'}; ended since"
            f" the last look: {', '.join(self.ended_now) or 'none'}"
        )


def refresh(market: Market, quote_asset: str) -> UniverseReport:
    """Ask the venue and its archive for every pair against `quote_asset` and record them."""
    venue = market.venue
    assert isinstance(venue, BinanceVenue)
    listed = venue.rest.instruments()
    archived = venue.archive.symbols(venue.market)
    report = UniverseReport(venue.venue, venue.market, quote_asset)
    pairs = _pairs(listed, archived, quote_asset)
    # Every base asset there ever was: that of an ended pair counts as well.
    bases = {facts.base_asset for facts in (*listed, *pairs)}
    kept = []
    for facts in pairs:
        if is_leveraged(facts.base_asset, bases - {facts.base_asset}):
            report.leveraged.append(facts.symbol)
            continue
        (report.active if facts.trading else report.ended).append(facts.symbol)
        kept.append(facts)
    market.say(f"{len(pairs)} pairs against {quote_asset}; recording them")

    def record() -> None:
        with market.connect() as connection, connection.transaction():
            _record(connection, market, kept, report)

    retrying(record)
    return report


def _pairs(
    listed: list[InstrumentFacts], archived: list[str], quote_asset: str
) -> list[InstrumentFacts]:
    """All pairs against the quote asset, by symbol; those only the archive knows are ended."""
    found = {facts.symbol: facts for facts in listed if facts.quote_asset == quote_asset}
    known = {facts.symbol for facts in listed}
    for symbol in archived:
        if symbol.endswith(quote_asset) and symbol != quote_asset and symbol not in known:
            base = symbol.removesuffix(quote_asset)
            found[symbol] = InstrumentFacts(symbol, symbol, base, quote_asset, ARCHIVED, False)
    return [found[symbol] for symbol in sorted(found)]


def _record(
    connection: psycopg.Connection,
    market: Market,
    kept: list[InstrumentFacts],
    report: UniverseReport,
) -> None:
    venue = market.venue
    before = instruments.traded(connection, venue.venue, venue.market)
    report.listed_now.clear()
    report.ended_now.clear()
    for facts in kept:
        lifetime = identities.lifetimes(venue.venue, venue.market, facts.symbol)[-1]
        instrument_id = instruments.record(connection, venue.venue, venue.market, facts, lifetime)
        was = before.get(facts.symbol)
        if was == facts.trading:
            continue
        event = "relisted" if was is False else "listed"
        if not facts.trading:
            event = "ended"
        instruments.note(connection, instrument_id, event, facts.status, market.run_id)
        if facts.trading:
            report.listed_now.append(facts.symbol)
        elif was:
            report.ended_now.append(facts.symbol)
