"""Backtests by nautilus_trader of wishes that were handed over, as JSON. Runs in its Python.

Argument: the folder that `handed.read` understands.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import nautilus_trader
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.indicators import (
    MovingAverageType,
    RelativeStrengthIndex,
    SimpleMovingAverage,
)
from nautilus_trader.model.currencies import BTC
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import (
    AccountType,
    CurrencyType,
    OmsType,
    OrderSide,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

sys.path.insert(0, str(Path(__file__).parent))
import handed

PLACES = 8
"""Decimals of prices; stop and target levels have at most five."""
DIGITS = 14
"""Decimals of quantities and money, so that what is rounded off does not show."""

VENUE = Venue("PEER")
QUOTE = Currency("USDX", DIGITS, 0, "quote", CurrencyType.CRYPTO)
PAIR = InstrumentId(Symbol("BTCUSDX"), VENUE)
BARS = BarType.from_str(f"{PAIR}-1-HOUR-LAST-EXTERNAL")
HALF_HOUR_NS = 1_800_000_000_000


class Wished(Strategy):
    """Orders of the rows. `now` is the row that the engine has just gone through."""

    def __init__(self, rows: handed.Rows, plan: dict) -> None:
        super().__init__()
        self.rows, self.plan = rows, plan
        self.now = -1
        self.trades, self.bought = [], None
        self.was_out = True

    def on_start(self) -> None:
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Bar) -> None:
        self.now += 1
        row = self.now
        if self.plan["layout"] == "whole":
            # Its own way: on the bar that has closed, and filled at that close.
            row += 1
            if row == len(self.rows.candle):
                return
        elif not self.rows.at_open[row]:
            self.was_out = self.bought is None
            return
        elif self.bought is None and not self.was_out:
            # The wish was made while something was held; the stop at this open came after it.
            return
        if self.bought is not None and self.rows.exit[row]:
            self.cancel_all_orders(PAIR)
            self.submit_order(self.order(OrderSide.SELL, self.bought[2]))
        elif self.bought is None and self.rows.enter[row]:
            cash = self.portfolio.account(VENUE).balance_total(QUOTE).as_decimal()
            price = bar.close.as_decimal() * (1 + Decimal(str(handed.FEE_RATE)))
            quantity = (cash / price).quantize(Decimal(1).scaleb(-DIGITS), rounding="ROUND_FLOOR")
            self.submit_order(self.order(OrderSide.BUY, Quantity(quantity, DIGITS)))

    def order(self, side: OrderSide, quantity: Quantity):
        return self.order_factory.market(PAIR, side, quantity)

    def on_order_filled(self, event) -> None:
        price = event.last_px.as_double()
        if event.order_side == OrderSide.BUY:
            self.bought = (self.now, price, event.last_qty)
            if "stop_pct" in self.plan:
                self.protect(event.last_px.as_decimal(), event.last_qty)
            return
        entered, paid, quantity = self.bought
        self.bought = None
        # Stops and targets fill before `on_bar`: the clock knows the row.
        row = event.ts_event // HALF_HOUR_NS
        self.trades.append((entered, row, paid, price, float(quantity)))
        self.cancel_all_orders(PAIR)

    def protect(self, paid: Decimal, quantity: Quantity) -> None:
        stop = paid * (100 - Decimal(str(self.plan["stop_pct"]))) / 100
        target = paid * (100 + Decimal(str(self.plan["target_pct"]))) / 100
        make = self.order_factory
        self.submit_order(
            make.stop_market(PAIR, OrderSide.SELL, quantity, Price(stop, PLACES), reduce_only=True)
        )
        self.submit_order(
            make.limit(PAIR, OrderSide.SELL, quantity, Price(target, PLACES), reduce_only=True)
        )


def pair() -> CurrencyPair:
    fee = Decimal(str(handed.FEE_RATE))
    return CurrencyPair(
        instrument_id=PAIR,
        raw_symbol=PAIR.symbol,
        base_currency=BTC,
        quote_currency=QUOTE,
        price_precision=PLACES,
        size_precision=DIGITS,
        price_increment=Price(Decimal(1).scaleb(-PLACES), PLACES),
        size_increment=Quantity(Decimal(1).scaleb(-DIGITS), DIGITS),
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=fee,
        taker_fee=fee,
        ts_event=0,
        ts_init=0,
    )


def bars(rows: handed.Rows) -> list[Bar]:
    """One bar a row, stamped half an hour apart, with more volume than can be bought."""
    plenty = Quantity(1_000_000, DIGITS)
    table = zip(rows.open, rows.high, rows.low, rows.close, strict=True)
    return [
        Bar(BARS, *(Price(value, PLACES) for value in prices), plenty, *[row * HALF_HOUR_NS] * 2)
        for row, prices in enumerate(table)
    ]


def simulated(rows: handed.Rows, plan: dict) -> tuple[list, float]:
    """Trades as (entry row, exit row, …) and the final equity."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(handed.CAPITAL, QUOTE)],
        base_currency=QUOTE,
        default_leverage=Decimal(1),
        bar_adaptive_high_low_ordering=plan.get("adaptive", False),
    )
    engine.add_instrument(pair())
    engine.add_data(bars(rows))
    strategy = Wished(rows, plan)
    engine.add_strategy(strategy)
    engine.run()
    assert strategy.bought is None
    equity = engine.cache.account_for_venue(VENUE).balance_total(QUOTE).as_double()
    engine.dispose()
    return strategy.trades, equity


def own_signals(close: np.ndarray, indicator: dict) -> tuple[np.ndarray, np.ndarray]:
    """The wishes by nautilus_trader's indicators, each fed one close after the other."""

    def line(made) -> np.ndarray:
        values = np.full(len(close), np.nan)
        for i, value in enumerate(close.tolist()):
            made.update_raw(value)
            if made.initialized:
                values[i] = made.value
        return values

    if indicator["name"] == "sma":
        fast, slow = (line(SimpleMovingAverage(indicator[name])) for name in ("fast", "slow"))
        above, below = fast > slow, fast < slow
        known = ~np.isnan(slow[:-1])
        enter, leave = np.zeros((2, len(close)), dtype=bool)
        enter[1:] = above[1:] & ~above[:-1] & known
        leave[1:] = below[1:] & ~below[:-1] & known
        return enter, leave
    index = line(RelativeStrengthIndex(indicator["period"], MovingAverageType.WILDER))
    return index < indicator["lower"] / 100.0, index > indicator["upper"] / 100.0


def run(arrays: dict[str, np.ndarray], plan: dict) -> dict:
    more = {}
    if "indicator" in plan:
        enter, leave = own_signals(arrays["close"], plan["indicator"])
        more = {"enter": np.flatnonzero(enter).tolist(), "exit": np.flatnonzero(leave).tolist()}
    else:
        enter, leave = handed.wishes(arrays, plan)
    rows = handed.lay_out(arrays, plan, enter, leave)
    trades, equity = simulated(rows, plan)
    candle = rows.candle
    trades = [(candle[entered], candle[left], *rest) for entered, left, *rest in trades]
    return handed.told(arrays, trades, equity, **more)


def main(folder: str) -> None:
    runs = handed.read(folder)
    handed.answer(
        nautilus_trader.__version__, {plan["name"]: run(arrays, plan) for arrays, plan in runs}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
