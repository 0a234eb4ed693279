"""The candles of a backtest: whether all are there, how they are read and laid out."""
