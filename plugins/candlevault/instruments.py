"""What is traded, as a venue describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstrumentFacts:
    """What the venue says of a symbol. `trading` is false for halted and delisted ones."""

    symbol: str
    venue_symbol: str
    base_asset: str
    quote_asset: str
    status: str
    trading: bool
