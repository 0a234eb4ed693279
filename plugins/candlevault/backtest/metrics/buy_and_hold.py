"""What doing nothing would have brought: the capital split equally between all symbols.

Each symbol is bought at its first present open and sold at its last present close, with the
fee, the slippage and half the spread of a market fill.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.engine.simulation import Stage
from candlevault.backtest.risk import Settings

_BPS = 10_000.0


def return_pct(stage: Stage, settings: Settings) -> float:
    """The return in percent of the capital: the mean of the symbols' returns."""
    returns = []
    for symbol, last in enumerate(stage.market.last_row.tolist()):
        first = int(stage.market.present[symbol].argmax())
        paid, got = _prices(stage, settings, symbol, first, last)
        returns.append((got / paid - 1.0) * 100.0)
    return _mean(returns)


def curve(stage: Stage, settings: Settings) -> np.ndarray:
    """The equity at each row's close, float64 in quote: the capital until a symbol is bought,
    its last close while held, the proceeds from its last present row on."""
    market = stage.market
    share = settings.initial_capital / len(market.close)
    parts = []
    for symbol, last in enumerate(market.last_row.tolist()):
        present = market.present[symbol]
        first = int(present.argmax())
        paid, got = _prices(stage, settings, symbol, first, last)
        rows = np.arange(len(present))
        known = np.maximum.accumulate(np.where(present, rows, first))
        value = share / paid * market.close[symbol][known]
        value[:first] = share
        value[last:] = share / paid * got
        parts.append(value)
    equity = parts[0].copy()
    for part in parts[1:]:
        equity += part
    return equity


def _prices(
    stage: Stage, settings: Settings, symbol: int, first: int, last: int
) -> tuple[float, float]:
    """What one unit costs and brings, fees included."""
    market = stage.market
    slip, half = float(settings.slippage_bps), float(settings.half_spread)
    bought = float(market.open[symbol, first]) * (_BPS + slip) / _BPS + half
    sold = float(market.close[symbol, last]) * (_BPS - slip) / _BPS - half
    return bought * (1.0 + settings.fee_rate), sold * (1.0 - settings.fee_rate)


def _mean(values: list[float]) -> float:
    total = values[0]
    for value in values[1:]:
        total += value
    return total / len(values)
