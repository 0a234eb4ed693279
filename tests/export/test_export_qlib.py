"""The CSV files are what qlib's dump_bin expects."""

from __future__ import annotations

import csv
import dataclasses
from datetime import UTC, datetime
from decimal import Decimal

from candlevault.export import write
from candlevault.series import parse
from candlevault.timeframe import to_ms
from tests.export.conftest import expected

COLUMNS = ["symbol", "date", "open", "high", "low", "close", "volume", "factor"]


def back(folder, candle_set) -> tuple[str, list[dict]]:
    [path] = write(candle_set, "qlib", folder, allow_lost=True).files
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == COLUMNS
    return path.relative_to(folder).as_posix(), rows


def values(rows: list[dict]) -> list[tuple]:
    return [
        (
            to_ms(datetime.strptime(row["date"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)),
            *(Decimal(row[name]) for name in COLUMNS[2:7]),
        )
        for row in rows
    ]


def wanted(stored: list[dict]) -> list[tuple]:
    return [(row["open_time"], *(row[name] for name in COLUMNS[2:7])) for row in stored]


def test_what_is_read_back_is_what_is_stored(hours, tmp_path):
    name, rows = back(tmp_path, hours)
    assert name == "60min/BTCUSDT.csv"
    assert values(rows) == wanted(expected())
    assert {(row["symbol"], row["factor"]) for row in rows} == {("BTCUSDT", "1")}


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    _, rows = back(tmp_path, story.read(as_of=story.first))
    assert values(rows) == wanted(expected(revised=False)) != wanted(expected())


def test_days_and_weeks_have_dates_without_a_time(hours, tmp_path):
    for code, folder in (("1d", "day"), ("1w", "week")):
        coarse = dataclasses.replace(hours, series=parse("binance", "spot", "BTCUSDT", code))
        name, rows = back(tmp_path, coarse)
        assert name == f"{folder}/BTCUSDT.csv"
        assert rows[0]["date"] == "2024-01-01"


def test_frequencies_are_spelled_as_qlib_spells_them(minutes, tmp_path):
    name, rows = back(tmp_path, minutes)
    assert name == "1min/ETHUSDT.csv"
    assert rows[0]["date"] == "2023-12-31 23:30:00"
