"""How much of the result chance could explain, in words and charts."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.backtest.metrics.distributions import Histogram
from candlevault.backtest.tear_sheet import charts, formats

_INTERVALS = (
    ("total_return_pct", "Total return", lambda value: formats.percent(value, 1)),
    ("annual_return_pct", "Annual return", lambda value: formats.percent(value, 1)),
    ("sharpe", "Sharpe ratio", formats.number),
    ("max_drawdown_pct", "Max drawdown", lambda value: formats.percent(value, 1)),
)


def of(given: Mapping | None, metrics: Mapping) -> dict[str, object] | None:
    """Both comparisons of a document, or None; a comparison with a `reason` has no more."""
    if not given:
        return None
    return {
        "bootstrap": _bootstrap(given.get("bootstrap"), metrics),
        "random_entry": _random_entry(given.get("random_entry")),
    }


def _bootstrap(given: Mapping | None, metrics: Mapping) -> dict[str, object] | None:
    if not given:
        return None
    if given.get("reason"):
        return {"reason": str(given["reason"])}
    rows = []
    for name, label, show in _INTERVALS:
        found, value = given.get(name), metrics.get(name)
        if found:
            rows.append(
                {
                    "label": label,
                    "value": show(value),
                    "low": show(found["low"]),
                    "high": show(found["high"]),
                    "bar": charts.interval(found["low"], found["high"], value),
                }
            )
    return {
        "reason": None,
        "rows": rows,
        "resamples": formats.number(given["resamples"]),
        "periods": formats.number(given["periods"]),
        "block": formats.number(given["block_length"]),
        "not_positive": formats.percent(given["sharpe_not_positive"] * 100.0, 1),
    }


def _random_entry(given: Mapping | None) -> dict[str, object] | None:
    if not given:
        return None
    if given.get("reason"):
        return {"reason": str(given["reason"])}
    bins = Histogram(**{name: given["histogram"][name] for name in Histogram.__slots__})
    real = given["replayed_return_pct"]
    what = (
        f"Total returns of {formats.number(given['simulations'])} random strategies."
        f"{charts.outside(bins)}"
    )
    mark = (real, f"this run {formats.percent(real, 1)}")
    return {
        "reason": None,
        "chart": charts.spread(
            "random", "Returns of random strategies", what, bins, mark, plain=True
        ),
        "outside": charts.outside(bins),
        "simulations": formats.number(given["simulations"]),
        "positions": formats.number(given["positions"]),
        "percentile": formats.percent(given["percentile"], 1),
        "p_value": formats.number(given["p_value"], 3),
        "real": formats.percent(real, 1, sign=True),
        "median": formats.percent(given["random_return_pct"]["median"], 1, sign=True),
    }
