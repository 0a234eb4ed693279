"""The backtest payload: its JSON schema, and the request that a checked payload becomes."""

from candlevault.backtest.payload.parsing import FindSaved, canonical, parse, payload_hash
from candlevault.backtest.payload.request import (
    BacktestRequest,
    DataChoice,
    Intrabar,
    SavedStrategy,
    StrategyChoice,
)
from candlevault.backtest.payload.schema import REQUIRED, document, outline, properties

__all__ = [
    "REQUIRED",
    "BacktestRequest",
    "DataChoice",
    "FindSaved",
    "Intrabar",
    "SavedStrategy",
    "StrategyChoice",
    "canonical",
    "document",
    "outline",
    "parse",
    "payload_hash",
    "properties",
]
