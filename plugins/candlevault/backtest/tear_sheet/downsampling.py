"""Fewer points of a curve without losing its extremes."""

from __future__ import annotations

import numpy as np

MOST_POINTS = 1500


def kept_rows(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Rows of `values` to draw, ascending, at most `most` (4 at least): all of a short curve.

    Of a longer one the first and the last row, and of each of equally long stretches the
    rows of the lowest and of the highest value.
    """
    count = len(values)
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, (most - 2) // 2 + 1).astype(np.int64)
    rows = {0, count - 1}
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[first:end]
        rows.add(first + int(np.argmin(part)))
        rows.add(first + int(np.argmax(part)))
    return np.array(sorted(rows))
