"""What the tasks do that question what is stored: one use case each, on plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from candlevault import config
from candlevault.errors import CandlevaultError, InvalidRequest, PartlyFailed
from candlevault.ingest import consolidation, corrections, cross_validation, fallback, radar
from candlevault.ingest.consolidation import Verdict
from candlevault.ingest.load import Market
from candlevault.orchestration import choice, forms, inbox, runtime
from candlevault.orchestration.series_tasks import refuse_unknown_keys
from candlevault.providers.capabilities import CAPABILITIES
from candlevault.series import Series, canonical_symbol
from candlevault.storage import impact as impacts
from candlevault.storage import series_registry
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import Timeframe, from_ms
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window

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
        since = datetime.now(UTC).isoformat()
        report = _apply(market, series, params)
        market.say(str(report))
        return {**report.as_dict(), "market": series.market, "since": since}


def _apply(
    market: Market, series: Series, params: Mapping[str, object]
) -> corrections.CorrectionReport:
    given = [name for name in ("file", "csv", "start") if params.get(name)]
    if len(given) != 1:
        raise InvalidRequest("file", "give one of: file, csv, or start with end", ", ".join(given))
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
    if given == ["file"]:
        name = str(params["file"])
        body = inbox.read(name)
    else:
        name, body = "given with the run", str(params["csv"]).encode()
    return corrections.apply_file(market, series, body, name=name, reason=reason, requested_by=by)


def impact(report: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: the stored backtests that read what the correction has changed."""
    with runtime.task_errors():
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), str(report["market"]))
        series = Series(
            market.venue.venue,
            market.venue.market,
            str(report["symbol"]),
            parse_timeframe(str(report["timeframe"])),
        )
        since = datetime.fromisoformat(str(report["since"]))
        found = []
        with market.connect() as connection:
            lives = series_registry.lives(connection, series)
        for stored in lives:
            found += impacts.affected(market.connect, stored.series_id, since)
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
        reports: list[dict[str, object]] = []
        failed: list[str] = []
        transient = False
        for source in params["sources"]:
            reason = _unusable(str(source), timeframe)
            if reason is not None:
                runtime.say(f"{source}: skipped: {reason}")
                continue
            for stored in choice.stored(params):
                try:
                    reports.append(_validate(stored, str(source), timeframe, params))
                except CandlevaultError as error:
                    failed.append(f"{stored} against {source}: {error}"[:300])
                    transient = transient or error.transient
                    runtime.say(failed[-1])
        if failed:
            raise PartlyFailed(
                f"{len(failed)} comparisons failed: {'; '.join(failed)}", transient=transient
            )
        return reports


def _validate(
    stored: StoredSeries, source: str, timeframe: Timeframe, params: Mapping[str, object]
) -> dict[str, object]:
    market = runtime.market(stored.series.venue, stored.series.market)
    theirs = fallback.series_at(source, "crypto", stored.series.symbol, _coarser(source, timeframe))
    now_ms = market.venue.server_time_ms()
    window = Window(now_ms - int(str(params["days"])) * 86_400_000, now_ms)
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


def _each(chosen: list[StoredSeries], work: Callable[[Market, StoredSeries], object]) -> list:
    """`work` on every series; one that fails never stops the others, but fails the task."""
    done, failed = [], []
    transient = False
    for number, stored in enumerate(chosen, start=1):
        market = runtime.market(stored.series.venue, stored.series.market)
        market.say(f"{stored}: {number} of {len(chosen)}")
        try:
            done.append(work(market, stored))
        except CandlevaultError as error:
            failed.append(f"{stored}: {error}"[:300])
            transient = transient or error.transient
            market.say(failed[-1])
    if failed:
        raise PartlyFailed(
            f"{len(failed)} of {len(chosen)} series failed: {'; '.join(failed)}",
            transient=transient,
        )
    return done
