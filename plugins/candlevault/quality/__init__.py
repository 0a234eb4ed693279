"""Judging candles: Great Expectations suites, SQL tests, coverage."""
