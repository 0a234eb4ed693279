"""A CSV export is exact, readable by anything, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
from decimal import Decimal

import pandas as pd
import pytest

from candlevault.candles import AMOUNTS, PRICES
from candlevault.export import KnownAbsence, write
from candlevault.export.formats.csv_text import cell
from tests.export.conftest import HOLE, LOST, WINDOW, expected
from tests.support.market import HOUR, grid

NUMBERS = (*PRICES, *AMOUNTS)


def files(folder, candle_set, **options) -> tuple[list[dict], list[dict]]:
    done = write(candle_set, "csv", folder, allow_lost=True, options=options)
    assert [path.name for path in done.files] == ["BTCUSDT__1h.csv", "BTCUSDT__1h.absences.csv"]
    return tuple(list(csv.DictReader(path.open(newline=""))) for path in done.files)


def ms(text: str) -> int:
    assert text.endswith("Z")
    return int(pd.Timestamp(text).value // 1_000_000)


def values(row: dict) -> dict:
    return (
        {name: ms(row[name]) for name in ("open_time", "close_time")}
        | {name: Decimal(row[name]) for name in NUMBERS}
        | {"trades_count": int(row["trades_count"])}
    )


def test_what_is_read_back_is_what_is_stored(hours, tmp_path):
    rows, absences = files(tmp_path, hours)
    assert [values(row) for row in rows] == expected()
    assert absences == [
        {
            "start": "2024-01-01T10:00:00Z",
            "end": "2024-01-01T12:00:00Z",
            "reason": "not_published",
        }
    ]


def test_it_looks_as_documented(hours, tmp_path):
    files(tmp_path, hours)
    head = (tmp_path / "BTCUSDT__1h.csv").read_bytes().split(b"\n")
    assert head[0].decode() == ",".join(["open_time", *NUMBERS, "trades_count", "close_time"])
    assert head[1].startswith(b"2024-01-01T00:00:00Z,47.")
    assert head[1].endswith(b",2024-01-01T00:59:59.999Z")
    tiny = head[1 + 28].split(b",")
    assert tiny[:6] == [b"2024-01-02T06:00:00Z", *[b"0.00000001"] * 4, b"9999999999999.12345678"]
    assert head[-1] == b""


def test_pandas_reads_it(hours, tmp_path):
    files(tmp_path, hours)
    df = pd.read_csv(tmp_path / "BTCUSDT__1h.csv", parse_dates=["open_time", "close_time"])
    assert [moment.value // 1_000_000 for moment in df["open_time"]] == [
        row["open_time"] for row in expected()
    ]
    assert df["high"].tolist() == [float(row["high"]) for row in expected()]


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    rows, _ = files(tmp_path, story.read(as_of=story.first))
    assert [values(row) for row in rows] == expected(revised=False) != expected()


def test_missing_candles_can_be_marked_as_empty_rows(hours, tmp_path):
    rows, _ = files(tmp_path, hours, mark_absent=True)
    assert [ms(row["open_time"]) for row in rows] == grid(WINDOW)
    by_state: dict[str, list[dict]] = {}
    for row in rows:
        by_state.setdefault(row["state"], []).append(row)
    assert [values(row) for row in by_state["stored"]] == expected()
    assert {row["reason"] for row in by_state["stored"]} == {""}
    assert [(ms(row["open_time"]), row["reason"]) for row in by_state["absent"]] == [
        (time, "not_published") for time in grid(HOLE)
    ]
    assert [(ms(row["open_time"]), row["reason"]) for row in by_state["lost"]] == [
        (time, "") for time in grid(LOST)
    ]
    for row in by_state["absent"] + by_state["lost"]:
        assert {row[name] for name in (*NUMBERS, "trades_count", "close_time")} == {""}


@pytest.mark.parametrize("start", "=+-@\t\r\n")
def test_text_that_looks_like_a_formula_is_disarmed(start):
    made = cell(f"{start}1+1")
    [[read]] = csv.reader([made]) if "\n" not in made and "\r" not in made else [[made.strip('"')]]
    assert read == f"'{start}1+1"


def test_text_with_separators_stays_one_cell(hours, tmp_path):
    reason = '=cmd("a, b")'
    gone = dataclasses.replace(hours, absences=(KnownAbsence(HOLE, reason),))
    rows, [absence] = files(tmp_path, gone, mark_absent=True)
    assert absence["reason"] == "'" + reason
    assert {row["reason"] for row in rows if row["state"] == "absent"} == {"'" + reason}
    assert cell("not_published") == "not_published"


def test_a_candle_stored_in_spite_of_an_absence_comes_once(hours, tmp_path):
    wide = dataclasses.replace(
        hours,
        absences=(
            KnownAbsence(type(HOLE)(HOLE.start_ms - HOUR, HOLE.end_ms + HOUR), "not_published"),
        ),
    )
    rows, _ = files(tmp_path, wide, mark_absent=True)
    assert [ms(row["open_time"]) for row in rows] == grid(WINDOW)
