"""COPY in both directions: between Arrow tables and PostgreSQL, every decimal exact."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg import sql

from candlevault import candles
from candlevault.storage.series_registry import StoredSeries

_COLUMNS = (
    "series_id", "open_time", *candles.PRICES, *candles.AMOUNTS, "trades_count", "close_time",
    "fetch_id", "revision",
)  # fmt: skip


def copy_out(
    connection: psycopg.Connection,
    statement: sql.Composed,
    parameters: Mapping[str, object],
    schema: pa.Schema,
) -> pa.Table:
    """The rows of a query as a table of `schema`, whose columns are in the query's order."""
    # COPY takes no parameters from the client: they are bound as literals by the driver.
    bound = psycopg.ClientCursor(connection).mogrify(statement, parameters)
    with connection.cursor().copy(f"COPY ({bound}) TO STDOUT (FORMAT csv)") as copy:  # type: ignore[arg-type]
        text = b"".join(bytes(block) for block in copy)
    if not text:
        return schema.empty_table()
    return pacsv.read_csv(
        io.BytesIO(text),
        read_options=pacsv.ReadOptions(column_names=schema.names, block_size=len(text)),
        convert_options=pacsv.ConvertOptions(
            column_types={field.name: field.type for field in schema}
        ),
    ).combine_chunks()


def copy_in(
    connection: psycopg.Connection, target: sql.Identifier, stored: StoredSeries, rows: pa.Table
) -> None:
    """COPY rows of candlevault.storage.cold.ROWS into a table with the columns of the hot ones."""
    _copy_in(connection, target, _copy_bytes(stored, rows))


def _copy_bytes(stored: StoredSeries, rows: pa.Table) -> bytes:
    """Rows of candlevault.storage.cold.ROWS as COPY reads them; decimals keep every digit."""
    count = rows.num_rows
    step_ms = stored.series.timeframe.step_ms
    open_ms = rows["open_time"].to_numpy()
    close_ms = rows["close_time"].to_numpy()
    irregular = close_ms != open_ms + step_ms - 1
    close_times = pa.array(close_ms, mask=~irregular).cast(pa.timestamp("ms", "UTC"))
    columns = {
        "series_id": pa.array(np.full(count, stored.series_id, dtype=np.int16)),
        "open_time": pa.array(open_ms).cast(pa.timestamp("ms", "UTC")).cast(pa.string()),
        **{name: rows[name] for name in (*candles.PRICES, *candles.AMOUNTS, "trades_count")},
        "close_time": pc.fill_null(close_times.cast(pa.string()), ""),
        "fetch_id": rows["fetch_id"],
        "revision": rows["revision"],
    }
    out = io.BytesIO()
    pacsv.write_csv(
        pa.table({name: columns[name] for name in _COLUMNS}),
        out,
        pacsv.WriteOptions(include_header=False, quoting_style="none"),
    )
    return out.getvalue()


def _copy_in(connection: psycopg.Connection, target: sql.Identifier, rows: bytes) -> None:
    statement = sql.SQL("COPY {target} ({columns}) FROM STDIN (FORMAT csv, NULL '')").format(
        target=target, columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    )
    # All bytes are at hand before COPY starts: a stalled COPY ignores every time-out.
    with connection.cursor().copy(statement) as copy:
        copy.write(rows)
