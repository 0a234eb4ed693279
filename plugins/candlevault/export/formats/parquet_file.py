"""One Parquet file: every column exact, the sidecar's facts in its metadata.

`BTCUSDT__1h.parquet`: open_time and close_time timestamp[ms, UTC] (close inclusive), prices
decimal(20, 8), volumes decimal(30, 8), trades_count int64. zstd.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format
from candlevault.export.stage import Stage

METADATA_KEY = b"candlevault"
_MOMENT = pa.timestamp("ms", tz="UTC")


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    table = candle_set.table
    for name in ("open_time", "close_time"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table[name].cast(_MOMENT))
    facts = json.dumps(candle_set.facts()).encode()
    table = table.replace_schema_metadata({METADATA_KEY: facts})
    pq.write_table(
        table,
        stage.file(f"{candle_set.series.slug}.parquet"),
        compression="zstd",
        row_group_size=100_000,
    )


FORMAT = Format("parquet", "one Parquet file, exact decimals, zstd", _write)
