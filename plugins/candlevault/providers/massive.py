"""Massive, formerly Polygon: aggregates of crypto, stocks and currencies over REST.

Rules from its documentation and knowledge base: the start of a candle is its time; `limit`
counts the minute or day bars behind the candles and is 50,000 at most; `from` and `to` are
snapped to whole candles; bars without trades are absent; `results` is absent when there is
none. A day of a stock begins at midnight in New York, here at 00:00 UTC of the same date.
Prices are not adjusted for splits. A plan without today's data refuses a window that touches
today as a whole, so such a window is asked for once more without today. `next_url` says that
there is more; it is not followed, as it could lead anywhere: the question is asked anew from
the last row on, which may have been cut.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from candlevault.errors import BadPayload, KeyMissing, NotOffered, ProviderError, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import CRYPTO, FOREX, POLYGON, STOCKS, Offer
from candlevault.providers.contract import Answer, Problem
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.providers.paging import DAY_MS, fetch_of, make_page, reading
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.providers.source_symbols import crypto_pair, currency_pair
from candlevault.series import Series
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window

_LIMIT = 50_000
_NEW_YORK = ZoneInfo("America/New_York")
# In New York it is still yesterday until 05:00 UTC.
_NEW_YORK_LAG_MS = 5 * 3_600_000


def ticker_of(market: str, symbol: str) -> str:
    """`X:BTCUSD`, `C:EURUSD` or `AAPL`; raises UnknownSymbol."""
    if market == CRYPTO:
        return "X:" + "".join(crypto_pair(symbol, POLYGON.provider))
    if market == FOREX:
        return "C:" + "".join(currency_pair(symbol, POLYGON.provider))
    return symbol


class Massive(SingleSource):
    """`/v2/aggs` and `/v3/reference/tickers` of one base URL."""

    def __init__(
        self,
        market: str,
        http: HttpClient,
        *,
        base_url: str = POLYGON.base_url,
        clock: Clock = now_ms,
    ) -> None:
        super().__init__(POLYGON, market, http.traffic, clock)
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._listed: set[str] = set()

    def instrument(self, symbol: str) -> InstrumentFacts:
        """`/v3/reference/tickers/{ticker}`; raises UnknownSymbol."""
        ticker = ticker_of(self.market, symbol)
        response = self._get(f"{self._base_url}/v3/reference/tickers/{ticker}", symbol)
        with reading(self.name, symbol, response.url):
            facts = quotes.parse_object(response.body).get("results")
            if not isinstance(facts, dict) or facts.get("ticker") != ticker:
                raise BadPayload("not the ticker asked for")
        self._listed.add(symbol)
        active = facts.get("active") is True
        quote = facts.get("currency_symbol") or facts.get("currency_name") or ""
        return InstrumentFacts(
            symbol=symbol,
            venue_symbol=ticker,
            base_asset=str(facts.get("base_currency_symbol") or symbol),
            quote_asset=str(quote).upper(),
            status="ACTIVE" if active else "INACTIVE",
            trading=active,
        )

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        answer = self._with_or_without_today(series, offer, part, closed_before_ms)
        # Of an unknown ticker the aggregates say what they say of one without trades: nothing.
        if any(page.fetch.rows for page in answer.pages):
            self._listed.add(series.symbol)
        elif series.symbol not in self._listed:
            self.instrument(series.symbol)
        return answer

    def _with_or_without_today(
        self, series: Series, offer: Offer, part: Window, closed_before_ms: int
    ) -> Answer:
        try:
            return self._pages(series, offer, part, closed_before_ms)
        except NotOffered as refused:
            now_ms = self._clock() - _NEW_YORK_LAG_MS
            today_ms = now_ms - now_ms % DAY_MS
            if not part.start_ms < today_ms < part.end_ms:
                raise
            before, recent = Window(part.start_ms, today_ms), Window(today_ms, part.end_ms)
            answer = self._pages(series, offer, before, closed_before_ms)
            answer.problems.append(Problem(recent, refused))
            return answer

    def _pages(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        answer = Answer()
        rest: Window | None = part
        while rest is not None:
            response = self._aggregates(series, offer, rest)
            with reading(self.name, series.symbol, response.url):
                rows, goes_on = _rows(self.market, series, offer, response.body)
                covers, rest = _covered(series, rest, rows, goes_on)
                fetch = fetch_of(self.name, series, response, len(rows))
                answer.pages.append(make_page(rows, covers, series, closed_before_ms, fetch))
        return answer

    def _aggregates(self, series: Series, offer: Offer, part: Window) -> HttpResponse:
        ticker = ticker_of(self.market, series.symbol)
        start, end = _bounds(self.market, offer, part)
        url = f"{self._base_url}/v2/aggs/ticker/{ticker}/range/{offer.name}/{start}/{end}"
        params = {"adjusted": "false", "sort": "asc", "limit": _LIMIT}
        return self._get(url, series.symbol, params)

    def _get(
        self, url: str, symbol: str, params: dict[str, str | int] | None = None
    ) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            where = {"provider": self.name, "symbol": symbol, "status": status}
            if status == 401:
                return KeyMissing(
                    f"the key is refused ({_words(body)})", connection=POLYGON.connection, **where
                )
            if status == 403 and b"NOT_AUTHORIZED" in body:
                return NotOffered(f"not in the plan of the key: {_words(body)}", **where)
            if status == 404:
                return UnknownSymbol("no such ticker", **where)
            return None

        return self._http.get(url, params, interpret=interpret)


def _bounds(market: str, offer: Offer, part: Window) -> tuple[str, str]:
    """First and last instant asked for; the dates of trading for days of stocks."""
    if _is_stock_day(market, offer):
        return f"{part.start:%Y-%m-%d}", f"{part.end - timedelta(days=1):%Y-%m-%d}"
    return str(part.start_ms), str(part.end_ms - 1)


def _is_stock_day(market: str, offer: Offer) -> bool:
    return market == STOCKS and offer.name.endswith("/day")


def _rows(market: str, series: Series, offer: Offer, body: bytes) -> tuple[list[Quote], bool]:
    """The rows of an answer, and whether there is more."""
    answer = quotes.parse_object(body)
    if answer.get("status") not in ("OK", "DELAYED"):
        raise BadPayload("the status is neither OK nor DELAYED")
    if answer.get("ticker") != ticker_of(market, series.symbol):
        raise BadPayload("not the ticker asked for")
    results = answer.get("results")
    if results is None:
        return [], False
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        raise BadPayload("results is not a list of objects")
    stock_day = _is_stock_day(market, offer)
    return [_quote(row, stock_day) for row in results], "next_url" in answer


def _quote(row: dict, stock_day: bool) -> Quote:
    opened_ms = quotes.whole_of(row.get("t"), "t")
    if stock_day:
        date = from_ms(opened_ms).astimezone(_NEW_YORK).date()
        opened_ms = to_ms(datetime(date.year, date.month, date.day, tzinfo=UTC))
    return Quote(
        opened_ms,
        *(quotes.decimal_of(row.get(name), name) for name in ("o", "h", "l", "c")),
        volume=quotes.decimal_of(row.get("v", 0), "v"),
        trades_count=quotes.whole_of(row.get("n", 0), "n"),
    )


def _covered(
    series: Series, asked: Window, rows: list[Quote], goes_on: bool
) -> tuple[Window, Window | None]:
    """What an answer covers of the question, and what is still to be asked."""
    if not goes_on:
        return asked, None
    newest_ms = max((row.open_time_ms for row in rows), default=0)
    cut_ms = min(series.timeframe.floor(newest_ms), asked.end_ms)
    if cut_ms <= asked.start_ms:
        raise BadPayload("an answer that goes on brings nothing new")
    rest = Window(cut_ms, asked.end_ms) if cut_ms < asked.end_ms else None
    return Window(asked.start_ms, cut_ms), rest


def _words(body: bytes) -> str:
    """The provider's own words of an error body, shortened."""
    said = quotes.words_of(body)
    return str(said.get("message") or said.get("error") or "no words")[:120]
