"""Candles of a window that something is known against: restated, flagged, or discrepant."""

from __future__ import annotations

import numpy as np
import psycopg

from candlevault import windows
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import to_ms
from candlevault.windows import Window

RESTATED, FLAGGED, DISCREPANT = "restated", "flagged", "discrepant"


def of_window(
    connection: psycopg.Connection, series_id: int, stored: StoredSeries, window: Window
) -> dict[str, np.ndarray]:
    """Open times by kind of doubt, each ascending int64 ms UTC without repetition.

    `restated`: the venue has changed or withdrawn the candle at some time, before or after
    what is read now. `flagged`: it lies in a recorded anomaly. `discrepant`: another source
    or timeframe disagrees and nobody knows why.
    """
    bounds = {"series": series_id, "start": window.start, "end": window.end}
    return {
        RESTATED: _times(
            connection.execute(
                "SELECT DISTINCT open_time FROM market.candle_revisions"
                " WHERE series_id = %(series)s AND open_time >= %(start)s AND open_time < %(end)s"
                " ORDER BY 1",
                bounds,
            )
        ),
        FLAGGED: windows.open_times_of(
            windows.merge(
                part
                for start, end in connection.execute(
                    "SELECT window_start, window_end FROM market.anomalies"
                    " WHERE series_id = %(series)s AND window_end > %(start)s"
                    " AND window_start < %(end)s",
                    bounds,
                ).fetchall()
                if (part := Window.of(start, end).intersection(window)) is not None
            ),
            stored.series.timeframe,
        ),
        DISCREPANT: _times(
            connection.execute(
                "SELECT DISTINCT open_time FROM market.discrepancies WHERE series_id = %(series)s"
                " AND state = 'open' AND open_time >= %(start)s AND open_time < %(end)s ORDER BY 1",
                bounds,
            )
        ),
    }


def _times(cursor: psycopg.Cursor) -> np.ndarray:
    return np.array([to_ms(row[0]) for row in cursor.fetchall()], dtype=np.int64)
