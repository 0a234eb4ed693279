"""The last line of defence: what the candle tables refuse, also through COPY."""

from __future__ import annotations

import psycopg
import pytest

from candlevault import timeframe
from candlevault.storage.database import connector
from tests.support.market import ms

COLUMNS = (
    "series_id", "open_time", "open", "high", "low", "close", "volume", "quote_volume",
    "taker_buy_base_volume", "taker_buy_quote_volume", "trades_count", "close_time", "fetch_id",
    "revision",
)  # fmt: skip
GOOD = dict(
    zip(
        COLUMNS,
        (
            "1",
            "2024-01-01 05:00+00",
            "2",
            "3",
            "1",
            "2.5",
            "10",
            "20",
            "5",
            "10",
            "7",
            "",
            "1",
            "1",
        ),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def connection(database):
    connect = connector(database)
    with connect() as connection:
        for code in timeframe.ALL:
            connection.execute(
                "SELECT market.ensure_partitions(%s, '2024-01-01', '2024-12-31')", (code,)
            )
        connection.commit()
        yield connection


def copy(connection, changes: dict[str, str], code: str = "1h") -> None:
    """COPY one row and roll it back."""
    row = GOOD | changes
    try:
        with connection.cursor().copy(
            f"COPY market.candles_{code} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv, NULL '')"
        ) as stream:
            stream.write(",".join(row[name] for name in COLUMNS) + "\n")
    finally:
        connection.rollback()


def test_a_good_candle_is_taken(connection):
    copy(connection, {})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-1", "0", "0.000000001"])
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_price_must_be_a_positive_finite_number(connection, column, value):
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
        copy(connection, {column: value})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "-0.00000001"])
@pytest.mark.parametrize(
    "column", ["volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume"]
)
def test_a_volume_must_be_finite_and_not_negative(connection, column, value):
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
        copy(connection, {column: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"high": "0.5"},
        {"high": "2.49999999"},
        {"open": "3.00000001"},
        {"low": "2.00000001"},
        {"low": "2.6", "open": "2.7"},
        {"trades_count": "-1"},
        {"revision": "0"},
    ],
    ids=["high<low", "high<close", "open>high", "low>open", "low>close", "trades", "revision"],
)
def test_a_contradictory_candle_is_refused(connection, changes):
    with pytest.raises(psycopg.errors.CheckViolation):
        copy(connection, changes)


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "close_time"])
def test_nothing_but_the_regular_close_time_may_be_null(connection, column):
    # Without an open_time no partition takes the row, which is said first.
    refusal = (
        psycopg.errors.CheckViolation if column == "open_time" else psycopg.errors.NotNullViolation
    )
    with pytest.raises(refusal):
        copy(connection, {column: ""})


@pytest.mark.parametrize(
    "close_time", ["2024-01-01 04:59:59.999+00", "2024-01-01 06:00+00", "infinity"]
)
def test_a_close_time_outside_the_candle_is_refused(connection, close_time):
    with pytest.raises(psycopg.errors.CheckViolation):
        copy(connection, {"close_time": close_time})


def test_an_irregular_close_time_inside_the_candle_is_taken(connection):
    copy(connection, {"close_time": "2024-01-01 05:35:32.286+00"})


@pytest.mark.parametrize("code", timeframe.ALL)
def test_an_open_time_off_the_grid_is_refused_for_every_timeframe(connection, code):
    frame = timeframe.parse(code)
    # 2024-01-01 is a Monday: on every grid.
    good = timeframe.from_ms(frame.floor(ms("2024-03-04")))
    copy(connection, {"open_time": good.isoformat()}, code)
    for wrong_ms in (1, frame.step_ms // 2, frame.step_ms - 1):
        moment = timeframe.from_ms(frame.floor(ms("2024-03-04")) + wrong_ms)
        with pytest.raises(psycopg.errors.CheckViolation, match="open_time_on_grid"):
            copy(connection, {"open_time": moment.isoformat()}, code)


def test_one_open_time_of_a_series_is_stored_once(connection):
    row = ",".join(GOOD[name] for name in COLUMNS) + "\n"
    with (
        pytest.raises(psycopg.errors.UniqueViolation),
        connection.cursor().copy(
            f"COPY market.candles_1h ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv, NULL '')"
        ) as stream,
    ):
        stream.write(row + row)
    connection.rollback()


@pytest.mark.parametrize("digits", ["1000000000000", "99999999999999"])
def test_a_price_wider_than_the_column_is_refused_not_cut(connection, digits):
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        copy(connection, {"high": digits})
