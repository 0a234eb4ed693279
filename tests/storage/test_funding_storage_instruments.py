"""Funding belongs to an instrument: whatever the timeframe, and where a symbol has meant two."""

from __future__ import annotations

from candlevault import identities
from candlevault.identities import Lifetime
from candlevault.series import parse
from candlevault.storage import funding
from candlevault.windows import Window
from tests.support.funding_rows import START, WEEK, Contract, contract, event, page
from tests.support.market import HOUR, ms, new_symbol, span

__all__ = ["contract"]


def test_instruments_do_not_see_each_other(database):
    mine, other = Contract(database), Contract(database)
    mine.write(page(WEEK, event(8)))
    assert (other.pairs(), other.read().missing) == ([], (WEEK,))
    other.write(page(WEEK, event(8, "0.9")))
    assert mine.pairs() == [(START + 8 * HOUR, 0.0001)]


def series(symbol: str, code: str = "1h"):
    return parse("binance", "um", symbol, code)


def read_series(contract: Contract, code: str = "1h", window: Window = WEEK) -> funding.Funding:
    with contract.connect() as connection:
        return funding.read_series(connection, series(contract.symbol, code), window)


def test_a_series_is_read_by_its_instrument_whatever_the_timeframe(contract):
    contract.write(page(WEEK, event(8), event(16)))
    plain = contract.read()
    for code in ("1m", "1h", "1d", "1w"):
        found = read_series(contract, code)
        assert found.fingerprint == plain.fingerprint
        assert found.events.times.tolist() == plain.events.times.tolist()


def test_of_an_unknown_instrument_everything_is_missing(contract, database):
    nobody = Contract(database)
    nobody.symbol = "NOBODYUSDT"
    assert read_series(nobody).missing == (WEEK,)


def test_a_window_over_two_instruments_is_read_from_both(database, monkeypatch):
    symbol = new_symbol()
    # A Wednesday: no week begins there.
    begins = ms("2024-03-06")
    known = {("binance", "um", symbol): (Lifetime(), Lifetime(2, begins))}
    monkeypatch.setattr(identities, "catalogue", lambda: known)
    old, new = Contract(database, symbol), Contract(database, symbol, lifetime=2)
    window = span("2024-03-04", "2024-03-08")
    old.write(page(window, *(event(h) for h in (80, 120))))
    for code in ("1h", "1w"):
        found = read_series(old, code, window)
        assert found.events.times.tolist() == [START + 80 * HOUR]
        assert found.missing == (Window(begins, window.end_ms),)
    new.write(page(window, event(112, "0.5"), event(128, "0.25")))
    for code in ("1h", "1w"):
        found = read_series(old, code, window)
        assert found.events.times.tolist() == [START + 80 * HOUR, START + 128 * HOUR]
        assert found.events.rates.tolist() == [0.0001, 0.25]
        assert found.missing == ()
