"""What the tasks do that question what is stored: one use case each, on plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from candlevault import config, windows
from candlevault.errors import CandlevaultError, InvalidRequest, PartlyFailed
from candlevault.ingest import consolidation, corrections, cross_validation, fallback, many, radar
from candlevault.ingest.consolidation import Verdict
from candlevault.ingest.load import SETTLING_MS, Market
from candlevault.orchestration import choice, forms, inbox, runtime
from candlevault.orchestration.series_tasks import refuse_unknown_keys
from candlevault.providers.capabilities import CAPABILITIES
from candlevault.series import Series, canonical_symbol
from candlevault.storage import corrections as correction_log
from candlevault.storage import impact as impacts
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import Timeframe, from_ms
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window

R = TypeVar("R")

_TOLD = 50
"""How many affected backtests are handed on; all are in the log."""


def correct(params: Mapping[str, object]) -> dict[str, object]:
    """Task: apply the correction that the params describe; returns its report."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), str(params["market"]))
        series = Series(
            market.venue.venue,
            market.venue.market,
            canonical_symbol(str(params["symbol"]), config.universe().quote_asset),
            parse_timeframe(str(params["timeframe"])),
        )
        report = _apply(market, series, params)
        market.say(str(report))
        return {**report.as_dict(), "market": series.market}


def _apply(
    market: Market, series: Series, params: Mapping[str, object]
) -> corrections.CorrectionReport | cross_validation.ValidationReport:
    given = [name for name in ("file", "csv", "start") if params.get(name)]
    if len(given) != 1:
        raise InvalidRequest("file", "give one of: file, csv, or start with end", ", ".join(given))
    if params.get("compare_only"):
        return _compare(market, series, given[0], params)
    reason = str(params["reason"])
    by = f"DAG run {market.run_id}"
    if given == ["start"]:
        start, end = forms.parse_moment(params, "start"), forms.parse_moment(params, "end")
        if end is None or start is None or start >= end:
            raise InvalidRequest("end", "must be given and lie after start", params.get("end"))
        return corrections.reread(
            market,
            series,
            Window.of(start, end),
            provider=str(params["provider"]),
            reason=reason,
            requested_by=by,
        )
    body = _body(given[0], params)
    name = str(params["file"]) if given == ["file"] else "given with the run"
    return corrections.apply_file(market, series, body, name=name, reason=reason, requested_by=by)


def _compare(
    market: Market, series: Series, given: str, params: Mapping[str, object]
) -> cross_validation.ValidationReport:
    """Hold a CSV against what is stored; differences are recorded, nothing is applied."""
    if given == "start":
        raise InvalidRequest("compare_only", "goes with file or csv; a window is read again")
    body = _body(given, params)
    name = str(params["file"]) if given == "file" else f"csv of {market.run_id}"
    stored = corrections.addressed(market, series, body)
    return cross_validation.against_file(market, stored, body, name)


def _body(given: str, params: Mapping[str, object]) -> bytes:
    return inbox.read(str(params["file"])) if given == "file" else str(params["csv"]).encode()


def impact(report: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: the stored backtests that read what this DAG run has corrected, in any attempt."""
    with runtime.task_errors():
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), str(report["market"]))
        series = Series(
            market.venue.venue,
            market.venue.market,
            str(report["symbol"]),
            parse_timeframe(str(report["timeframe"])),
        )
        applied = correction_log.applied_since(market.connect, series, runtime.current_run_id())
        found = []
        for series_id, since in applied.items():
            found += impacts.affected(market.connect, series_id, since)
        for one in found:
            market.say(str(one))
        market.say(f"{series}: {len(found)} stored backtests read a candle that changed now")
        return [
            {key: value for key, value in one.as_dict().items() if key not in ("changes", "trades")}
            for one in found[:_TOLD]
        ]


def radar_of(market: Market, stored: StoredSeries) -> dict[str, object]:
    """Examine one series; raises PartlyFailed when one of its files could not be loaded."""
    report = radar.examine(market, stored)
    market.say(str(report))
    if report.failed:
        raise PartlyFailed("; ".join(report.failed), transient=report.transient)
    return report.as_dict()


def radar_task(params: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: examine the archive's listing of every chosen series."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        return _each(choice.stored(params), radar_of)


def consolidate(params: Mapping[str, object]) -> dict[str, object]:
    """Task: certify a month of every chosen series; fails if one cannot be certified."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        universe = config.universe()
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), universe.market)
        month = _month(params.get("month"), from_ms(market.venue.server_time_ms()))
        again = bool(params.get("again"))

        def certify(at: Market, stored: StoredSeries) -> Verdict:
            verdict = consolidation.consolidate(at, stored, month, again=again)
            at.say(str(verdict))
            if verdict.outcome == consolidation.REFUSED:
                raise CandlevaultError(f"{verdict}")
            return verdict

        verdicts = _each(choice.stored(params), certify)
        counts: dict[str, object] = {"month": f"{month:%Y-%m}", "series": len(verdicts)}
        for outcome in (consolidation.CERTIFIED, consolidation.UNCHANGED, consolidation.OUTSIDE):
            counts[outcome] = sum(1 for verdict in verdicts if verdict.outcome == outcome)
        return counts


def _month(text: object, now: datetime) -> date:
    if not text:
        last = now.replace(day=1).date().toordinal() - 1
        return date.fromordinal(last).replace(day=1)
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", str(text), re.ASCII):
        raise InvalidRequest("month", "must look like 2024-01", text)
    return date.fromisoformat(f"{text}-01")


def cross_validate(params: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: hold the stored candles of every chosen symbol against every source that offers
    them; fails at its end if a source that should have answered did not."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        timeframe = parse_timeframe(str(params["timeframe"]))
        chosen = choice.stored(params)
        if not params.get("symbols"):
            active = config.universe().market_sync_symbols
            chosen = [stored for stored in chosen if stored.series.symbol in active]
        pairs = []
        for source in map(str, params["sources"]):
            reason = _unusable(source, timeframe)
            if reason is not None:
                runtime.say(f"{source}: skipped: {reason}")
                continue
            pairs += [_Pair(stored, source) for stored in chosen]

        def validate(pair: _Pair) -> dict[str, object] | None:
            return _validate(pair, timeframe, params)

        reports = many.each(pairs, validate, runtime.say, what="comparisons")
        return [report for report in reports if report is not None]


@dataclass(frozen=True, slots=True)
class _Pair:
    stored: StoredSeries
    source: str

    def __str__(self) -> str:
        return f"{self.stored} against {self.source}"


def _validate(
    pair: _Pair, timeframe: Timeframe, params: Mapping[str, object]
) -> dict[str, object] | None:
    """The report of a comparison; None where the instrument did not live in the window."""
    stored, frame = pair.stored, _coarser(pair.source, timeframe)
    market = runtime.market(stored.series.venue, stored.series.market)
    window = _lived(stored, frame, int(str(params["days"])), market.venue.server_time_ms())
    if window is None:
        market.say(f"{pair}: skipped: no {frame} candle of the last {params['days']} days")
        return None
    theirs = fallback.series_at(pair.source, "crypto", stored.series.symbol, frame)
    report = cross_validation.against_source(
        market,
        stored,
        runtime.market(theirs.venue, theirs.market),
        theirs,
        window,
        tolerance_pct=float(str(params["tolerance_pct"])),
    )
    market.say(str(report))
    return report.as_dict()


def _lived(stored: StoredSeries, timeframe: Timeframe, days: int, now_ms: int) -> Window | None:
    """The closed candles of `timeframe` in the last days that lie inside the life."""
    end_ms = timeframe.floor(now_ms - SETTLING_MS)
    start_ms = now_ms - days * 86_400_000
    part = Window(start_ms, end_ms).intersection(stored.life) if start_ms < end_ms else None
    return part and windows.aligned(part, timeframe)


def _unusable(source: str, timeframe: Timeframe) -> str | None:
    """Why a source cannot be asked; None if it can."""
    if config.setting("CANDLEVAULT_VENUE") == "simulated":
        return "the candles of this home are simulated; no market has the like"
    known = CAPABILITIES.get(source)
    if known is None:
        return None
    if known.key_needed and not runtime.has_key(known.connection):
        return f"no key: there is no Airflow Connection {known.connection} with a password"
    try:
        _coarser(source, timeframe)
    except InvalidRequest as error:
        return str(error)
    return None


def _coarser(source: str, timeframe: Timeframe) -> Timeframe:
    """The source's timeframe to compare in: the same, or its next coarser one."""
    known = CAPABILITIES.get(source)
    if known is None or known.refusal("crypto", timeframe.code) is None:
        return timeframe
    offered = [parse_timeframe(code) for code in known.timeframes]
    fitting = [one for one in offered if one.step_ms % timeframe.step_ms == 0]
    if not fitting:
        raise InvalidRequest("sources", f"offers nothing to compare {timeframe} with", source)
    return min(fitting, key=lambda one: one.step_ms)


def _each(chosen: list[StoredSeries], work: Callable[[Market, StoredSeries], R]) -> list[R]:
    """`work` on every series, with the market it is of."""

    def one(stored: StoredSeries) -> R:
        return work(runtime.market(stored.series.venue, stored.series.market), stored)

    return many.each(chosen, one, runtime.say)
