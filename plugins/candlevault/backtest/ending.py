"""How a step that fails ends its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from candlevault.backtest import advice
from candlevault.errors import CandlevaultError, InvalidRequest
from candlevault.storage.database import Connect
from candlevault.storage.run_records import Failure, RunRecords


@contextmanager
def telling(
    records: RunRecords, connect: Connect, dag_run_id: str, step: str, *, batch: int | None = None
) -> Iterator[None]:
    """Fail the record with what, where and what to do when the block fails for good.

    What a retry may get past, and what nobody foresaw, is only noted: whether it is tried again
    is known to who calls. The error goes on.
    """
    records.begin_step(connect, dag_run_id, step)
    try:
        yield
    except Exception as error:
        if isinstance(error, CandlevaultError) and not error.transient:
            records.fail(connect, dag_run_id, failure_of(error, step), batch=batch)
        else:
            # The error may be that the database is away; it is the one to be seen.
            with suppress(psycopg.Error):
                records.note(connect, dag_run_id, words_of(error))
        raise


def failure_of(error: BaseException, step: str) -> Failure:
    """What a record ends with that this error ended in `step`."""
    field = error.field if isinstance(error, InvalidRequest) else None
    return Failure(words_of(error), step, field, advice.for_error(error))


def words_of(error: BaseException) -> str:
    """The error in a line: its kind, but for a refused value, and its text."""
    said = str(error).strip()
    kind = type(error).__name__
    if isinstance(error, InvalidRequest):
        return said
    return f"{kind}: {said}" if said else kind
