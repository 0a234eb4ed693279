"""How much of a result chance alone could explain."""

from candlevault.backtest.significance.block_bootstrap import Bootstrap, Interval, bootstrap
from candlevault.backtest.significance.generator import seed_of
from candlevault.backtest.significance.random_strategies import RandomEntry, random_entry

__all__ = ["Bootstrap", "Interval", "RandomEntry", "bootstrap", "random_entry", "seed_of"]
