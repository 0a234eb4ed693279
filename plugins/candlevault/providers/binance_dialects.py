"""How Binance's markets differ, as data: paths, page sizes and what counts as an instrument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from candlevault.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Dialect:
    """One market of Binance.

    `page_size` is the number of candles that cost the least request weight each; `everything`
    are the parameters that ask exchangeInfo for all symbols, which it takes one by one where
    `takes_symbol`. Instruments are only those of `contract_type`, where there are contracts.
    """

    market: str
    rest_path: str
    rest_url_setting: str
    page_size: int
    takes_symbol: bool
    archive_folder: str
    everything: Mapping[str, str] = field(default_factory=dict)
    contract_type: str | None = None

    def provider_name(self, venue: str, kind: str) -> str:
        """`binance_rest` for spot, `binance_um_rest` for another market."""
        parts = (venue, kind) if self.market == "spot" else (venue, self.market, kind)
        return "_".join(parts)


SPOT = Dialect(
    market="spot",
    rest_path="/api/v3",
    rest_url_setting="CANDLEVAULT_BINANCE_REST_URL",
    # A klines call weighs 2 whatever its limit; 1,000 is the highest one.
    page_size=1000,
    takes_symbol=True,
    archive_folder="data/spot",
    # The permission sets are most of the answer.
    everything={"showPermissionSets": "false"},
)
UM = Dialect(
    market="um",
    rest_path="/fapi/v1",
    rest_url_setting="CANDLEVAULT_BINANCE_FUTURES_URL",
    # Limits of 100 to 499 weigh 2, of 500 to 1,000 weigh 5, larger ones 10.
    page_size=499,
    takes_symbol=False,
    archive_folder="data/futures/um",
    contract_type="PERPETUAL",
)
_ALL = {dialect.market: dialect for dialect in (SPOT, UM)}


def dialect_of(market: str) -> Dialect:
    """The dialect of a market; raises InvalidRequest for one that Binance has not."""
    try:
        return _ALL[market]
    except KeyError:
        raise InvalidRequest("market", f"must be one of {', '.join(_ALL)}", market) from None
