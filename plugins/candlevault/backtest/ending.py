"""How a step that fails ends its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from candlevault.backtest import advice
from candlevault.errors import CandlevaultError, InvalidRequest
from candlevault.storage.backtests import Failure


@contextmanager
def telling(
    step: str, fail: Callable[[Failure], object], note: Callable[[str], object]
) -> Iterator[None]:
    """`fail` the record with what, where and what to do when the block fails for good; `note`
    what a retry has to get past. The error goes on."""
    try:
        yield
    except CandlevaultError as error:
        refused = isinstance(error, InvalidRequest)
        message = str(error) if refused else f"{type(error).__name__}: {error}"
        if error.transient:
            note(message)
        else:
            field = error.field if refused else None
            fail(Failure(message, step, field, advice.for_error(error)))
        raise
