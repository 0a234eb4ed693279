"""Replay files: candles of `DIR/<market folder>/<SYMBOL>/<timeframe>.csv.gz`, loaded lazily.

A file is parsed once, on first use, into preformatted rows; decimal texts pass through
untouched. Funding rates lie beside the candles, in `um_futures/<SYMBOL>/funding.csv.gz`. A
manifest `DIR/manifest.json` may say, for `spot/MATICUSDT`,

    {"ended": "2024-09-10T03:00:00Z",      the instrument ended then
     "forgotten": true,                     and REST knows it no more; the archive keeps it
     "pieces": ["1h_2024-01-01_2024-09-07"]}    serve this shorter file as the 1h series
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from candlevault import timeframe as timeframes_module
from candlevault.errors import ConfigurationError
from candlevault.simulator.block import Block, BlockCache
from candlevault.simulator.clock import instant_ms
from candlevault.simulator.funding import ReplayFunding
from candlevault.simulator.source import NoCandleData
from candlevault.timeframe import Timeframe

COLUMNS = [
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
]
FOLDERS = {"spot": "spot", "um": "um_futures"}
"""Folder below DIR of each market."""

_SUFFIX = ".csv.gz"
_READ_ERRORS = (OSError, EOFError, zlib.error, ValueError)


class ReplayFiles:
    """The candle files below a directory as a Source. Nothing is read until asked for.

    `pieces` are names such as `BTCUSDT/1m_2023-03-16_2023-05-01` (or with the market folder
    before them); a named piece is the series of its timeframe and hides the main file.
    `symbols` limits what is served. Raises ConfigurationError naming what is wrong.
    """

    def __init__(
        self,
        root: Path,
        pieces: tuple[str, ...] = (),
        symbols: tuple[str, ...] | None = None,
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        self.given = root
        self.root = root / "klines" if (root / "klines").is_dir() else root
        if not any((self.root / folder).is_dir() for folder in FOLDERS.values()):
            raise ConfigurationError(
                f"{root}: neither {' nor '.join(FOLDERS.values())} (nor a folder klines/ with "
                "them) lies in the replay directory"
            )
        self.label = f"replay {root}"
        self._cache = BlockCache(cache_bytes)
        self._paths: dict[tuple[str, str, str], Path] = {}
        self._symbols: dict[str, list[str]] = {}
        self._ended: dict[tuple[str, str], object] = {}
        self._forgotten: set[tuple[str, str]] = set()
        self._series: dict[tuple[str, str, str], ReplaySeries] = {}
        self._funding: dict[tuple[str, str], ReplayFunding] = {}
        self._discover(symbols)
        manifest = self._manifest()
        named = [*pieces, *(f"{key}/{p}" for key, e in manifest.items() for p in e["pieces"])]
        self._name_pieces(named)

    def symbols(self, market: str) -> list[str]:
        return self._symbols.get(market, [])

    def timeframes(self, market: str, symbol: str) -> list[str]:
        return [code for code in timeframes_module.ALL if (market, symbol, code) in self._paths]

    def series(self, market: str, symbol: str, timeframe: str) -> ReplaySeries:
        key = (market, symbol, timeframe)
        if key not in self._paths:
            raise NoCandleData(
                f"the replay directory holds no {FOLDERS[market]}/{symbol}/{timeframe}{_SUFFIX}"
            )
        if key not in self._series:
            self._series[key] = ReplaySeries(
                self._paths[key],
                timeframes_module.parse(timeframe),
                self._ended.get((market, symbol)),
                self._cache,
            )
        return self._series[key]

    def funding(self, market: str, symbol: str) -> ReplayFunding:
        key = (market, symbol)
        if key not in self._funding:
            path = self.root / FOLDERS[market] / symbol / f"funding{_SUFFIX}"
            self._funding[key] = ReplayFunding(path, self.ended_ms(market, symbol))
        return self._funding[key]

    def ended_ms(self, market: str, symbol: str) -> int | None:
        ended = self._ended.get((market, symbol))
        if ended is not True:
            return ended
        # `true`: at the end of its own file; the finest series knows the end best.
        codes = self.timeframes(market, symbol)
        return self.series(market, symbol, codes[0]).ended_ms if codes else None

    def is_forgotten(self, market: str, symbol: str) -> bool:
        return (market, symbol) in self._forgotten

    def describe(self, market: str, symbol: str, timeframe: str) -> dict:
        series = self.series(market, symbol, timeframe)
        return {"file": str(series.path.relative_to(self.root)), **series.describe()}

    def biggest(self) -> ReplaySeries | None:
        """The series with the biggest file, which sets the clock when nobody else does."""
        if not self._paths:
            return None
        key = max(self._paths, key=lambda k: (self._paths[k].stat().st_size, k))
        return self.series(*key)

    def _discover(self, wanted: tuple[str, ...] | None) -> None:
        for market, folder in FOLDERS.items():
            base = self.root / folder
            found = sorted(p.name for p in base.iterdir() if p.is_dir()) if base.is_dir() else []
            self._symbols[market] = [s for s in found if wanted is None or s in wanted]
            for symbol in self._symbols[market]:
                for code in timeframes_module.ALL:
                    path = base / symbol / f"{code}{_SUFFIX}"
                    if path.is_file():
                        self._paths[market, symbol, code] = path
        if wanted is not None:
            served = {s for names in self._symbols.values() for s in names}
            if missing := sorted(set(wanted) - served):
                raise ConfigurationError(
                    f"{self.root}: the replay directory has no {', '.join(missing)}"
                )

    def _manifest(self) -> dict[str, dict]:
        path = next(
            (p for p in (self.root / "manifest.json", self.given / "manifest.json") if p.is_file()),
            None,
        )
        if path is None:
            return {}
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            entries = None
        if not isinstance(entries, dict):
            raise ConfigurationError(f"{path}: must be a JSON object")
        read: dict[str, dict] = {}
        for name, entry in entries.items():
            market, symbol = self._split(name, path)
            if not isinstance(entry, dict) or set(entry) - {"ended", "forgotten", "pieces"}:
                raise ConfigurationError(
                    f'{path}: {name} must look like {{"ended": "2024-09-10T03:00:00Z", '
                    '"pieces": ["1h_2024-01-01_2024-09-07"]}'
                )
            ended = entry.get("ended")
            if ended not in (None, False):
                self._ended[market, symbol] = (
                    True if ended is True else instant_ms(ended, f"{path.name} {name}.ended")
                )
            forgotten = entry.get("forgotten", False)
            if not isinstance(forgotten, bool) or (forgotten and ended in (None, False)):
                raise ConfigurationError(
                    f"{path}: {name}.forgotten must be true or false, and only what has "
                    "ended can be forgotten"
                )
            if forgotten:
                self._forgotten.add((market, symbol))
            read[name] = {"pieces": entry.get("pieces", [])}
        return read

    def _split(self, name: str, path: Path) -> tuple[str, str]:
        folder, _, symbol = name.rpartition("/")
        market = next((m for m, f in FOLDERS.items() if folder in (f, m)), None)
        if market is None or not symbol:
            raise ConfigurationError(f"{path}: {name!r} must look like spot/BTCUSDT")
        return market, symbol

    def _name_pieces(self, names: list[str]) -> None:
        named: Counter = Counter()
        for name in names:
            parts = name.removesuffix(_SUFFIX).split("/")
            if len(parts) == 2:
                parts = ["spot", *parts]
            market = next((m for m, f in FOLDERS.items() if parts[0] in (f, m)), None)
            code = parts[-1].partition("_")[0]
            if len(parts) != 3 or market is None or code not in timeframes_module.ALL:
                raise ConfigurationError(
                    f"piece {name!r}: must look like BTCUSDT/1m_2023-03-16_2023-05-01"
                )
            path = self.root / FOLDERS[market] / parts[1] / f"{parts[2]}{_SUFFIX}"
            if not path.is_file():
                raise ConfigurationError(f"piece {name!r}: no file {path}")
            if parts[1] not in self._symbols[market]:
                continue
            key = (market, parts[1], code)
            named[key] += 1
            if named[key] > 1:
                raise ConfigurationError(
                    f"piece {name!r}: {parts[1]} {code} is named twice; pieces are never joined"
                )
            self._paths[key] = path


class ReplaySeries:
    """One candle file."""

    def __init__(self, path: Path, timeframe: Timeframe, ended: object, cache: BlockCache) -> None:
        self.path = path
        self.timeframe = timeframe
        self.name = f"replay data of {path.parent.name} {timeframe.code}"
        self._cache = cache
        self._lacking: dict[str, int] | None = None
        self.first_ms, self.last_ms = self._ends()
        self.ended_ms = self.last_ms + timeframe.step_ms if ended is True else ended

    def blocks(self, first_ms: int, last_ms: int, newest_first: bool) -> Iterator[Block]:
        yield self._block()

    def has_candle(self, first_ms: int, last_ms: int) -> bool:
        i, j = self._block().span(first_ms, last_ms)
        return i < j

    def describe(self) -> dict:
        """Rows, ends and, by column, how many rows lack it."""
        rows = len(self._block())
        if self._lacking is None:
            self._load()
        return {
            "rows": rows,
            "first_open_time": self.first_ms,
            "last_open_time": self.last_ms,
            "ended": self.ended_ms,
            "rows_lacking": {name: n for name, n in self._lacking.items() if n},
        }

    def _block(self) -> Block:
        return self._cache.get(self.path, self._load)

    def _ends(self) -> tuple[int, int]:
        """First and last open time, without parsing what lies between."""
        lines = self._read_lines()
        try:
            return int(lines[0].partition(b",")[0]), int(lines[-1].partition(b",")[0])
        except ValueError:
            raise NoCandleData(f"{self.path}: open_time is not a whole number") from None

    def _read_lines(self) -> list[bytes]:
        try:
            lines = gzip.decompress(self.path.read_bytes()).split()
        except _READ_ERRORS as error:
            raise NoCandleData(f"{self.path}: cannot be read: {error}") from error
        if not lines or lines[0].decode("ascii", "replace").split(",") != list(COLUMNS):
            raise NoCandleData(f"{self.path}: the header must be {','.join(COLUMNS)}")
        if len(lines) == 1:
            raise NoCandleData(f"{self.path}: holds no candle")
        return lines[1:]

    def _load(self) -> Block:
        lines = self._read_lines()
        last_ms_of = self.timeframe.step_ms - 1
        lacking = [0] * len(COLUMNS)
        open_times = np.empty(len(lines), dtype=np.int64)
        rows: list[bytes] = []
        try:
            for index, line in enumerate(lines):
                fields = line.decode("ascii").split(",")
                if "" in fields:
                    for column, text in enumerate(fields):
                        if not text:
                            lacking[column] += 1
                            fields[column] = "0"
                    if fields[6] == "0":
                        fields[6] = str(int(fields[0]) + last_ms_of)
                t, o, h, low, c, v, close, q, n, tb, tq = fields
                open_times[index] = int(t)
                rows.append(
                    f'[{t},"{o}","{h}","{low}","{c}","{v}",{close},"{q}",{n},"{tb}","{tq}","0"]'.encode()
                )
        except ValueError as error:
            raise NoCandleData(f"{self.path}: line {len(rows) + 2}: {error}") from None
        if len(open_times) > 1 and int(np.diff(open_times).min()) <= 0:
            raise NoCandleData(f"{self.path}: open_time must ascend strictly")
        self._lacking = dict(zip(COLUMNS, lacking, strict=True))
        return Block.of(open_times, rows)
