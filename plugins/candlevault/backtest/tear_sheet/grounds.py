"""What a result rests on: bounds, dropped orders and the trust report, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from candlevault.backtest.tear_sheet import formats
from candlevault.backtest.tear_sheet.figures import DOWN, NEUTRAL, UP


def bounds(given: Mapping | None) -> str:
    """What the bounds of a document say; empty without bounds."""
    if not given:
        return ""
    count, lowest, highest = given["ambiguous_trades"], given["lowest"], given["highest"]
    if not count and lowest == highest:
        return "No trade depends on the order of prices inside a bar."
    runs = formats.counted(given["runs"], "run")
    text = (
        f"{formats.counted(count, 'trade')} {'depends' if count == 1 else 'depend'} on the order"
        f" of prices inside a bar."
        f" {'However it was' if given['exact'] else f'As far as {runs} tell'}, the final equity"
        f" lies between {formats.money(lowest)} and {formats.money(highest)}"
        f" ({formats.percent(given['width_pct'])} of the initial capital). Always the worse order"
        f" gives {formats.money(given['pessimistic'])}, always the better one"
        f" {formats.money(given['optimistic'])}."
    )
    if given.get("unresolved") is not None:
        text += f" Finer candles left {formats.counted(given['unresolved'], 'moment')} open."
    return text


def refused(given: Mapping | None) -> list[tuple[str, str]]:
    """Why entry orders were dropped, and how many; reasons that did not occur are left out."""
    return [
        (formats.words(str(reason)), formats.number(count))
        for reason, count in (given or {}).items()
        if count
    ]


def trust(given: Mapping | None) -> dict[str, object] | None:
    """The trust report of a document, or None; parts that it lacks are left out."""
    if not given:
        return None
    data = given.get("data") or {}
    checks = [_repeats(given), _lookahead(given.get("lookahead")), _warm_up(given.get("warm_up"))]
    return {
        "checks": [check for check in checks if check is not None],
        "touching": _touching(given.get("touching") or {}),
        "revisions": [
            (
                str(one.get("series")),
                str(one.get("revision")),
                str(one.get("recorded_at") or formats.NOTHING),
            )
            for one in data.get("revisions") or ()
        ],
        "as_of": data.get("as_of"),
        "finer": _finer(data.get("finer")),
    }


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was tried: its name, how it came out, what that means."""

    name: str
    mark: str
    tone: str
    text: str


def _check(name: str, good: bool, text: str) -> Check:
    return Check(name, "holds", UP, text) if good else Check(name, "look here", DOWN, text)


def _repeats(given: Mapping) -> Check | None:
    if "repeats" not in given:
        return None
    good = bool(given["repeats"])
    text = "Run twice: the same bytes both times." if good else "A second run gave other bytes."
    return _check("Repeatable", good, text)


def _lookahead(given: Mapping | None) -> Check | None:
    if not given:
        return None
    cuts = formats.counted(given.get("cuts", 0), "place")
    changed = given.get("changed", 0)
    what = formats.counted(changed, "signal") if changed else "no signal"
    text = f"With the future cut off in {cuts}, {what} changed."
    return _check("No lookahead", not changed, text)


def _warm_up(given: Mapping | None) -> Check | None:
    if not given:
        return None
    if given.get("status") != "measured":
        return Check("Warm-up", "not measured", NEUTRAL, f"{given.get('reason', '')}")
    changed = given["changed_trades"]
    bars = formats.counted(given["bars"], "candle")
    text = (
        f"With {bars} before the window to warm up, the total return is"
        f" {formats.percent(given['warmed_total_return_pct'])} instead of"
        f" {formats.percent(given['total_return_pct'])};"
        f" {formats.counted(changed, 'trade') if changed else 'no trade'}"
        f" {'differs' if changed < 2 else 'differ'}."
    )
    return _check("Warm-up", not changed, text)


def _touching(given: Mapping[str, Mapping]) -> list[dict[str, str]]:
    return [
        {
            "kind": formats.words(str(kind)),
            "candles": formats.number(one["candles"]),
            "trades": formats.number(one["trades"]),
            "share": formats.percent(_times_100(one["trades_share"]), 1),
            "pnl": formats.money(one["pnl"], sign=True),
            "profit": formats.percent(_times_100(one["profit_share"]), 1),
            "loss": formats.percent(_times_100(one["loss_share"]), 1),
        }
        for kind, one in given.items()
    ]


def _finer(given: Mapping | None) -> list[str]:
    """Where the finer candles of bars in doubt were, and why the others were not."""
    if not given or not given["bars"]:
        return []
    there = formats.number(given["bars_with_candles"])
    bars = formats.counted(given["bars"], "bar")
    lines = [f"{given['timeframe']} candles were at hand for {there} of {bars} in doubt."]
    if given.get("reason"):
        lines.append(f"Why not for the others: {given['reason']}.")
    return lines + [f"Could not be loaded: {problem}" for problem in given.get("problems") or ()]


def _times_100(share: float | None) -> float | None:
    return None if share is None else share * 100.0
