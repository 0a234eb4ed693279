"""Which columns of two totals are compared, and which restatement explains a difference."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candlevault.quality.totals import (
    COARSE,
    FIELDS,
    FINER,
    Totals,
    comparable,
    differing,
    holder_of_old,
)

FLOW = ("quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume", "trades_count")


def of(*, carried: bool = True, **changes) -> Totals:
    """Plausible totals with some values changed."""
    values = dict(zip(FIELDS, map(Decimal, (10, 12, 9, 11, 5, 50, 2, 20, 7)), strict=True))
    assert changes.keys() <= values.keys()
    return Totals(tuple((values | changes).values()), carried)


QUIET = Totals((None, None, None, None, *map(Decimal, (0, 0, 0, 0, 0))), True)


def test_equal_totals_differ_nowhere_and_every_column_counts():
    assert comparable(of(), of()) == FIELDS
    assert differing(of(), of()) == ()


@pytest.mark.parametrize("field", FIELDS)
def test_the_smallest_difference_counts(field):
    other = of(**{field: of()[field] + Decimal("0.00000001")})
    assert differing(of(), other) == (field,)


def test_trailing_zeros_are_no_difference():
    assert differing(of(volume=Decimal("5.00000000")), of(volume=Decimal(5))) == ()


@pytest.mark.parametrize("sides", [(False, True), (True, False), (False, False)])
def test_columns_after_volume_count_only_where_both_sides_carry_them(sides):
    left, right = (of(carried=carried) for carried in sides)
    assert comparable(left, right) == FIELDS[:5]
    assert differing(left, of(carried=sides[1], trades_count=Decimal(0), volume=Decimal(6))) == (
        "volume",
    )


def test_prices_of_a_candle_without_trades_are_not_compared():
    stale = of(**dict.fromkeys(FIELDS[4:], Decimal(0)))
    assert comparable(stale, QUIET) == ("volume", *FLOW)
    assert differing(stale, QUIET) == ()
    assert differing(of(), QUIET) == ("volume", *FLOW)


OLD, NEW = of(volume=Decimal(4), close=Decimal(10)), of()


def test_restatement_that_leads_from_one_side_to_the_other_tells_who_holds_the_old_values():
    assert holder_of_old(now=NEW, before=OLD, coarse=NEW, finer=OLD) == FINER
    assert holder_of_old(now=NEW, before=OLD, coarse=OLD, finer=NEW) == COARSE


def test_restatement_that_explains_only_one_of_two_columns_explains_nothing():
    half = of(volume=Decimal(4))
    assert holder_of_old(now=NEW, before=OLD, coarse=NEW, finer=half) is None
    assert holder_of_old(now=NEW, before=half, coarse=NEW, finer=OLD) is None


def test_restatement_of_another_column_as_well_explains_nothing():
    more = of(volume=Decimal(4), close=Decimal(10), high=Decimal(13))
    assert holder_of_old(now=NEW, before=more, coarse=NEW, finer=OLD) is None


def test_restatement_that_lacks_the_column_in_question_explains_nothing():
    flow = of(quote_volume=Decimal(51))
    bare = of(carried=False)
    assert differing(NEW, flow) == ("quote_volume",)
    assert holder_of_old(now=NEW, before=bare, coarse=NEW, finer=flow) is None


def test_restatement_that_carries_less_explains_what_it_carries():
    bare = of(carried=False, volume=Decimal(4), close=Decimal(10))
    assert holder_of_old(now=NEW, before=bare, coarse=NEW, finer=bare) == FINER


def test_smallest_remaining_difference_leaves_it_open():
    nearly = of(volume=Decimal("4.00000001"), close=Decimal(10))
    assert holder_of_old(now=NEW, before=OLD, coarse=NEW, finer=nearly) is None
