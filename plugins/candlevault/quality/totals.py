"""What candles add up to over a longer one, and in which columns two such totals disagree.

Nothing is excused by a tolerance: prices and amounts are exact decimals, and both sides come
from the same trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from candlevault import candles

FIELDS = (*candles.PRICES, *candles.AMOUNTS, "trades_count")
"""The columns that add up, in the order in which totals hold them."""

_VOLUME = FIELDS.index("volume")
_PRICES = FIELDS[:_VOLUME]
_FLOW = FIELDS[_VOLUME + 1 :]

COARSE = "coarse"
FINER = "finer"


@dataclass(frozen=True, slots=True)
class Totals:
    """Values in the order of FIELDS; prices are None where nothing was traded.

    `carried` says whether every candle with a volume came from a source that has the columns
    after `volume` (a source that lacks them says 0 in all of them).
    """

    values: tuple[Decimal | None, ...]
    carried: bool

    @classmethod
    def of(cls, columns: Sequence[Decimal | int | bool | None]) -> Totals:
        """Totals of the columns of a query: those of FIELDS, then whether they are carried."""
        *values, carried = columns
        return cls(tuple(None if value is None else Decimal(value) for value in values), carried)

    @property
    def traded(self) -> bool:
        """Whether there was any volume."""
        return bool(self.values[_VOLUME])

    def __getitem__(self, field: str) -> Decimal | None:
        return self.values[FIELDS.index(field)]


def comparable(left: Totals, right: Totals) -> tuple[str, ...]:
    """The columns that mean something on both sides, in the order of FIELDS.

    A candle without volume repeats an old price: its prices are not compared.
    """
    prices = _PRICES if left.traded and right.traded else ()
    return (*prices, "volume", *(_FLOW if left.carried and right.carried else ()))


def differing(left: Totals, right: Totals) -> tuple[str, ...]:
    """The comparable columns in which the two are not equal, in the order of FIELDS."""
    return tuple(field for field in comparable(left, right) if left[field] != right[field])


def holder_of_old(now: Totals, before: Totals, coarse: Totals, finer: Totals) -> str | None:
    """Which of two totals that differ holds the values from `before` a restatement.

    COARSE or FINER when one side equals the restated candles as they are now and the other
    equals them as they were, in all columns and without passing over one that differs; None
    when the restatement does not explain the difference exactly.
    """
    fields = differing(coarse, finer)
    if _equal(now, coarse, fields) and _equal(before, finer, fields):
        return FINER
    if _equal(now, finer, fields) and _equal(before, coarse, fields):
        return COARSE
    return None


def _equal(left: Totals, right: Totals, fields: Sequence[str]) -> bool:
    return not differing(left, right) and set(fields) <= set(comparable(left, right))
