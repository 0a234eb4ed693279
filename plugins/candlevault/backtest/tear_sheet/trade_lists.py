"""The trades: how their returns spread, what ended them, and some of them one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from candlevault.backtest.metrics.distributions import distribution, histogram
from candlevault.backtest.tear_sheet import charts, formats
from candlevault.backtest.tear_sheet.figures import tone

FEW_TRADES = 20
OF_EACH = 5

When = Callable[[int | None], str]


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One trade of the list."""

    number: str
    symbol: str
    side: str
    entered: str
    left: str
    entry_price: str
    exit_price: str
    returned: str
    pnl: str
    held: str
    reason: str
    tone: str


def rows_of(columns: Mapping[str, Sequence]) -> list[dict]:
    """The trades one by one, from columns."""
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def of(trades: Sequence[Mapping], step_ms: int, when: When) -> dict[str, object]:
    """The parts of the page that show trades, by name."""
    several = len({trade["symbol"] for trade in trades}) > 1
    return {
        "trade_count": len(trades),
        "returns_chart": _returns_chart([trade["return_pct"] for trade in trades]),
        "reasons": _reasons(trades),
        "several_symbols": several,
        "several_sides": len({trade["side"] for trade in trades}) > 1,
        "trade_groups": _groups(trades, step_ms, when),
    }


def _returns_chart(returns: Sequence[float]) -> Markup | None:
    bins, found = histogram(returns), distribution(returns)
    if bins is None or found is None:
        return None
    what = (
        f"{formats.number(found.count)} trades between {formats.percent(found.lowest)} and"
        f" {formats.percent(found.highest)}, half of them below {formats.percent(found.median)}."
        f"{charts.outside(bins)}"
    )
    median = (found.median, f"median {formats.percent(found.median)}")
    return charts.spread("returns", "Returns of the trades", what, bins, median)


def _reasons(trades: Sequence[Mapping]) -> list[dict[str, str]]:
    """Trades by what ended them, the most frequent reason first."""
    pnl: dict[str, list[float]] = {}
    for trade in trades:
        pnl.setdefault(trade["exit_reason"], []).append(trade["pnl"])
    return [
        {
            "reason": formats.words(str(reason)),
            "count": formats.number(len(those)),
            "share": formats.percent(len(those) / len(trades) * 100.0, 1),
            "won": formats.percent(sum(one > 0.0 for one in those) / len(those) * 100.0, 1),
            "pnl": formats.money(_sum(those), sign=True),
        }
        for reason, those in sorted(pnl.items(), key=lambda item: (-len(item[1]), str(item[0])))
    ]


def _sum(values: Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def _groups(
    trades: Sequence[Mapping], step_ms: int, when: When
) -> list[tuple[str, list[TradeRow]]]:
    numbered = list(enumerate(trades, start=1))
    if not numbered:
        return []
    if len(numbered) <= FEW_TRADES:
        return [("All trades", [_row(*one, step_ms, when) for one in numbered])]
    best = sorted(numbered, key=lambda one: (-one[1]["return_pct"], one[0]))
    groups = {
        "Best": best[:OF_EACH],
        "Worst": best[: -OF_EACH - 1 : -1],
        "First": numbered[:OF_EACH],
        "Last": numbered[-OF_EACH:],
    }
    return [(name, [_row(*one, step_ms, when) for one in group]) for name, group in groups.items()]


def _row(number: int, trade: Mapping, step_ms: int, when: When) -> TradeRow:
    reason = formats.words(str(trade["exit_reason"]))
    if trade.get("ambiguous"):
        reason += ", ambiguous"
    return TradeRow(
        number=formats.number(number),
        symbol=str(trade["symbol"]),
        side=str(trade["side"]),
        entered=when(trade["entry_time"]),
        left=when(trade["exit_time"]),
        entry_price=formats.price(trade["entry_price"]),
        exit_price=formats.price(trade["exit_price"]),
        returned=formats.percent(trade["return_pct"], sign=True),
        pnl=formats.money(trade["pnl"], sign=True),
        held=formats.duration(trade["bars_held"] * step_ms / 1000),
        reason=reason,
        tone=tone(trade["pnl"]),
    )
