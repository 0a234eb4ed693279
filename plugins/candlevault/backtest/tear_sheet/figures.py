"""The figures of a document: those at the top of the page, and all of them in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from candlevault.backtest.tear_sheet import formats

UP, DOWN, NEUTRAL = "up", "down", ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A label, its value, what stands below it, and whether it is good news (UP, DOWN)."""

    label: str
    value: str
    note: str = ""
    tone: str = NEUTRAL


def tone(value: float | None) -> str:
    """UP above 0, DOWN below."""
    return NEUTRAL if not value else UP if value > 0 else DOWN


def headline(metrics: Mapping) -> list[Figure]:
    """The four figures that are read first."""
    get = metrics.get
    total, annual, fall = get("total_return_pct"), get("annual_return_pct"), get("max_drawdown_pct")
    held, lasted = get("buy_and_hold_return_pct"), get("max_drawdown_duration_seconds")
    return [
        Figure(
            "Total return",
            formats.percent(total, sign=True),
            f"buy and hold {formats.percent(held, sign=True)}",
            tone(total),
        ),
        Figure(
            "Annual return",
            formats.percent(annual, sign=True),
            f"volatility {formats.percent(get('volatility_pct'))}",
            tone(annual),
        ),
        Figure(
            "Max drawdown",
            formats.percent(None if fall is None else -fall),
            f"longest {formats.duration(lasted)}" if lasted else "",
            DOWN if fall else NEUTRAL,
        ),
        Figure(
            "Sharpe ratio",
            formats.number(get("sharpe")),
            f"Sortino {formats.number(get('sortino'))}, Calmar {formats.number(get('calmar'))}",
        ),
    ]


def further(metrics: Mapping) -> list[Figure]:
    """The eight figures below them."""
    get = metrics.get
    return [
        Figure("Trades", formats.number(get("trade_count"))),
        Figure("Win rate", formats.percent(get("win_rate_pct"), 1)),
        Figure("Profit factor", formats.number(get("profit_factor"))),
        Figure("Expectancy", formats.money(get("expectancy"))),
        Figure("Average duration", formats.duration(get("average_duration_seconds"))),
        Figure("Exposure", formats.percent(get("exposure_pct"), 1)),
        Figure("Fees paid", formats.money(get("fees_paid"))),
        Figure("Final equity", formats.money(get("final_equity"))),
    ]


def of_trades(metrics: Mapping) -> list[Figure]:
    """What stands beside the returns of the trades."""
    get = metrics.get
    return [
        Figure("Average win", formats.money(get("average_win"), sign=True)),
        Figure("Average loss", formats.money(get("average_loss"), sign=True)),
        Figure("Payoff ratio", formats.number(get("payoff_ratio"))),
        Figure("Longest losing streak", formats.number(get("longest_losing_streak"))),
        Figure("Best trade", formats.percent(get("best_trade_pct"), sign=True)),
        Figure("Worst trade", formats.percent(get("worst_trade_pct"), sign=True)),
    ]


def sides(metrics: Mapping) -> list[tuple[str, str, str, str, str]]:
    """Side, trades, share, win rate and profit; empty unless both sides traded."""
    get = metrics.get
    longs, shorts = get("long_count"), get("short_count")
    if not (longs and shorts):
        return []
    return [
        (
            side,
            formats.number(count),
            formats.percent(count / (longs + shorts) * 100.0, 1),
            formats.percent(get(f"{side}_win_rate_pct"), 1),
            formats.money(get(f"{side}_pnl"), sign=True),
        )
        for side, count in (("long", longs), ("short", shorts))
    ]


_MONEY, _PERCENT, _PLAIN, _RATIO, _TIME, _LENGTH = (
    formats.money,
    formats.percent,
    formats.number,
    lambda value: formats.number(value, 4),
    formats.moment,
    formats.duration,
)
_GROUPS = {
    "Whole run": {
        "final_equity": ("Final equity", _MONEY),
        "total_return_pct": ("Total return", _PERCENT),
        "annual_return_pct": ("Annual return", _PERCENT),
        "buy_and_hold_return_pct": ("Buy and hold", _PERCENT),
        "exposure_pct": ("Exposure", _PERCENT),
        "average_exposure_pct": ("Average exposure", _PERCENT),
        "turnover": ("Turnover", _PLAIN),
        "fees_paid": ("Fees paid", _MONEY),
        "funding_paid": ("Funding paid", _MONEY),
    },
    "Falls": {
        "max_drawdown_pct": ("Max drawdown", _PERCENT),
        "max_drawdown_start_time": ("Its peak", _TIME),
        "max_drawdown_trough_time": ("Its lowest", _TIME),
        "max_drawdown_end_time": ("Made good", _TIME),
        "max_drawdown_duration_seconds": ("Longest drawdown", _LENGTH),
        "max_drawdown_amount": ("Largest fall, quote", _MONEY),
        "ulcer_index_pct": ("Ulcer index", _PERCENT),
        "recovery_factor": ("Recovery factor", _PLAIN),
        "calmar": ("Calmar ratio", _PLAIN),
    },
    "Returns per period": {
        "periods": ("Periods", _PLAIN),
        "sharpe": ("Sharpe ratio", _PLAIN),
        "period_sharpe": ("Sharpe per period", _RATIO),
        "sortino": ("Sortino ratio", _PLAIN),
        "volatility_pct": ("Volatility, annual", _PERCENT),
        "skewness": ("Skewness", _PLAIN),
        "kurtosis": ("Kurtosis", _PLAIN),
    },
    "Trades": {
        "trade_count": ("Trades", _PLAIN),
        "win_rate_pct": ("Win rate", _PERCENT),
        "profit_factor": ("Profit factor", _PLAIN),
        "expectancy": ("Expectancy", _MONEY),
        "average_win": ("Average win", _MONEY),
        "average_loss": ("Average loss", _MONEY),
        "payoff_ratio": ("Payoff ratio", _PLAIN),
        "best_trade_pct": ("Best trade", _PERCENT),
        "worst_trade_pct": ("Worst trade", _PERCENT),
        "longest_losing_streak": ("Longest losing streak", _PLAIN),
        "average_duration_seconds": ("Average duration", _LENGTH),
        "ambiguous_count": ("Ambiguous", _PLAIN),
        "refused_count": ("Refused entries", _PLAIN),
    },
    "Sides": {
        "long_count": ("Long trades", _PLAIN),
        "long_win_rate_pct": ("Won", _PERCENT),
        "long_pnl": ("Profit", _MONEY),
        "short_count": ("Short trades", _PLAIN),
        "short_win_rate_pct": ("Won", _PERCENT),
        "short_pnl": ("Profit", _MONEY),
    },
}
SHOWN = frozenset(name for group in _GROUPS.values() for name in group)
"""The names of all metrics that the page knows."""


def all_of(metrics: Mapping) -> list[tuple[str, list[Figure]]]:
    """Every figure that is stored, in groups; groups without any are left out."""
    groups = []
    for title, group in _GROUPS.items():
        found = [
            Figure(label, show(metrics[name]))
            for name, (label, show) in group.items()
            if name in metrics
        ]
        if found:
            groups.append((title, found))
    return groups
