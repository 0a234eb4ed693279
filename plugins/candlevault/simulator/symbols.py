"""The instruments of the simulated venue, and what exchangeInfo says of any symbol."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from candlevault.timeframe import to_ms

_QUOTES = ("USDT", "FDUSD", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")


@dataclass(frozen=True, slots=True)
class Instrument:
    """A traded thing: when its trading began, its grids and its usual size.

    `price_decimals` and `lot_decimals` are the tick and the step as powers of ten and never
    exceed 8 together, so that price × quantity stays exact in 8 places. `minute_turnover` is
    a usual minute's trade in the quote asset.
    """

    symbol: str
    listed_ms: int
    price: float
    price_decimals: int
    lot_decimals: int
    minute_turnover: float


def _ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


_CORE = """
BTC   2017-08-17T04:00  30000   2 5  600000
ETH   2017-08-17T04:00  1800    2 4  350000
BNB   2017-11-06T03:00  300     1 3  90000
LTC   2017-12-13T03:00  90      2 3  30000
ADA   2018-04-17T04:00  0.45    4 1  40000
XRP   2018-05-04T08:00  0.6     4 0  80000
TRX   2018-06-11T11:00  0.1     5 1  20000
VET   2018-07-25T04:00  0.03    5 1  12000
LINK  2019-01-16T10:00  14      3 2  35000
MATIC 2019-04-26T15:00  0.8     4 1  30000
ATOM  2019-04-29T04:00  10      3 2  20000
FTM   2019-06-11T09:00  0.4     4 0  15000
ALGO  2019-06-22T00:00  0.25    4 0  9000
DOGE  2019-07-05T12:00  0.1     5 0  70000
STX   2019-10-25T08:00  1.1     4 1  6000
BCH   2019-11-28T10:00  300     1 3  20000
MKR   2020-07-23T14:00  1500    0 4  9000
MANA  2020-08-06T10:00  0.6     4 0  11000
SOL   2020-08-11T06:00  60      2 3  120000
SAND  2020-08-14T13:00  0.7     4 0  12000
DOT   2020-08-18T23:00  8       3 2  30000
RUNE  2020-09-04T06:50  4       3 1  9000
UNI   2020-09-17T03:00  8       3 2  15000
AVAX  2020-09-22T06:30  25      2 2  30000
NEAR  2020-10-14T05:00  4       3 1  18000
INJ   2020-10-21T04:00  12      3 1  10000
ICP   2021-05-11T01:00  15      3 2  12000
OP    2022-06-01T08:00  1.8     3 2  16000
APT   2022-10-19T01:00  9       2 2  18000
ARB   2023-03-23T15:00  1.1     4 1  20000
"""


def _core() -> dict[str, Instrument]:
    table = {}
    for line in _CORE.split("\n"):
        if line:
            base, listed, price, ticks, lots, turnover = line.split()
            symbol = f"{base}USDT"
            table[symbol] = Instrument(
                symbol, _ms(listed), float(price), int(ticks), int(lots), float(turnover)
            )
    return table


CORE = _core()
"""The thirty core symbols with the real listing minute and plausible sizes."""


def instrument(symbol: str) -> Instrument:
    """The core instrument, or one made up for a name that is not in the table.

    What is made up depends on the name only: listed 2019-01-01, priced 0.1 to 100.
    """
    if symbol in CORE:
        return CORE[symbol]
    draw = zlib.crc32(symbol.encode()) % 1000 / 1000
    return Instrument(symbol, _ms("2019-01-01T00:00"), 0.1 * 1000**draw, 4, 2, 10_000)


def assets(symbol: str) -> tuple[str, str]:
    """Base and quote asset of a symbol; an unknown quote is taken to be the last 4 letters."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol[:-4] or symbol, symbol[-4:]


def describe(symbol: str, status: str, market: str) -> dict:
    """The entry of `symbol` in exchangeInfo of `market`, for futures without its dates."""
    base, quote = assets(symbol)
    known = instrument(symbol)
    tick = f"{10.0**-known.price_decimals:.8f}"
    lot = f"{10.0**-known.lot_decimals:.8f}"
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": "1000000.00000000",
            "tickSize": tick,
        },
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
    ]
    entry = {
        "symbol": symbol,
        "status": status,
        "baseAsset": base,
        "quoteAsset": quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "filters": filters,
    }
    if market == "um":
        filters.append({"filterType": "MIN_NOTIONAL", "notional": "5"})
        return entry | {
            "pair": symbol,
            "contractType": "PERPETUAL",
            "status": "TRADING" if status == "TRADING" else "SETTLING",
            "marginAsset": quote,
            "pricePrecision": known.price_decimals,
            "quantityPrecision": known.lot_decimals,
            "underlyingType": "COIN",
            "underlyingSubType": [],
            "orderTypes": ["LIMIT", "MARKET"],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        }
    filters.append(
        {
            "filterType": "NOTIONAL",
            "minNotional": "5.00000000",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        }
    )
    return entry | {
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "isSpotTradingAllowed": status == "TRADING",
        "isMarginTradingAllowed": False,
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
