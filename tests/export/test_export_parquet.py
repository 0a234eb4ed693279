"""A Parquet export holds every column exactly and says in itself what it is."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from candlevault.candles import AMOUNT, AMOUNTS, PRICE, PRICES
from candlevault.export import write
from tests.export.conftest import expected


def back(folder, candle_set, **more) -> pa.Table:
    done = write(candle_set, "parquet", folder, allow_lost=True, **more)
    [path] = done.files
    assert path.name == "BTCUSDT__1h.parquet"
    return pq.read_table(path)


def values(table: pa.Table) -> list[dict]:
    for name in ("open_time", "close_time"):
        column = table[name].cast(pa.int64())
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.to_pylist()


def test_what_is_read_back_is_what_is_stored(hours, tmp_path):
    assert values(back(tmp_path, hours)) == expected()


def test_an_old_state_is_exported_with_its_old_values(story, tmp_path):
    table = back(tmp_path, story.read(as_of=story.first))
    assert values(table) == expected(revised=False) != expected()


def test_types_are_exact(hours, tmp_path):
    schema = back(tmp_path, hours).schema
    moment = pa.timestamp("ms", tz="UTC")
    assert [schema.field(name).type for name in PRICES] == [PRICE] * 4
    assert [schema.field(name).type for name in AMOUNTS] == [AMOUNT] * 4
    assert schema.field("open_time").type == schema.field("close_time").type == moment
    assert schema.field("trades_count").type == pa.int64()


def test_the_metadata_are_the_facts(hours, tmp_path):
    table = back(tmp_path, hours)
    assert json.loads(table.schema.metadata[b"candlevault"]) == hours.facts()
    file = pq.ParquetFile(tmp_path / "BTCUSDT__1h.parquet")
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
