"""Who delivers candles: one contract, one HTTP client, one module per provider.

Providers know nothing of storage.
"""
