"""Strategies: one module each, found by `registry`. A new file here is a new strategy."""
