"""CSV files of corrections: strict, because what they say replaces what a venue has said.

A header names the columns. `open_time` (ISO 8601 with a zone, or whole milliseconds since
1970), `open`, `high`, `low`, `close` and `volume` must be there; `quote_volume`,
`taker_buy_base_volume`, `taker_buy_quote_volume`, `trades_count` and `close_time` (as
open_time, inclusive) may. Numbers are plain decimals with at most eight places.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa

from candlevault import candles
from candlevault.errors import InvalidRequest
from candlevault.quality.judge import MAX_ROWS
from candlevault.timeframe import Timeframe, to_ms

REQUIRED = ("open_time", *candles.PRICES, "volume")
OPTIONAL = (*candles.AMOUNTS[1:], "trades_count", "close_time")
MAX_BYTES = 16 * 2**20

_TOLD = 20
_LATEST_MS = 221_845_392_000_000
"""9000-01-01."""
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,8})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


def parse(body: bytes) -> pa.Table:
    """The candles of a file, ascending; columns that the file lacks are all null.

    Raises InvalidRequest for the field `file`, telling line and rule of the first problems.
    """
    rows = _rows(body)
    header = next(rows, None)
    if header is None:
        raise InvalidRequest("file", "is empty")
    columns = [name.strip() for name in header]
    for name in REQUIRED:
        if name not in columns:
            raise InvalidRequest("file", f"lacks the column {name}", ",".join(columns))
    for name in columns:
        if name not in (*REQUIRED, *OPTIONAL):
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise InvalidRequest("file", f"has an unknown column; known: {known}", name)
        if columns.count(name) > 1:
            raise InvalidRequest("file", "names a column twice", name)
    records, problems = [], []
    seen: dict[int, int] = {}
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(records) >= MAX_ROWS:
            raise InvalidRequest("file", f"holds more than {MAX_ROWS} candles; split it")
        try:
            record = _record(columns, row)
            if (first := seen.setdefault(record["open_time"], line)) != line:
                raise ValueError(f"open_time was given before, in line {first}")
            records.append(record)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise InvalidRequest(
            "file", f"{len(problems)} lines break a rule: {'; '.join(problems[:_TOLD])}{more}"
        )
    if not records:
        raise InvalidRequest("file", "holds no candle")
    records.sort(key=lambda record: record["open_time"])
    return pa.Table.from_pylist(
        [{"source": 0} | dict.fromkeys(candles.VALUES) | record for record in records],
        candles.SCHEMA,
    )


def completed(given: pa.Table, held: pa.Table, timeframe: Timeframe) -> pa.Table:
    """`given` with what it lacks taken from the candle held, or 0 where none is held."""
    _, ours, theirs = np.intersect1d(
        candles.open_times(given), candles.open_times(held), return_indices=True
    )
    before = dict(zip(ours.tolist(), candles.take(held, theirs).to_pylist(), strict=True))
    rows = []
    for number, row in enumerate(given.to_pylist()):
        usual = dict.fromkeys(candles.AMOUNTS, Decimal(0)) | {
            "trades_count": 0,
            "close_time": row["open_time"] + timeframe.step_ms - 1,
        }
        known = before.get(number, usual)
        rows.append({name: known[name] if row[name] is None else row[name] for name in row})
        rows[-1]["source"] = 0
    return pa.Table.from_pylist(rows, candles.SCHEMA)


def _rows(body: bytes):
    if len(body) > MAX_BYTES:
        raise InvalidRequest("file", f"is larger than {MAX_BYTES} bytes", len(body))
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest("file", "must be UTF-8 text") from error
    if "\0" in text:
        raise InvalidRequest("file", "must be text without NUL characters")
    try:
        yield from csv.reader(io.StringIO(text), strict=True)
    except csv.Error as error:
        raise InvalidRequest("file", f"is no CSV: {error}") from error


def _record(columns: list[str], row: list[str]) -> dict:
    if len(row) != len(columns):
        raise ValueError(f"has {len(row)} fields, the header {len(columns)}")
    record = {}
    for name, text in zip(columns, row, strict=True):
        value = text.strip()
        if not value and name in OPTIONAL:
            continue
        if name in ("open_time", "close_time"):
            record[name] = _moment(name, value)
        elif name == "trades_count":
            if not _WHOLE.fullmatch(value) or int(value) >= 2**31:
                raise ValueError(f"{name} must be a whole number: {value[:40]!r}")
            record[name] = int(value)
        else:
            if not _DECIMAL.fullmatch(value):
                raise ValueError(
                    f"{name} must be a plain decimal of at most 8 places: {value[:40]!r}"
                )
            record[name] = Decimal(value)
            if name in candles.PRICES and record[name] >= 10**12:
                raise ValueError(f"{name} is beyond any price: {value[:40]!r}")
    return record


def _moment(name: str, value: str) -> int:
    time_ms = int(value) if _WHOLE.fullmatch(value) else _iso_ms(name, value)
    if not 0 <= time_ms < _LATEST_MS:
        raise ValueError(f"{name} must lie after 1970 and before 9000: {value[:40]!r}")
    return time_ms


def _iso_ms(name: str, value: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{name} must be a time such as 2024-01-01T00:00:00Z: {value[:40]!r}"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} must carry a time zone, such as Z: {value[:40]!r}")
    if moment.microsecond % 1000:
        raise ValueError(f"{name} must be whole milliseconds: {value[:40]!r}")
    try:
        return to_ms(moment)
    except OverflowError:
        return -1
