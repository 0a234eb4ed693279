"""What to do about a backtest that failed."""

from __future__ import annotations

from candlevault.errors import (
    CandlevaultError,
    ColdFileDamaged,
    ConfigurationError,
    DataMissing,
    GeoBlocked,
    InvalidRequest,
    StrategyFailed,
)

_ADVICE: dict[type[CandlevaultError], str] = {
    InvalidRequest: "Correct this field of the payload and trigger the backtest again.",
    StrategyFailed: "Correct the strategy's file at this line and trigger the backtest again.",
    DataMissing: "Load the named windows (initial_load or gap_fill) and trigger it again.",
    ColdFileDamaged: "Put the named file of the cold tier back from a backup, then clear the task.",
    GeoBlocked: "The venue does not serve this address: load the candles from another one.",
    ConfigurationError: "Correct the setting, restart Airflow, then clear the failed task.",
}


def for_error(error: CandlevaultError) -> str:
    """One sentence for whoever looks at the failed record."""
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return advice
    if error.transient:
        return "Nothing by hand: the task is tried again. If it keeps failing, see its log."
    return "See the log of the failed task; clear it to try again."
