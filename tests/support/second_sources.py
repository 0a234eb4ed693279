"""How each second source writes an answer: the documented shapes, made of plain rows.

A `Speaker` knows one source: how to build its adapter against a scripted server, how the
source writes rows, says that it has none, refuses a symbol, and in what ways an answer can
be broken. The contract tests ask the same questions of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from candlevault.providers.alpha_vantage import AlphaVantage
from candlevault.providers.api_keys import ApiKey
from candlevault.providers.ccxt_exchange import CcxtExchange
from candlevault.providers.coingecko import CoinGecko
from candlevault.providers.http import HttpClient
from candlevault.providers.massive import Massive
from candlevault.providers.oanda import Oanda
from candlevault.providers.pace import Pace
from candlevault.providers.single_source import SingleSource
from candlevault.providers.yahoo import Yahoo
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.timeframe import from_ms
from tests.support.candles import ms
from tests.support.scripted_http import Reply, ScriptedServer

RECORDINGS = Path(__file__).resolve().parents[1] / "providers" / "recordings"
CANARY = "CaNaRy0123456789kEy"
NOW = ms("2026-03-15T12:34:56")


class Row(NamedTuple):
    """A candle as a source writes it: ms of its start, and numbers as text."""

    time: int
    open: str
    high: str
    low: str
    close: str
    volume: str


def recording(name: str) -> bytes:
    """The bytes of a recorded answer."""
    return (RECORDINGS / name).read_bytes()


def no_sleep(seconds: float) -> None:
    """Waits for nothing."""


class _ToServer(HTTPAdapter):
    """Sends every request to one base URL, whatever host it was meant for."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def send(self, request: requests.PreparedRequest, **options) -> requests.Response:
        parts = urlsplit(request.url)
        meant = request.url
        request.url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        options["proxies"] = {}
        response = super().send(request, **options)
        response.url = meant
        return response


def session_to(server: ScriptedServer) -> requests.Session:
    """A session whose requests all end at the scripted server."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _ToServer(server.base_url))
    return session


def client(name: str, key: ApiKey | None = None, **options) -> HttpClient:
    """A client that never really sleeps."""
    return HttpClient(name, key=key, sleep=no_sleep, jitter=lambda: 0.5, **options)


Make = Callable[[ScriptedServer], SingleSource]
Encode = Callable[[Iterable[Row]], bytes]


@dataclass(frozen=True)
class Speaker:
    """One source in the contract tests.

    `fields` are the texts that stand for the values of a row in `encode`; `unknown` is the
    reply to a symbol that it does not have (`unknown_symbol`, or any); `volume` names the
    column its volume goes to.
    """

    name: str
    make: Make
    series: Series
    encode: Encode
    empty: bytes
    unknown: Reply
    candle_path: str
    volume: str | None = "volume"
    other: Mapping[str, bytes] = field(default_factory=dict)
    shapes: Mapping[str, bytes] = field(default_factory=dict)
    unknown_symbol: str = ""

    def serve(self, server: ScriptedServer, reply: Callable[[dict], Reply]) -> None:
        """Answer questions for candles with `reply(parameters)`, others as the source does."""

        def answer(path: str, parameters: Mapping[str, str]) -> Reply:
            if path in self.other:
                return Reply(self.other[path], headers=JSON)
            if self.candle_path in path:
                return reply({**parameters, "path": path})
            return Reply(b"{}", 404, JSON)

        server.answer = answer

    def say(self, server: ScriptedServer, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer every question for candles with this body."""
        self.serve(server, lambda parameters: Reply(body, status, {**JSON, **headers}))


JSON = {"Content-Type": "application/json"}


def _polygon(rows: Iterable[Row], **more: object) -> bytes:
    listed = ",".join(
        f'{{"v":{r.volume},"vw":{r.close},"o":{r.open},"c":{r.close},"h":{r.high},"l":{r.low},'
        f'"t":{r.time},"n":7}}'
        for r in rows
    )
    tail = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in more.items())
    return (
        f'{{"ticker":"X:BTCUSD","queryCount":2,"resultsCount":2,"adjusted":false,'
        f'"results":[{listed}],"status":"OK","request_id":"a"{tail}}}'
    ).encode()


polygon_answer = _polygon


def _coingecko(rows: Iterable[Row]) -> bytes:
    step = 4 * 3_600_000
    listed = (f"[{r.time + step},{r.open},{r.high},{r.low},{r.close}]" for r in rows)
    return f"[{','.join(listed)}]".encode()


def _date(time: int) -> str:
    return from_ms(time).strftime("%Y-%m-%d")


def _alphavantage(rows: Iterable[Row]) -> bytes:
    days = {
        _date(r.time): {
            "1. open": r.open,
            "2. high": r.high,
            "3. low": r.low,
            "4. close": r.close,
            "5. volume": r.volume,
        }
        for r in rows
    }
    meta = {"1. Information": "Daily Prices", "2. Symbol": "AAPL", "5. Time Zone": "US/Eastern"}
    return json.dumps({"Meta Data": meta, "Time Series (Daily)": days}).encode()


def _oanda(rows: Iterable[Row]) -> bytes:
    listed = [
        {
            "complete": r.time + 3_600_000 <= NOW,
            "volume": int(float(r.volume)),
            "time": datetime.fromtimestamp(r.time / 1000, UTC).strftime(
                "%Y-%m-%dT%H:%M:%S.000000000Z"
            ),
            "mid": {"o": r.open, "h": r.high, "l": r.low, "c": r.close},
        }
        for r in rows
    ]
    answer = {"instrument": "EUR_USD", "granularity": "H1", "candles": listed}
    return json.dumps(answer).encode()


def yahoo_answer(rows: Iterable[Row], **meta: object) -> bytes:
    """A chart of BTC-USD; `meta` adds to what stands above the rows."""
    rows = list(rows)
    about = {
        "currency": "USD",
        "symbol": "BTC-USD",
        "instrumentType": "CRYPTOCURRENCY",
        "exchangeTimezoneName": "UTC",
        "validRanges": ["1d"],
        **meta,
    }
    quote = {name: f"@{name}" for name in ("open", "high", "low", "close", "volume") if rows}
    result = {"meta": about, "indicators": {"quote": [quote]}}
    if rows:
        result["timestamp"] = [r.time // 1000 for r in rows]
        result["indicators"]["adjclose"] = [{"adjclose": "@close"}]
    text = json.dumps({"chart": {"result": [result], "error": None}})
    for name in quote:
        values = ",".join(getattr(r, name) for r in rows)
        text = text.replace(f'"@{name}"', f"[{values}]")
    return text.encode()


def _kraken(rows: Iterable[Row]) -> bytes:
    listed = [[r.time // 1000, r.open, r.high, r.low, r.close, r.close, r.volume, 7] for r in rows]
    return json.dumps({"error": [], "result": {"XXBTZUSD": listed, "last": 1}}).encode()


def _coinbase(rows: Iterable[Row]) -> bytes:
    listed = (
        f"[{r.time // 1000},{r.low},{r.high},{r.open},{r.close},{r.volume}]"
        for r in sorted(rows, reverse=True)
    )
    return f"[{','.join(listed)}]".encode()


def _exchange(name: str) -> Make:
    return lambda server: CcxtExchange(
        name, session=session_to(server), clock=lambda: NOW, paced=False, sleep=no_sleep
    )


_ROW = Row(ms("2026-03-14T00:00"), "1.1", "1.2", "1.0", "1.15", "10")
_YAHOO_ERROR = b'{"chart":{"result":null,"error":{"code":"Not Found","description":"%b"}}}'

SPEAKERS = (
    Speaker(
        name="polygon",
        make=lambda server: Massive(
            "crypto",
            client("polygon", ApiKey(CANARY, header="Authorization", prefix="Bearer ")),
            base_url=server.base_url,
            clock=lambda: NOW,
        ),
        series=parse_series("polygon", "crypto", "BTCUSD", "1h"),
        encode=_polygon,
        empty=b'{"ticker":"X:BTCUSD","queryCount":0,"resultsCount":0,"adjusted":false,'
        b'"status":"OK","request_id":"a"}',
        unknown=Reply(b'{"status":"NOT_FOUND","message":"Ticker not found."}', 404),
        candle_path="/v2/aggs/",
        other={
            "/v3/reference/tickers/X:BTCUSD": b'{"status":"OK","results":{"ticker":"X:BTCUSD",'
            b'"market":"crypto","active":true,"base_currency_symbol":"BTC",'
            b'"currency_symbol":"USD"}}'
        },
        shapes={
            "a list": b"[]",
            "an error under 200": _polygon([_ROW]).replace(b'"OK"', b'"ERROR"'),
            "another ticker": _polygon([_ROW]).replace(b"X:BTCUSD", b"X:ETHUSD"),
            "rows that are no objects": b'{"ticker":"X:BTCUSD","status":"OK","results":[[1,2]]}',
            "a row without close": _polygon([_ROW]).replace(b'"c"', b'"q"'),
            "a row without time": _polygon([_ROW]).replace(b'"t"', b'"q"'),
            "a time in text": _polygon([_ROW]).replace(b'"t":', b'"t":"x","q":'),
            "a fraction of a millisecond": _polygon([_ROW]).replace(b'"t":1', b'"t":0.1'),
        },
    ),
    Speaker(
        name="coingecko",
        make=lambda server: CoinGecko(
            "crypto",
            client("coingecko", ApiKey(CANARY, header="x-cg-demo-api-key")),
            base_url=server.base_url,
            clock=lambda: NOW,
        ),
        series=parse_series("coingecko", "crypto", "BTCUSD", "4h"),
        encode=_coingecko,
        empty=b"[]",
        unknown=Reply(b'{"error":"coin not found"}', 404),
        candle_path="/ohlc",
        volume=None,
        shapes={
            "an object": b'{"prices":[]}',
            "rows that are no lists": b'[{"open":1}]',
            "a row of four": b"[[1773532800000,1,2,3]]",
            "candles of four days": b"[[1773446400000,1,1,1,1],[1773100800000,1,1,1,1]]",
            "candles of half an hour": b"[[1773532800000,1,1,1,1],[1773534600000,1,1,1,1],"
            b"[1773547200000,1,1,1,1]]",
        },
    ),
    Speaker(
        name="alphavantage",
        make=lambda server: AlphaVantage(
            "stocks",
            client("alphavantage", ApiKey(CANARY, parameter="apikey")),
            base_url=f"{server.base_url}/query",
            clock=lambda: NOW,
        ),
        series=parse_series("alphavantage", "stocks", "AAPL", "1d"),
        encode=_alphavantage,
        empty=_alphavantage([]),
        unknown=Reply(
            b'{"Error Message":"Invalid API call. Please retry or visit the documentation'
            b' (https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY."}'
        ),
        candle_path="/query",
        shapes={
            "a list": b"[]",
            "an empty object": b"{}",
            "unknown words": b'{"Information":"We are moving house."}',
            "no meta data": b'{"Time Series (Daily)":{}}',
            "another series": _alphavantage([_ROW]).replace(b"(Daily)", b"(60min)"),
            "days in a list": b'{"Meta Data":{},"Time Series (Daily)":[]}',
            "a time of day": _alphavantage([_ROW]).replace(b"2026-03-14", b"2026-03-14 10:00:00"),
            "a day that is none": _alphavantage([_ROW]).replace(b"2026-03-14", b"2026-02-30"),
            "a row without close": _alphavantage([_ROW]).replace(b"4. close", b"4. price"),
        },
    ),
    Speaker(
        name="oanda",
        make=lambda server: Oanda(
            "forex",
            client("oanda", ApiKey(CANARY, header="Authorization", prefix="Bearer ")),
            base_url=server.base_url,
            clock=lambda: NOW,
        ),
        series=parse_series("oanda", "forex", "EURUSD", "1h"),
        encode=_oanda,
        empty=_oanda([]),
        unknown=Reply(b'{"errorMessage":"Invalid value specified for \'instrument\'"}', 400),
        candle_path="/candles",
        shapes={
            "a list": b"[]",
            "another instrument": _oanda([_ROW]).replace(b"EUR_USD", b"EUR_CHF"),
            "another granularity": _oanda([_ROW]).replace(b'"H1"', b'"H4"'),
            "candles in an object": b'{"instrument":"EUR_USD","granularity":"H1","candles":{}}',
            "bid instead of mid": _oanda([_ROW]).replace(b'"mid"', b'"bid"'),
            "no word whether complete": _oanda([_ROW]).replace(b'"complete"', b'"done"'),
            "a row without close": _oanda([_ROW]).replace(b'"c"', b'"q"'),
            "a fraction of a second": _oanda([_ROW]).replace(b".000000000Z", b".500000000Z"),
            "no time zone": _oanda([_ROW]).replace(b".000000000Z", b""),
            "an hour that is none": _oanda([_ROW]).replace(b"T00:00:00", b"T25:00:00"),
        },
    ),
    Speaker(
        name="yahoo",
        make=lambda server: Yahoo(
            "crypto",
            Pace(1_000_000),
            session=session_to(server),
            clock=lambda: NOW,
            sleep=no_sleep,
        ),
        series=parse_series("yahoo", "crypto", "BTCUSD", "1d"),
        encode=yahoo_answer,
        empty=yahoo_answer([]),
        unknown=Reply(_YAHOO_ERROR % b"No data found, symbol may be delisted", 404),
        candle_path="/v8/finance/chart/",
        volume="quote_volume",
        shapes={
            "a list": b"[]",
            "no chart": b'{"finance":{"error":null}}',
            "a chart without result": b'{"chart":{"error":null}}',
            "unknown words": _YAHOO_ERROR % b"We are moving house",
            "a result that is none": b'{"chart":{"result":[{}],"error":null}}',
            "no meta data": yahoo_answer([_ROW]).replace(b'"meta"', b'"about"'),
            "a row without close": yahoo_answer([_ROW]).replace(b'"close"', b'"price"'),
            "no times": yahoo_answer([_ROW]).replace(b'"timestamp"', b'"times"'),
            "fewer times than rows": yahoo_answer([_ROW, _ROW]).replace(
                b"[1773446400, 1773446400]", b"[1773446400]"
            ),
            "a price that is missing": yahoo_answer([_ROW]).replace(b"[1.15]", b"[null]"),
        },
    ),
    Speaker(
        name="kraken",
        make=_exchange("kraken"),
        series=parse_series("kraken", "spot", "BTCUSD", "1h"),
        encode=_kraken,
        empty=_kraken([]),
        unknown=Reply(b'{"error":["EQuery:Invalid asset pair"]}'),
        candle_path="/0/public/OHLC",
        other={
            "/0/public/Assets": recording("kraken_assets.json"),
            "/0/public/AssetPairs": recording("kraken_asset_pairs.json"),
        },
        shapes={
            "a list": b"[]",
            "an error under 200": b'{"error":["EGeneral:Invalid arguments"]}',
            "rows in an object": b'{"error":[],"result":{"XXBTZUSD":{"1":2}}}',
            "rows that are no lists": b'{"error":[],"result":{"XXBTZUSD":[7]}}',
            "a row without close": b'{"error":[],"result":{"XXBTZUSD":[[1773532800,"1","2","1"]]}}',
            "a row without time": _kraken([_ROW]).replace(b"[1773446400", b"[null"),
        },
    ),
    Speaker(
        name="coinbaseexchange",
        make=_exchange("coinbaseexchange"),
        series=parse_series("coinbaseexchange", "spot", "BTCUSD", "1h"),
        encode=_coinbase,
        empty=b"[]",
        unknown=Reply(b"[]"),
        unknown_symbol="ZZZUSD",
        candle_path="/candles",
        other={
            "/currencies": recording("coinbase_currencies.json"),
            "/products": recording("coinbase_products.json"),
        },
        shapes={
            "an object": b'{"candles":[]}',
            "rows that are no lists": b'["x"]',
            "a row without volume": b"[[1773532800,1,2,1,1]]",
        },
    ),
)
"""Every adapter, each as one source that it serves."""

SPEAKER = {speaker.name: speaker for speaker in SPEAKERS}
