"""Kline pages and archive CSVs: read exactly, or refused as a whole with BadPayload."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import candles
from candlevault.errors import BadPayload
from candlevault.providers.binance_rows import from_csv, from_json
from tests.support.market import HOUR, grid, made, ms, plain, span, values_at

START = ms("2024-01-01")
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore"
)


def fields(open_time: int = START) -> list[object]:
    """A row in the order of the venue; prices and amounts as text."""
    row = values_at(open_time)
    return [
        row["open_time"],
        *(f"{row[name]:.8f}" for name in ("open", "high", "low", "close", "volume")),
        row["close_time"],
        f"{row['quote_volume']:.8f}",
        row["trades_count"],
        f"{row['taker_buy_base_volume']:.8f}",
        f"{row['taker_buy_quote_volume']:.8f}",
        "0",
    ]


def page(*rows: list[object]) -> bytes:
    return json.dumps(list(rows) or [fields()], separators=(",", ":")).encode()


def csv(*rows: list[object]) -> bytes:
    return "".join(",".join(map(str, row)) + "\n" for row in rows or [fields()]).encode()


def with_field(position: int, value: object) -> list[object]:
    row = fields()
    row[position] = value
    return row


def in_microseconds(row: list[object]) -> list[object]:
    return [row[0] * 1000, *row[1:6], row[6] * 1000 + 999, *row[7:]]


# -- what is read ------------------------------------------------------------------------------


def test_a_page_is_read_digit_for_digit():
    times = grid(span("2024-01-01", "2024-01-02"))
    assert plain(from_json(page(*map(fields, times)))) == plain(made(times))


def test_an_empty_page_is_no_candles():
    assert from_json(b"[]").equals(candles.empty())
    assert from_json(b" [ ]\n").num_rows == 0


def test_space_between_the_parts_of_a_page_is_allowed():
    assert from_json(json.dumps([fields()], indent=2).encode()).equals(from_json(page()))


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("header", [b"", HEADER + b"\n"])
def test_a_csv_is_read_with_and_without_header_and_last_newline(header, ending):
    read = from_csv(header + csv().rstrip(b"\n") + ending)
    assert plain(read) == plain(made([START]))


def test_a_csv_in_microseconds_is_read_in_milliseconds():
    assert plain(from_csv(csv(in_microseconds(fields())))) == plain(made([START]))


def test_a_header_alone_is_no_candles():
    assert from_csv(HEADER + b"\n").num_rows == 0


def test_an_early_close_time_is_kept():
    early = START + 35 * 60_000 + 32_286
    assert from_json(page(with_field(6, early)))["close_time"].to_pylist() == [early]


def test_eight_decimals_and_all_digits_of_the_columns_survive():
    row = fields()
    row[1:5] = ["999999999999.99999999"] * 3 + ["0.00000001"]
    row[5] = "9999999999999999999999.99999999"
    for read in (from_json(page(row)), from_csv(csv(row))):
        [found] = read.to_pylist()
        assert found["open"] == Decimal("999999999999.99999999")
        assert found["close"] == Decimal("0.00000001")
        assert found["volume"] == Decimal("9999999999999999999999.99999999")


def test_negative_numbers_are_left_to_the_judge():
    assert from_json(page(with_field(5, "-1.00000000")))["volume"].to_pylist() == [Decimal(-1)]


# -- what is refused -----------------------------------------------------------------------------

NOT_NUMBERS = {
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "exponent": "1e3",
    "overflow to infinity": "1e999",
    "underscore": "1_000",
    "full-width digits": "１２",
    "Arabic digits": "١٢",
    "leading space": " 1",
    "inner space": "1 0",
    "trailing newline": "1\n",
    "plus": "+1",
    "two points": "1.2.3",
    "two minuses": "--1",
    "minus inside": "1-2",
    "point only": ".",
    "hexadecimal": "0x10",
    "empty": "",
    "word": "null",
    "nine decimals": "0.123456789",
    "too many digits for an amount": "9" * 23,
    "five thousand digits": "9" * 5000,
    "a comma": "1,2",
    "a quote": '1"2',
    "NUL": "1\0",
}


@pytest.mark.parametrize("text", NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_a_price_that_is_not_a_plain_number_refuses_the_page_and_the_file(text):
    with pytest.raises(BadPayload):
        from_json(page(with_field(5, text)))
    with pytest.raises(BadPayload):
        from_csv(csv(with_field(5, text)))


@pytest.mark.parametrize("text", ["1.5", "9" * 19, "9" * 5000, "", "1e3", "true"])
@pytest.mark.parametrize("position", [0, 6, 8])
def test_a_time_or_count_that_is_not_a_whole_number_is_refused(position, text):
    with pytest.raises(BadPayload):
        from_csv(csv(with_field(position, text)))
    with pytest.raises(BadPayload):
        from_json(page(with_field(position, text)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b'[{"code":0}]',
        b"<!DOCTYPE html><html></html>",
        b"[[]]",
        b"[[],[]]",
        b"[1,2]",
        b"[[1,2],3]",
        b"[[[" + page()[2:-2] + b"]]]",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        page()[:-1] + b",]",
        page()[:-1] + b",[]]",
        page() + page(),
        page() + b"x",
        b"\xef\xbb\xbf" + page(),
        b"\xff\xfe",
        page(fields()[:-1]),
        page([*fields(), "0"]),
        page(fields(), fields()[:-1]),
        page().replace(b'"0"]]', b'"0]]'),
        page().replace(b'"0"]]', b"'0']]"),
        page(with_field(11, None)),
        page(with_field(11, ["0"])),
        page(with_field(11, {"a": 1})),
    ],
)
def test_what_is_not_a_page_is_refused(body):
    with pytest.raises(BadPayload):
        from_json(body)


def test_a_page_that_joins_two_columns_and_splits_none_is_refused():
    """Eleven strings of which one holds a comma are not twelve numbers."""
    row = fields()
    joined = [row[0], f"{row[1]},{row[2]}", *row[3:]]
    with pytest.raises(BadPayload):
        from_json(page(joined))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"<html></html>",
        b"\xef\xbb\xbf" + csv(),
        b"\n" + csv(),
        csv() + b"\n",
        csv() + b"\n" + csv(fields(START + HOUR)),
        csv().replace(b"\n", b"\r\n"),
        csv().replace(b"\n", b"\r"),
        csv().replace(b"\n", b"\0\n"),
        csv().replace(b"\n", b",\n"),
        csv(fields()[:-1]),
        csv(fields()[:-2]),
        csv([*fields(), 0]),
        csv(fields(), [*fields(), 0]),
        csv(with_field(5, '"1.0"')),
        csv(with_field(5, '"1.0')),
        csv(with_field(5, "")),
        HEADER + b"\n" + HEADER + b"\n" + csv(),
        csv() + HEADER + b"\n",
        HEADER.upper() + b"\n" + csv(),
        HEADER + b"\r\n" + csv(),
        HEADER.replace(b"open,high", b"high,open") + b"\n" + csv(),
    ],
)
def test_what_is_not_a_regular_csv_is_refused(body):
    with pytest.raises(BadPayload):
        from_csv(body)


@pytest.mark.parametrize(
    "rows",
    [
        [fields(), in_microseconds(fields(START + HOUR))],
        [in_microseconds(fields()), fields(START + HOUR)],
        [with_field(0, START * 1000)],
        [with_field(6, (START + HOUR) * 1000 - 1)],
    ],
    ids=["ms then µs", "µs then ms", "open only", "close only"],
)
def test_milliseconds_and_microseconds_in_one_file_are_refused(rows):
    with pytest.raises(BadPayload, match="mixed"):
        from_csv(csv(*rows))


@pytest.mark.parametrize("excess", [1, 500, 999])
def test_an_open_time_off_by_microseconds_is_refused_not_rounded(excess):
    row = in_microseconds(fields())
    with pytest.raises(BadPayload, match="whole millisecond"):
        from_csv(csv([row[0] + excess, *row[1:]]))


def test_a_page_cut_anywhere_is_refused():
    body = page(fields(), fields(START + HOUR))
    for length in range(len(body)):
        with pytest.raises(BadPayload):
            from_json(body[:length])


def test_a_csv_cut_anywhere_is_refused_unless_whole_rows_remain():
    """A CSV has no closing mark: only a cut inside its unused last column goes unnoticed (the
    checksum is what tells), and at a line's end whole rows are missing."""
    whole = [fields(), fields(START + HOUR)]
    body = csv(*whole)
    complete = plain(from_csv(body))
    for length in range(len(body)):
        try:
            read = plain(from_csv(body[:length]))
        except BadPayload:
            continue
        assert read == complete[: len(read)]


# -- anything at all -----------------------------------------------------------------------------


def read_or_refuse(parse, body: bytes) -> None:
    try:
        table = parse(body)
    except BadPayload:
        return
    assert table.schema.equals(candles.SCHEMA)
    table.validate(full=True)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body):
    read_or_refuse(from_json, body)
    read_or_refuse(from_csv, body)


alphabet = st.sampled_from([bytes([c]) for c in b'0123456789.,-+e[]"{} \n\r\t\0\xff'])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_a_page_or_csv_with_bytes_changed_is_read_or_refused(data):
    parse, good = data.draw(
        st.sampled_from(
            [
                (from_json, page(fields(), fields(START + HOUR))),
                (from_csv, csv(fields(), in_microseconds(fields(START + HOUR)))),
                (from_csv, HEADER + b"\n" + csv(fields(), fields(START + HOUR))),
            ]
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(good)))
        end = data.draw(st.integers(start, min(len(good), start + 4)))
        new = b"".join(data.draw(st.lists(alphabet, max_size=4)))
        good = good[:start] + new + good[end:]
    read_or_refuse(parse, good)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.integers(-(2**70), 2**70),
                st.text(max_size=12),
                st.decimals(allow_nan=True, allow_infinity=True).map(str),
                st.none(),
                st.booleans(),
            ),
            min_size=11,
            max_size=13,
        ),
        max_size=3,
    )
)
def test_any_json_rows_are_read_or_refused(rows):
    read_or_refuse(from_json, json.dumps(rows).encode())
    read_or_refuse(from_csv, csv(*rows) if rows else b"")
