"""Candlevault: a complete, validated candle history and repeatable backtests on it."""

__version__ = "0.1.0"
