"""Everything that speaks SQL: migrations, candles, ledger, status, backtests."""
