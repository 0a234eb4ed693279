"""What a run works on: one frame a symbol, what came before it, and the funding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.data.frame import BacktestFrame, Bars
from candlevault.backtest.engine.simulation import Stage, stage


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Frames of the window, one a symbol in the order of the request.

    `seen` are the bars the strategy sees: those of the frame, after `leads` earlier ones that
    are only there to warm up. `funding` is one float64 rate a grid row and symbol, or None.
    """

    frames: tuple[BacktestFrame, ...]
    seen: tuple[Bars, ...]
    leads: tuple[int, ...]
    stage: Stage
    funding: tuple[np.ndarray, ...] | None = None

    @classmethod
    def of(
        cls,
        frames: Sequence[BacktestFrame],
        *,
        before: Sequence[BacktestFrame | None] | None = None,
        funding: Sequence[np.ndarray] | None = None,
    ) -> Inputs:
        """Inputs from frames; `before` are frames that end where the window starts."""
        seen, leads = [], []
        for frame, earlier in zip(frames, before or (None,) * len(frames), strict=True):
            bars = frame.bars()
            lead = 0
            if earlier is not None:
                first = earlier.bars()
                lead = len(first.close)
                bars = Bars(*(np.concatenate(pair) for pair in zip(first, bars, strict=True)))
                for column in bars:
                    column.flags.writeable = False
            seen.append(bars)
            leads.append(lead)
        rates = None if funding is None else tuple(funding)
        return cls(tuple(frames), tuple(seen), tuple(leads), stage(frames, rates, seen), rates)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything a run can read here."""
        digest = hashlib.sha256()
        for frame, bars, lead in zip(self.frames, self.seen, self.leads, strict=True):
            digest.update(f"{frame.fingerprint()} {lead}\n".encode())
            for column in bars:
                head = column[:lead]
                digest.update(head.astype(head.dtype.newbyteorder("<")).tobytes())
        for rates in self.funding or ():
            digest.update(rates.astype("<f8").tobytes())
        return digest.hexdigest()
