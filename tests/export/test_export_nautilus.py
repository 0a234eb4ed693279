"""The catalog has the layout, schema and metadata that nautilus_trader reads."""

from __future__ import annotations

import dataclasses
import shutil
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candlevault.errors import InvalidRequest
from candlevault.export import write
from candlevault.export.formats.nautilus_catalog import bar_type
from candlevault.series import parse
from tests.export.conftest import HOLE, MINUTES, expected, expected_minutes
from tests.support.market import HOUR

NAMES = ("open", "high", "low", "close", "volume")
FOLDER = "data/bar/BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL"
FILE = f"{FOLDER}/2024-01-01T01-00-00-000000000Z_2024-01-03T00-00-00-000000000Z.parquet"


def back(folder, candle_set, **more) -> tuple[str, pa.Table]:
    [path] = write(candle_set, "nautilus", folder, allow_lost=True, **more).files
    return path.relative_to(folder).as_posix(), pq.read_table(path, partitioning=None)


def bars(table: pa.Table) -> list[tuple]:
    return [
        (
            *(Decimal(int.from_bytes(row[name], "little", signed=True)) / 10**16 for name in NAMES),
            row["ts_event"],
            row["ts_init"],
        )
        for row in table.to_pylist()
    ]


def wanted(stored: list[dict], step_ms: int = HOUR) -> list[tuple]:
    closes = [(row["open_time"] + step_ms) * 1_000_000 for row in stored]
    return [
        (*(row[name] for name in NAMES), close, close)
        for row, close in zip(stored, closes, strict=True)
    ]


def test_what_is_read_back_is_what_is_stored(hours, tmp_path):
    name, table = back(tmp_path, hours)
    assert name == FILE
    assert bars(table) == wanted(expected())


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    _, table = back(tmp_path, story.read(as_of=story.first))
    assert bars(table) == wanted(expected(revised=False)) != wanted(expected())


def test_schema_and_metadata_are_those_of_the_tool(hours, tmp_path):
    _, table = back(tmp_path, hours)
    raw, stamp = pa.binary(16), pa.uint64()
    assert table.schema.remove_metadata() == pa.schema(
        [pa.field(name, raw, nullable=False) for name in NAMES]
        + [pa.field(name, stamp, nullable=False) for name in ("ts_event", "ts_init")]
    )
    assert table.schema.metadata == {
        b"bar_type": b"BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL",
        b"instrument_id": b"BTCUSDT.BINANCE",
        b"price_precision": b"8",
        b"size_precision": b"8",
    }


def test_precisions_are_the_fewest_that_hold_or_as_told(minutes, tmp_path):
    _, table = back(tmp_path / "own", minutes)
    told = [table.schema.metadata[key] for key in (b"price_precision", b"size_precision")]
    assert told == [b"8", b"1"]
    _, table = back(tmp_path / "told", minutes, options={"size_precision": 5})
    assert table.schema.metadata[b"size_precision"] == b"5"
    assert bars(table) == wanted(expected_minutes(), 60_000)
    with pytest.raises(InvalidRequest, match=r"options\.size_precision: must be 1 or more"):
        back(tmp_path / "few", minutes, options={"size_precision": 0})


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("1m", "1-MINUTE"),
        ("5m", "5-MINUTE"),
        ("15m", "15-MINUTE"),
        ("30m", "30-MINUTE"),
        ("1h", "1-HOUR"),
        ("4h", "4-HOUR"),
        ("1d", "1-DAY"),
        ("1w", "1-WEEK"),
    ],
)
def test_every_timeframe_has_its_bar_type(code, step):
    assert bar_type(parse("binance", "spot", "BTCUSDT", code)) == (
        f"BTCUSDT.BINANCE-{step}-LAST-EXTERNAL"
    )
    assert bar_type(parse("binance", "um", "BTCUSDT", code)) == (
        f"BTCUSDT-PERP.BINANCE-{step}-LAST-EXTERNAL"
    )


def test_a_value_the_tool_cannot_hold_is_refused(hours, tmp_path):
    index = hours.table.schema.get_field_index("volume")
    huge = pa.array([Decimal("34028236692094")] * len(hours), hours.table["volume"].type)
    too_much = dataclasses.replace(hours, table=hours.table.set_column(index, "volume", huge))
    with pytest.raises(InvalidRequest, match="34028236692093"):
        back(tmp_path, too_much)


def test_bars_of_somebody_else_in_the_folder_are_never_doubled(hours, tmp_path):
    _, _ = back(tmp_path, hours)
    shutil.copy(tmp_path / FILE, tmp_path / FOLDER / "2020-01-01_2020-01-02.parquet")
    (tmp_path / "BTCUSDT__1h.nautilus.candlevault.json").unlink()
    with pytest.raises(InvalidRequest, match="other bars"):
        back(tmp_path, hours, overwrite=True)


def test_another_window_replaces_the_former_file_when_told(story, hours, tmp_path):
    back(tmp_path, hours)
    shorter = story.read(type(HOLE)(MINUTES.end_ms, HOLE.end_ms))
    with pytest.raises(InvalidRequest, match="holds binance/spot/BTCUSDT/1h"):
        back(tmp_path, shorter)
    name, _ = back(tmp_path, shorter, overwrite=True)
    assert name != FILE
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [name.split("/")[-1]]
