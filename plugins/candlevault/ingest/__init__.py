"""From a plan over published candles: plan, fetch, judge, publish, and keep accounts."""
