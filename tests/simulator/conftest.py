"""Candle files written by hand, clients of a simulator, and where the real data lie."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
from pathlib import Path

import httpx
import pytest

from candlevault import timeframe
from candlevault.simulator import Exchange, build_app, build_exchange, running
from candlevault.simulator.clock import instant_ms

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume"
)


def ms(text: str) -> int:
    """Epoch milliseconds of an ISO instant."""
    return instant_ms(text, "test")


class CandleFiles:
    """Writes replay files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(
        self,
        name: str,
        first: str,
        count: int,
        without: tuple[int, ...] = (),
        lines: dict[int, str] | None = None,
    ) -> Path:
        """`count` rows of `spot/BTCUSDT/1h` from `first`, rows `without` left out.

        Row i opens at 100 + i and closes one higher; `lines` replaces whole lines.
        """
        path = self.root / f"{name}.csv.gz"
        code = path.name.partition(".")[0].partition("_")[0]
        step = timeframe.parse(code).step_ms
        origin = ms(first)
        text = [HEADER]
        for i in range(count):
            if i in without:
                continue
            opened = origin + i * step
            usual = (
                f"{opened},{100 + i}.00000000,{102 + i}.50000000,{99 + i}.00000000,"
                f"{101 + i}.00000000,10.00000000,{opened + step - 1},1005.00000000,7,"
                "4.00000000,402.00000000"
            )
            text.append((lines or {}).get(i, usual))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join([*text, ""]).encode(), 1))
        return path

    def manifest(self, entries: dict) -> None:
        """The manifest of the directory."""
        (self.root / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")

    def exchange(self, **options) -> Exchange:
        """The exchange that replays the directory."""
        return build_exchange(f"replay:{self.root}", **options)


class Client:
    """A plain HTTP client of one simulator, through a socket or straight into the app."""

    def __init__(self, exchange: Exchange, base_url: str | None = None) -> None:
        self.exchange = exchange
        self.base_url = base_url or "http://simulator"
        self._app = None if base_url else build_app(exchange)
        # Reading the certificates costs more than most tests; nothing here is encrypted.
        self._socket = httpx.Client(timeout=10, verify=False) if base_url else None

    def get(self, path: str, headers: dict | None = None, **params) -> httpx.Response:
        """The response to GET; parameters named `start` and `end` are the range."""
        for short, name in (("start", "startTime"), ("end", "endTime")):
            if short in params:
                params[name] = params.pop(short)
        return self._send("GET", path, params=params, headers=headers)

    def klines(self, symbol: str = "BTCUSDT", interval: str = "1h", **params) -> list:
        """The rows of a klines request, which must succeed."""
        response = self.get("/api/v3/klines", symbol=symbol, interval=interval, **params)
        assert response.status_code == 200, response.text
        return response.json()

    def opened(self, **params) -> list[int]:
        """The open times that klines answers."""
        return [row[0] for row in self.klines(**params)]

    def archive(self, key: str) -> httpx.Response:
        """The response to GET of an archive key."""
        return self.get(f"/archive/{key}")

    def fault(self, kind: str, match: str = "", times: int | None = None, **args) -> dict:
        """Switch a fault on."""
        body = {"kind": kind, "match": match, "times": times, "args": args}
        response = self.control("POST", "faults", [body])
        assert response.status_code == 200, response.text
        return response.json()[0]

    def control(self, method: str, name: str, body: object = None) -> httpx.Response:
        """A request to the control surface."""
        return self._send(method, f"/_control/{name}", json=body)

    def stats(self) -> dict:
        """The statistics."""
        return self.control("GET", "stats").json()

    def _send(self, method: str, path: str, **what) -> httpx.Response:
        if self._socket is not None:
            return self._socket.request(method, self.base_url + path, **what)

        async def straight() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as http:
                return await http.request(method, path, **what)

        return asyncio.run(straight())


@pytest.fixture
def files(tmp_path: Path) -> CandleFiles:
    return CandleFiles(tmp_path / "replay")


@pytest.fixture
def serve():
    """A client of an exchange, without sockets."""
    return Client


@pytest.fixture
def listen():
    """Starts simulators on free ports that end with the test; gives their clients."""
    with contextlib.ExitStack() as stack:

        def start(exchange: Exchange) -> Client:
            return Client(exchange, stack.enter_context(running(exchange)).base_url)

        yield start


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real candles; skips aloud where there is none."""
    given = os.environ.get("CANDLEVAULT_SHARED_DATA")
    path = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (path / "klines" / "spot").is_dir():
        pytest.skip(f"real candles not found at {path} (set CANDLEVAULT_SHARED_DATA)")
    return path
