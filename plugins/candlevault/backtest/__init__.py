"""Repeatable backtests: payload → candles → signals → fills → metrics → result → trust."""

from candlevault.backtest import compiled

compiled.separate()
