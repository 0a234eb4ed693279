"""The feather files have the layout, names and types that freqtrade reads."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.feather as feather
import pytest

from candlevault.errors import InvalidRequest
from candlevault.export import write
from candlevault.series import parse
from tests.export.conftest import expected


def back(folder, candle_set) -> tuple[str, pa.Table]:
    [path] = write(candle_set, "freqtrade", folder, allow_lost=True).files
    return path.relative_to(folder).as_posix(), feather.read_table(path)


def rows(table: pa.Table) -> list[tuple]:
    return [
        (row["date"].timestamp() * 1000, *(row[name] for name in table.column_names[1:]))
        for row in table.to_pylist()
    ]


def floats(stored: list[dict]) -> list[tuple]:
    names = ("open", "high", "low", "close", "volume")
    return [(row["open_time"], *(float(row[name]) for name in names)) for row in stored]


def test_what_is_read_back_is_the_nearest_float_of_what_is_stored(hours, tmp_path):
    name, table = back(tmp_path, hours)
    assert name == "BTC_USDT-1h.feather"
    assert rows(table) == floats(expected())
    assert table.schema.equals(
        pa.schema(
            [("date", pa.timestamp("ms", tz="UTC"))]
            + [(column, pa.float64()) for column in ("open", "high", "low", "close", "volume")]
        )
    )


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    _, table = back(tmp_path, story.read(as_of=story.first))
    assert rows(table) == floats(expected(revised=False)) != floats(expected())


def test_futures_lie_in_a_folder_of_their_own(hours, tmp_path):
    future = dataclasses.replace(hours, series=parse("binance", "um", "BTCUSDT", "1h"))
    name, table = back(tmp_path, future)
    assert name == "futures/BTC_USDT_USDT-1h-futures.feather"
    assert rows(table) == floats(expected())


def test_a_pair_whose_assets_nobody_knows_is_refused(hours, tmp_path):
    unknown = dataclasses.replace(hours, base_asset="", quote_asset="")
    with pytest.raises(InvalidRequest, match="asset"):
        back(tmp_path, unknown)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_markets_without_pairs_are_refused(hours, tmp_path):
    stock = dataclasses.replace(hours, series=parse("broker", "stocks", "AAPL", "1h"))
    with pytest.raises(InvalidRequest, match="market"):
        back(tmp_path, stock)
