"""The zip files have the layout that LEAN documents (Data/crypto/readme.md of its sources)."""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from candlevault.errors import InvalidRequest
from candlevault.export import write
from candlevault.series import parse
from candlevault.timeframe import to_ms
from tests.export.conftest import expected, expected_minutes

NAMES = ("open", "high", "low", "close", "volume")


def archives(folder: Path, candle_set) -> dict[str, tuple[str, list[list[str]]]]:
    """By zip file: the name of its one entry, and the entry's rows."""
    found = {}
    for path in write(candle_set, "lean", folder, allow_lost=True).files:
        with zipfile.ZipFile(path) as archive:
            [entry] = archive.namelist()
            rows = list(csv.reader(archive.read(entry).decode("ascii").splitlines()))
            found[path.relative_to(folder).as_posix()] = (entry, rows)
    return found


def by_hour(rows: list[list[str]]) -> list[tuple]:
    return [
        (
            to_ms(datetime.strptime(time, "%Y%m%d %H:%M").replace(tzinfo=UTC)),
            *map(Decimal, numbers),
        )
        for time, *numbers in rows
    ]


def by_minute(day: str, rows: list[list[str]]) -> list[tuple]:
    midnight = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    return [
        (to_ms(midnight + timedelta(milliseconds=int(time))), *map(Decimal, numbers))
        for time, *numbers in rows
    ]


def wanted(stored: list[dict]) -> list[tuple]:
    return [(row["open_time"], *(row[name] for name in NAMES)) for row in stored]


def test_hours_are_one_file_of_what_is_stored(hours, tmp_path):
    [(path, (entry, rows))] = archives(tmp_path, hours).items()
    assert (path, entry) == ("crypto/binance/hour/btcusdt_trade.zip", "btcusdt.csv")
    assert by_hour(rows) == wanted(expected())
    assert rows[0][0] == "20240101 00:00"
    assert rows[28][1:] == ["0.00000001"] * 4 + ["9999999999999.12345678"]


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    [(_, rows)] = archives(tmp_path, story.read(as_of=story.first)).values()
    assert by_hour(rows) == wanted(expected(revised=False)) != wanted(expected())


def test_minutes_are_one_file_per_day(minutes, tmp_path):
    found = archives(tmp_path, minutes)
    assert {path: entry for path, (entry, _) in found.items()} == {
        "crypto/binance/minute/ethusdt/20231231_trade.zip": "20231231_ethusdt_minute_trade.csv",
        "crypto/binance/minute/ethusdt/20240101_trade.zip": "20240101_ethusdt_minute_trade.csv",
    }
    read = [row for path, (_, rows) in found.items() for row in by_minute(path[-18:-10], rows)]
    assert read == wanted(expected_minutes())


def test_days_have_their_own_folder(hours, tmp_path):
    day = dataclasses.replace(hours, series=parse("binance", "spot", "BTCUSDT", "1d"))
    assert list(archives(tmp_path, day)) == ["crypto/binance/daily/btcusdt_trade.zip"]


def test_perpetual_futures_lie_apart(hours, minutes, tmp_path):
    by_hours = dataclasses.replace(hours, series=parse("binance", "um", "BTCUSDT", "1h"))
    by_minutes = dataclasses.replace(minutes, series=parse("binance", "um", "ETHUSDT", "1m"))
    found = archives(tmp_path, by_hours) | archives(tmp_path, by_minutes)
    assert {path: entry for path, (entry, _) in found.items()} == {
        "cryptofuture/binance/hour/btcusdt_trade.zip": "btcusdt_trade_perp.csv",
        "cryptofuture/binance/minute/ethusdt/20231231_trade.zip": (
            "20231231_ethusdt_minute_trade_perp.csv"
        ),
        "cryptofuture/binance/minute/ethusdt/20240101_trade.zip": (
            "20240101_ethusdt_minute_trade_perp.csv"
        ),
    }


def test_the_same_candles_give_the_same_bytes(hours, tmp_path):
    [one] = write(hours, "lean", tmp_path / "one", allow_lost=True).files
    [two] = write(hours, "lean", tmp_path / "two", allow_lost=True).files
    assert one.read_bytes() == two.read_bytes()


def test_timeframes_lean_has_no_resolution_for_are_refused(hours, tmp_path):
    odd = dataclasses.replace(hours, series=parse("binance", "spot", "BTCUSDT", "4h"))
    with pytest.raises(InvalidRequest, match="timeframe: lean holds 1m, 1h, 1d"):
        archives(tmp_path, odd)
