"""What to do about a backtest or a sweep that failed."""

from __future__ import annotations

import psycopg

from candlevault.errors import (
    CandlevaultError,
    ColdFileDamaged,
    ConfigurationError,
    DataMissing,
    GeoBlocked,
    InvalidRequest,
    StrategyFailed,
)
from candlevault.storage import database

_ADVICE: dict[type[BaseException], str] = {
    InvalidRequest: "Correct this field of the payload and trigger it again.",
    StrategyFailed: "Correct the strategy's file at this line and trigger it again.",
    DataMissing: "Load the named windows (initial_load or gap_fill) and trigger it again.",
    ColdFileDamaged: "Put the named file of the cold tier back from a backup, then clear the task.",
    GeoBlocked: "The venue does not serve this address: load the candles from another one.",
    ConfigurationError: "Correct the setting, restart Airflow, then clear the failed task.",
    MemoryError: (
        "The worker has too little memory: choose a shorter window, a coarser timeframe or fewer"
        " symbols and trigger it again, or give the worker more and clear the failed task."
    ),
    OSError: "See what the machine lacks (disk, files, network), then clear the failed task.",
}

_AS_OF = "Give a later data.as_of, or leave it out to read the candles as they are now."

TIMED_OUT = (
    "The task ran into its time limit: choose a shorter window, a coarser timeframe or fewer"
    " points and trigger it again."
)

NO_WORD = (
    "See the log of the failed task and the memory of its worker, then clear the task; trigger it"
    " again if the run was ended on purpose."
)
"""For a record whose task left no word."""

NO_RUN = "Trigger it again; no task of its DAG run is left to go on with it."
"""For a record whose run is over and not failed."""


def for_error(error: BaseException) -> str:
    """One sentence for whoever looks at the failed record."""
    if isinstance(error, InvalidRequest) and error.field.endswith("data.as_of"):
        return _AS_OF
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return advice
    if isinstance(error, psycopg.Error):
        if database.is_transient(error):
            return "See that the market database runs, then clear the failed task."
        return "The market database refused: see the log of the failed task; clear it to try again."
    if isinstance(error, CandlevaultError):
        if error.transient:
            return "No try got through: wait until what is named works, then clear the failed task."
        return "See the log of the failed task; clear it to try again."
    return (
        "A fault of the program, not of the payload: report it with the log of the failed task;"
        " clear the task to try again."
    )
