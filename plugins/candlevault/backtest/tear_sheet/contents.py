"""What stands on the page: every number and sentence of a document as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from candlevault import timeframe as timeframes
from candlevault.backtest.tear_sheet import (
    confidence,
    curves,
    figures,
    formats,
    grounds,
    trade_lists,
)
from candlevault.backtest.tear_sheet.document import Document

MOST_SETTINGS = 80
_DAY_MS = 86_400_000


def of(document: Document) -> dict[str, object]:
    """Everything the template shows, by name."""
    payload, metrics = document["payload"], document["metrics"]
    trades = trade_lists.rows_of(document["trades"])
    step_ms = timeframes.parse(payload["timeframe"]).step_ms
    when = formats.day if step_ms >= _DAY_MS else formats.moment
    return {
        "title": _title(payload),
        "strategy": _strategy(payload),
        "about": _about(document, step_ms, when),
        "story": _story(payload, metrics),
        "headline": figures.headline(metrics),
        "further": figures.further(metrics),
        "trade_figures": figures.of_trades(metrics),
        "sides": figures.sides(metrics),
        "groups": figures.all_of(metrics),
        **curves.of(document, trades, step_ms, when),
        **trade_lists.of(trades, step_ms, when),
        "significance": confidence.of(document.get("significance"), metrics),
        "bounds": grounds.bounds(document.get("bounds")),
        "refused": grounds.refused(document.get("refused")),
        "trust": grounds.trust(document.get("trust")),
        "settings": _flat(payload)[:MOST_SETTINGS],
        "payload_json": json.dumps(payload, indent=2, ensure_ascii=False),
        "origin": _origin(document),
        "backtest_id": document.get("backtest_id"),
    }


def _symbols(payload: Mapping) -> list[str]:
    return [str(payload["symbol"]), *map(str, payload.get("also") or ())]


def _title(payload: Mapping) -> str:
    return f"{', '.join(_symbols(payload))} · {payload['timeframe']}"


def _strategy(payload: Mapping) -> str:
    """The strategy and those of its settings that are plain values."""
    strategy = payload["strategy"]
    plain = [
        f"{formats.words(str(name))} {value}"
        for name, value in (strategy.get("params") or {}).items()
        if isinstance(value, int | float | str) and len(str(value)) <= 40
    ]
    return ", ".join([str(strategy["name"]), *plain[:8]])


def _about(document: Document, step_ms: int, when: Callable[[int], str]) -> list[str]:
    payload, data = document["payload"], document["data"]
    curve = document["curve"]
    rows = data.get("rows")
    parts = [f"{payload.get('venue', '')} {payload.get('market', '')}".strip()]
    if curve is not None:
        first = curve["first_open_time"]
        last = first + (len(curve["values"]) - 1) * step_ms
        parts.append(f"{when(first)} to {when(last)} UTC")
    if rows is not None:
        absent = data.get("absent") or 0
        parts.append(
            f"{formats.number(rows)} bars"
            + (f", {formats.number(absent)} known absent" if absent else "")
        )
    return [part for part in parts if part]


def _story(payload: Mapping, metrics: Mapping) -> str:
    capital, final = payload.get("initial_capital"), metrics.get("final_equity")
    if capital is None or final is None:
        return ""
    text = f"{formats.amount(capital)} became {formats.money(final)}"
    held = metrics.get("buy_and_hold_return_pct")
    if held is not None:
        several = len(_symbols(payload)) > 1
        text += (
            "; all symbols in equal parts, bought and held, would have become"
            if several
            else "; bought and held, it would have become"
        )
        text += f" {formats.money(capital * (1.0 + held / 100.0))}"
    return text + "."


def _flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Every setting by its dotted name; what is off or empty is said, too."""
    if isinstance(value, Mapping) and value:
        return [
            pair for key, one in value.items() for pair in _flat(one, f"{name}.{key}".strip("."))
        ]
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping | list) for one in value):
        return [pair for i, one in enumerate(value) for pair in _flat(one, f"{name}.{i}")]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(map(str, value)) or formats.NOTHING)]
    if value is None:
        return [(name, formats.NOTHING)]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def _origin(document: Document) -> list[tuple[str, str]]:
    hashes = [
        ("Result", document.get("result_hash")),
        ("Candles read", document.get("data_fingerprint")),
    ]
    return [
        *((name, str(value)) for name, value in hashes if value),
        *((f"Version: {name}", str(value)) for name, value in document["versions"].items()),
        *(
            (f"Data: {formats.words(name)}", value)
            for name, value in _flat(document["data"])
            if value != formats.NOTHING
        ),
    ]
