"""The rules of the risk manager: how much to take, and what ends a trade or the trading.

Percentages are 0-100. Those of stop loss, target and trailing stop refer to the entry price,
which is the price paid (slippage included, fee not).
"""

from __future__ import annotations

from dataclasses import dataclass

EQUITY_FRACTION = "equity_fraction"
FIXED_AMOUNT = "fixed_amount"
FIXED_QUANTITY = "fixed_quantity"
FIXED_RISK = "fixed_risk"
VOLATILITY_TARGET = "volatility_target"
KELLY = "kelly"


@dataclass(frozen=True, slots=True)
class Sizing:
    """How much one entry takes; never more than `RiskRules.max_exposure` leaves room for.

    - `equity_fraction`: `value` (above 0, at most 1) of the equity at the fill, the entry fee
      included; 1.0 spends everything.
    - `fixed_amount`: `value` in quote, the entry fee included, or what room is left.
    - `fixed_quantity`: `value` in base, or what room is left.
    - `fixed_risk`: what loses `value` (a part of the equity) from the entry to the stop loss or
      trailing stop, costs and gaps not counted. An entry without any stop is dropped.
    - `volatility_target`: what moves `value` (a part of the equity) when the price moves by its
      average true range over `atr_period` bars, as known at the signal.
    - `kelly`: `value` (a part, 0.5 is half Kelly) of Kelly's share by the trades closed so far,
      0 at least and `cap` at most; `initial_fraction` of the equity until `min_trades` closed.
    """

    method: str = EQUITY_FRACTION
    value: float = 1.0
    atr_period: int = 14
    cap: float = 0.25
    min_trades: int = 20
    initial_fraction: float = 0.1


@dataclass(frozen=True, slots=True)
class RiskRules:
    """Sizing, levels in percent of the entry price, and limits; None switches one off.

    `max_exposure`: gross value of all positions as a part of the equity, checked at each entry.
    `max_open_positions`: symbols held at the same time. `max_entries`: lots of one symbol at
    the same time (pyramiding). `daily_loss_pct`: at a close so far below the equity at the
    start of the UTC day, everything is left at the next open and nothing entered before the
    next day. `max_drawdown_pct`: at a close so far below the highest equity, everything is
    left and nothing entered any more.
    """

    sizing: Sizing = Sizing()
    stop_loss_pct: float | None = None
    take_profit_pct: float | None = None
    trailing_stop_pct: float | None = None
    max_exposure: float = 1.0
    max_open_positions: int | None = None
    max_entries: int = 1
    daily_loss_pct: float | None = None
    max_drawdown_pct: float | None = None


@dataclass(frozen=True, slots=True)
class EntryOrders:
    """How an entry signal becomes an order, where the strategy names no price itself.

    `order` is market, limit, stop or stop_limit. `offset_pct` (0-100) is how far the order
    lies from the signal's close: a limit below it for a long, a stop beyond it; of a
    stop_limit the stop lies there and the limit `limit_offset_pct` beyond the stop.
    `valid_bars`: bars of the symbol an order waits at most; None: until it is replaced.
    """

    order: str = "market"
    offset_pct: float = 0.0
    limit_offset_pct: float = 0.0
    valid_bars: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but candles and signals that decides what a simulation does.

    `initial_capital` in quote. `fee_rate` is the part (0-1) of the notional that every fill
    pays; `maker_fee_rate` that of fills at a limit or target instead (None: the same).
    `slippage_bps` (hundredths of a percent) and `half_spread` (quote per unit) make market
    fills worse. `direction` is long, short or both: entries on another side are not taken.
    """

    initial_capital: float = 10_000.0
    fee_rate: float = 0.0
    maker_fee_rate: float | None = None
    slippage_bps: float = 0.0
    half_spread: float = 0.0
    direction: str = "long"
    entry: EntryOrders = EntryOrders()
    risk: RiskRules = RiskRules()


DIRECTIONS = ("long", "short", "both")
"""What may be held; the first is the default."""
