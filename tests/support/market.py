"""A small market for tests: candles made by hand, a simulated venue, a store, and both joined.

Nothing here replaces code of the project: the venue is the simulator over loopback, the
store a real PostgreSQL.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from candlevault import candles, paths, timeframe
from candlevault.funding import is_paid
from candlevault.ingest import life_load as loading
from candlevault.ingest.load import LoadReport, Market, load
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Fetch, Rejected
from candlevault.providers.binance_archive import BinanceArchive
from candlevault.providers.binance_dialects import dialect_of
from candlevault.providers.binance_funding import BinanceFunding
from candlevault.providers.binance_funding_archive import FundingArchive
from candlevault.providers.binance_rest import BinanceRest
from candlevault.providers.http import HttpClient
from candlevault.providers.registry import BinanceVenue
from candlevault.series import parse
from candlevault.simulator import Exchange, build_exchange, running
from candlevault.simulator.data import FOLDERS
from candlevault.storage import candle_reads, ledger, series_registry
from candlevault.storage.database import connector
from candlevault.storage.publish import Batch, NewAbsence, Published, publish
from candlevault.windows import Window
from tests.support.candles import fetch, ms
from tests.support.candles import window as span

__all__ = ["ms", "span"]

HOUR = 3_600_000
DAY = 24 * HOUR
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume"
)


def grid(window: Window, step_ms: int = HOUR) -> list[int]:
    """Every open time in `window`."""
    return list(range(window.start_ms, window.end_ms, step_ms))


# -- candles ---------------------------------------------------------------------------------


def values_at(open_time: int, step_ms: int = HOUR) -> dict[str, object]:
    """The values of the hand-made candle that opens then: different for each, all plausible."""
    unit = open_time // step_ms % 9973
    low = Decimal(unit) / 100 + 1
    return {
        "open_time": open_time,
        "open": low + Decimal("0.00000001"),
        "high": low + Decimal("2.5"),
        "low": low,
        "close": low + Decimal("1.25"),
        "volume": Decimal(unit) + Decimal("10.5"),
        "quote_volume": Decimal(unit) * 2 + Decimal("11.00000001"),
        "taker_buy_base_volume": Decimal(unit) + Decimal("0.5"),
        "taker_buy_quote_volume": Decimal(unit) + 1,
        "trades_count": unit + 1,
        "close_time": open_time + step_ms - 1,
    }


def table(rows: Iterable[dict[str, object]]) -> pa.Table:
    """A table of candles as providers give them, of rows with the columns of values_at."""
    return pa.Table.from_pylist([{"source": 0} | row for row in rows], candles.SCHEMA)


def made(
    open_times: Iterable[int],
    step_ms: int = HOUR,
    changes: dict[int, dict[str, object]] | None = None,
) -> pa.Table:
    """Hand-made candles at `open_times`; `changes` replaces values of single ones."""
    return table(
        values_at(time, step_ms) | (changes or {}).get(time, {}) for time in sorted(open_times)
    )


def plain(of: pa.Table) -> list[dict[str, object]]:
    """The candles as dictionaries, without where they came from."""
    return of.drop_columns(["source"]).to_pylist()


# -- the store -------------------------------------------------------------------------------

_numbers = itertools.count(1)


def new_symbol() -> str:
    """A symbol that no other test uses, so that tests can share a database."""
    return f"T{next(_numbers)}USDT"


class Store:
    """One series in a market database, published to and read directly."""

    def __init__(self, url: str, symbol: str | None = None, code: str = "1h") -> None:
        self.url = url
        self.connect = connector(url)
        self.series = parse("binance", "spot", symbol or new_symbol(), code)
        with self.connect() as connection:
            found = series_registry.find(connection, self.series)
        self.stored = found or series_registry.register(
            self.connect,
            self.series,
            InstrumentFacts(
                self.series.symbol, self.series.symbol, "", "USDT", "TRADING", trading=True
            ),
        )

    @property
    def step_ms(self) -> int:
        return self.series.timeframe.step_ms

    def claim(self, window: Window) -> ledger.Claim:
        return ledger.claim(self.connect, self.stored.series_id, window, "load", "test")

    def publish(
        self,
        of: pa.Table,
        window: Window | None = None,
        *,
        absences: Sequence[NewAbsence] = (),
        rejected: Sequence[Rejected] = (),
        claim: ledger.Claim | None = None,
        fetches: Sequence[Fetch] | None = None,
    ) -> Published:
        """Publish candles; the window is that of the candles unless given."""
        if window is None:
            times = candles.open_times(of)
            window = Window(int(times[0]), int(times[-1]) + self.step_ms)
        batch = Batch(
            candles=of,
            fetches=list(fetches or [fetch(self.series, rows=of.num_rows)]),
            absences=list(absences),
            rejected=list(rejected),
        )
        return publish(self.connect, self.stored, claim or self.claim(window), batch)

    def publish_made(self, window: Window, without: Iterable[int] = (), **more) -> Published:
        """Publish the hand-made candles of a window."""
        times = set(grid(window, self.step_ms)) - set(without)
        changes = more.pop("changes", None)
        return self.publish(made(times, self.step_ms, changes), window, **more)

    def read(self, window: Window, revision: int | None = None) -> list[dict[str, object]]:
        with self.connect() as connection:
            if revision is None:
                revision = candle_reads.current_revision(connection, self.stored)
            return plain(candle_reads.read(connection, self.stored, window, revision))

    def fingerprint(self, window: Window, revision: int | None = None) -> str:
        with self.connect() as connection:
            if revision is None:
                revision = candle_reads.current_revision(connection, self.stored)
            return candle_reads.fingerprint(connection, self.stored, window, revision)

    def absences(self, window: Window, revision: int | None = None) -> list[Window]:
        with self.connect() as connection:
            found = candle_reads.absences(connection, self.stored, window, revision)
        return [absence.window for absence in found]

    @property
    def revision(self) -> int:
        with self.connect() as connection:
            return candle_reads.current_revision(connection, self.stored)

    def rows(self, statement: str, **parameters: object) -> list[tuple]:
        """The rows of a query; `%(id)s` is the series' id."""
        with self.connect() as connection:
            return connection.execute(
                statement, {"id": self.stored.series_id, **parameters}
            ).fetchall()

    def touched(self) -> list[tuple]:
        """Where each candle lies and which transaction wrote it: unchanged means untouched."""
        return self.rows(
            f"SELECT tableoid, ctid, xmin, open_time FROM market.candles_{self.series.timeframe}"
            " WHERE series_id = %(id)s ORDER BY open_time"
        )


def absence(window: Window, reason: str = "not_published") -> NewAbsence:
    """An absence with some evidence."""
    return NewAbsence(window, reason, {"rest": [{"url": "x"}], "archive": [{"url": "y"}]})


# -- the venue -------------------------------------------------------------------------------


class ReplayFiles:
    """Candle files for the simulator below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(
        self,
        symbol: str,
        open_times: Iterable[int],
        code: str = "1h",
        changes: dict[int, dict[str, object]] | None = None,
        market: str = "spot",
    ) -> None:
        """The hand-made candles at `open_times` as the whole series of `symbol`."""
        step_ms = timeframe.parse(code).step_ms
        lines = [HEADER]
        for time in sorted(open_times):
            row = values_at(time, step_ms) | (changes or {}).get(time, {})
            lines.append(
                f"{time},{row['open']:.8f},{row['high']:.8f},{row['low']:.8f},{row['close']:.8f},"
                f"{row['volume']:.8f},{row['close_time']},{row['quote_volume']:.8f},"
                f"{row['trades_count']},{row['taker_buy_base_volume']:.8f},"
                f"{row['taker_buy_quote_volume']:.8f}"
            )
        path = self.root / FOLDERS[market] / symbol / f"{code}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), 1))

    def write_funding(self, symbol: str, events: Iterable[tuple[int, str, str]]) -> None:
        """(time in ms, rate, mark price) as the funding of a perpetual contract."""
        lines = ["funding_time,funding_rate,mark_price"]
        lines += [f"{time},{rate},{mark}" for time, rate, mark in events]
        path = self.root / FOLDERS["um"] / symbol / "funding.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), 1))

    def end(
        self, symbol: str, moment: str, market: str = "spot", *, forgotten: bool = False
    ) -> None:
        """Say in the manifest that the instrument ended then, and whether REST forgot it."""
        path = self.root / "manifest.json"
        entries = json.loads(path.read_text()) if path.exists() else {}
        entries[f"{FOLDERS[market]}/{symbol}"] = {"ended": moment, "forgotten": forgotten}
        path.write_text(json.dumps(entries))


class SimulatedVenue:
    """A running simulator: where it answers, what it is told, what it was asked."""

    def __init__(self, base_url: str, exchange: Exchange) -> None:
        self.base_url = base_url
        self.exchange = exchange

    def fault(self, kind: str, match: str = "", times: int | None = None, **args) -> None:
        """Switch a fault on; `match` is searched in `path?query`."""
        entry = {"kind": kind, "match": match, "times": times, "args": args}
        self.exchange.faults.add(entry, self.exchange.clock.now_ms())

    def heal(self) -> None:
        """Switch all faults off."""
        self.exchange.faults.clear()

    def at(self, moment: str | int) -> None:
        """Put the venue's clock to an instant."""
        self.exchange.clock.set(moment if isinstance(moment, int) else ms(moment))

    def asked(self) -> dict[str, int]:
        """How many requests of each kind came since the last call of forget()."""
        return self.exchange.stats.describe()["by_kind"]

    def asked_for_candles(self) -> int:
        """Requests for candles, from REST or as archive files."""
        asked = self.asked()
        return sum(asked.get(kind, 0) for kind in ("spot.klines", "archive.zip"))

    def forget(self) -> None:
        """Count anew."""
        self.exchange.stats.reset()


@contextlib.contextmanager
def simulated(root: Path, now: str | int, **options) -> Iterator[SimulatedVenue]:
    """A simulator that replays `root`, its clock frozen at `now`."""
    with running(build_exchange(f"replay:{root}", now=now, **options)) as simulator:
        yield SimulatedVenue(simulator.base_url, simulator.exchange)


def no_sleep(seconds: float) -> None:
    """Sleeps not at all: retries follow at once."""


def client(name: str = "test", sleep: Callable[[float], None] = no_sleep, **options) -> HttpClient:
    """An HTTP client that does not wait between its tries."""
    return HttpClient(name, **({"sleep": sleep, "timeout_s": 10} | options))


def venue_at(base_url: str, market: str = "spot", **options) -> BinanceVenue:
    """The venue's adapters, pointed at a simulator."""
    dialect = dialect_of(market)
    archive, rest = (dialect.provider_name("binance", kind) for kind in ("archive", "rest"))
    archive_client, rest_client = client(archive, **options), client(rest, **options)
    files = (f"{base_url}/archive", f"{base_url}/archive-listing", archive, archive_client)
    return BinanceVenue(
        venue="binance",
        market=market,
        archive=BinanceArchive(*files),
        rest=BinanceRest(base_url, rest, rest_client, dialect=dialect),
        funding=BinanceFunding(base_url, rest, rest_client, FundingArchive(*files))
        if is_paid(market)
        else None,
    )


def market_at(url: str, base_url: str, say: Callable[[str], None] = lambda line: None) -> Market:
    """A database and a simulated venue, ready for loading."""
    return Market(connector(url), venue_at(base_url), say=say)


# -- loading in a process that can be killed -------------------------------------------------

SMALL_BATCH = 360
"""Candles in a batch of a loading process: small, so that there are many to be killed in."""


def load_in_small_batches(
    url: str, base_url: str, symbol: str, code: str, window: Window
) -> LoadReport:
    """Load a window in batches of SMALL_BATCH candles."""
    whole = loading.MAX_ROWS
    loading.MAX_ROWS = SMALL_BATCH
    try:
        series = parse("binance", "spot", symbol, code)
        return load(market_at(url, base_url), series, window, purpose="backfill")
    finally:
        loading.MAX_ROWS = whole


def _work(told, arguments: tuple) -> None:
    try:
        told.send(load_in_small_batches(*arguments))
    except Exception as error:
        told.send(f"{type(error).__name__}: {error}")


class LoadingProcess:
    """load_in_small_batches in a process of its own, started from a warm one."""

    def __init__(self, *arguments: object) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.market", "great_expectations"])
        self._told, tell = context.Pipe(duplex=False)
        with _importable():
            self.process = context.Process(target=_work, args=(tell, arguments), daemon=True)
            self.process.start()
        tell.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def outcome(self, timeout_s: float = 60) -> LoadReport | str:
        """The load's report, or the error it ended with; `killed` if it could tell nothing."""
        try:
            if not self._told.poll(timeout_s):
                raise TimeoutError("the loading process does not end")
            return self._told.recv()
        except EOFError:
            return "killed"
        finally:
            self.process.join(5)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join(10)


_starting = threading.Lock()


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The process that the others are forked from finds modules by PYTHONPATH only."""
    with _starting, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{paths.PLUGINS}{os.pathsep}{paths.PROJECT}")
        yield
