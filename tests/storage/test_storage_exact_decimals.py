"""Every decimal that the columns can hold survives publishing and reading digit for digit."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from candlevault.windows import Window
from tests.support.market import HOUR, Store, ms, plain, table, values_at

START = ms("2024-01-01")
TINY = Decimal("0.00000001")
# A literal: arithmetic would round to the context's 28 digits.
WIDEST = Decimal("9999999999999999999999.99999999")


def _hundred_millionths(number: int) -> Decimal:
    return Decimal(f"{number // 10**8}.{number % 10**8:08d}")


def exact(digits: int, smallest: int) -> st.SearchStrategy[Decimal]:
    """Any number of `digits` digits, eight of them after the point."""
    return st.integers(smallest, 10**digits - 1).map(_hundred_millionths)


prices = st.tuples(*[exact(20, 1)] * 4).map(sorted)
amounts = st.tuples(*[exact(30, 0)] * 4)
candles = st.lists(st.tuples(prices, amounts, st.integers(0, 2**31 - 1)), min_size=1, max_size=20)


@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(candles)
@example([([TINY] * 4, [Decimal(0)] * 4, 0)])
@example([([Decimal("999999999999.99999999")] * 4, [WIDEST] * 4, 2**31 - 1)])
def test_any_storable_decimal_survives(database, drawn):
    store = Store(database)
    rows = []
    for i, (levels, sizes, trades) in enumerate(drawn):
        low, one, other, high = levels
        rows.append(
            values_at(START + i * HOUR)
            | {"open": one, "high": high, "low": low, "close": other, "trades_count": trades}
            | dict(
                zip(
                    ("volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume"),
                    sizes,
                    strict=True,
                )
            )
        )
    window = Window(START, START + len(rows) * HOUR)
    brought = table(rows)
    assert plain(brought) == rows
    store.publish(brought, window)
    read = store.read(window)
    assert read == rows
    assert [str(row["low"]) for row in read] == [str(row["low"]) for row in rows]
    # The same again through the staged path: nothing differs.
    assert store.publish(brought, window).unchanged == len(rows)
