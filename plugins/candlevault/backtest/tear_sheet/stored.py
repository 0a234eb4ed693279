"""The document of a stored backtest, drawn from what is stored."""

from __future__ import annotations

from candlevault.backtest import payload as payloads
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.data.reading import Revisions
from candlevault.backtest.metrics import buy_and_hold
from candlevault.backtest.tear_sheet.document import Document, of_stored
from candlevault.errors import CandlevaultError
from candlevault.storage import backtests
from candlevault.storage.backtests import StoredResult
from candlevault.storage.database import Connect

_HOLDING = (
    "venue", "market", "symbol", "also", "timeframe", "start_time", "end_time",
    "initial_capital", "fee_rate", "slippage_bps", "half_spread",
)  # fmt: skip
"""What of a payload decides how buying and holding ends."""


def of_backtest(connect: Connect, backtest_id: int) -> Document:
    """The document of a completed backtest.

    Its strategy need not be there any more. Buying and holding is no part of what is stored: it
    comes from the candles as they were read then, and is left out, with why, where they cannot
    be read. Raises InvalidRequest for a backtest that has not completed.
    """
    stored = backtests.stored_result(connect, backtest_id)
    if stored.equity is None:
        return of_stored(stored)
    try:
        return of_stored(stored, buy_and_hold=_held(connect, stored))
    except CandlevaultError as error:
        return of_stored(stored, left_out=str(error))


def _held(connect: Connect, stored: StoredResult) -> list[float]:
    """Equity in quote of holding the symbols instead, one value a row of the stored curve."""
    given = stored.payload
    holding = {name: given[name] for name in _HOLDING if name in given}
    request = payloads.parse(
        {
            **holding,
            "strategy": {"name": "buy_and_hold"},
            "funding": False,
            "data": {**given.get("data", {}), "warmup_bars": 0},
        }
    )
    revisions = Revisions.as_read(stored, request.data.as_of)
    inputs = prepare(connect, request, revisions).inputs
    return buy_and_hold.curve(inputs.stage, request.settings).tolist()
