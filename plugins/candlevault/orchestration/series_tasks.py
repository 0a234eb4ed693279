"""What the tasks of series DAGs do: one use case each, on plain values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.errors import InvalidRequest
from candlevault.ingest import retention as retention_use_case
from candlevault.ingest import syncs
from candlevault.ingest.load import SETTLING_MS, LoadReport, Market, closed_part
from candlevault.orchestration import forms, runtime
from candlevault.quality import check as quality
from candlevault.series import Series
from candlevault.storage import series_registry
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window


def window_of(params: Mapping[str, object], default_start: datetime, now: datetime) -> Window:
    """The window of start, end and years; raises InvalidRequest naming the field."""
    end = forms.parse_moment(params, "end") or now
    years = params.get("years")
    start = (
        _years_before(end, int(str(years)))
        if years
        else forms.parse_moment(params, "start") or default_start
    )
    if start >= end:
        raise InvalidRequest("end", f"must lie after start ({start.isoformat()})", end.isoformat())
    if start >= now:
        raise InvalidRequest("start", f"must not lie in the future ({now.isoformat()})", start)
    return Window.of(start, end)


def _years_before(moment: datetime, years: int) -> datetime:
    leap_day = (moment.month, moment.day) == (2, 29)
    return moment.replace(year=max(1971, moment.year - years), day=28 if leap_day else moment.day)


def refuse_unknown_keys(params: Mapping[str, object]) -> None:
    """Refuse keys of the run's conf that the DAG did not declare."""
    context = get_current_context()
    forms.refuse_unknown(context["dag_run"].conf, params, set(context["dag"].params))


def backfill(series: Series, params: Mapping[str, object]) -> dict[str, object]:
    """Task: load the window of the run's params."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        market = runtime.market(series.venue, series.market)
        policy = config.universe().policy(series)
        now = from_ms(market.venue.server_time_ms())
        window = window_of(params, policy.start if policy else now, now)
        return _told(syncs.backfill(market, series, window))


def increment(series: Series) -> dict[str, object]:
    """Task: the daily sync."""
    with runtime.task_errors():
        refuse_unknown_keys({})
        return _told(syncs.increment(runtime.market(series.venue, series.market), series))


def gap_fill(series: Series, params: Mapping[str, object]) -> dict[str, object]:
    """Task: find and fill gaps."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        report = syncs.gap_fill(
            runtime.market(series.venue, series.market),
            series,
            days=int(str(params["days"])),
            max_rounds=int(str(params["max_rounds"])),
        )
        return _told(report)


def retention(series: Series, months: int) -> list[dict[str, object]]:
    """Task: move what is older than the policy keeps hot to the cold tier."""
    with runtime.task_errors():
        refuse_unknown_keys({})
        market = runtime.market(series.venue, series.market)
        now = from_ms(market.venue.server_time_ms())
        with market.connect() as connection:
            lives = series_registry.lives(connection, series)
        if not lives:
            market.say(f"{series}: nothing is stored of this series")
        reports = []
        for stored in lives:
            report = retention_use_case.apply(market.connect, stored, months, now, market.say)
            market.say(str(report))
            reports.append(report.as_dict())
        return reports


def check(series: Series, report: Mapping[str, object]) -> dict[str, object]:
    """Task: SQL tests and the month suite on the window that a load reports; fails on `fail`."""
    window = Window.of(
        *(datetime.fromisoformat(part) for part in str(report["window"])[1:-1].split(", "))
    )
    with runtime.task_errors():
        return check_window(series, window)


def check_window(series: Series, window: Window) -> dict[str, object]:
    """Check a window of a stored series; raises CheckFailed on any finding of severity fail.

    Every instrument that the symbol meant in the window is checked over its own life.
    Returns the figures of the last one.
    """
    market = runtime.market(series.venue, series.market)
    now_ms = market.venue.server_time_ms()
    with market.connect() as connection:
        touched = series_registry.touched(connection, series, window)
    summary: dict[str, object] = {"symbol": series.symbol, "timeframe": series.timeframe.code}
    checked = 0
    for one in touched:
        if one.stored is None or one.window.intersection(one.stored.life) is None:
            continue
        summary = check_life(market, one.stored, one.window, now_ms)
        checked += 1
    if not checked:
        market.say(f"{series}: nothing to check, no instrument of it lived in {window}")
    return summary


def check_life(
    market: Market, stored: StoredSeries, window: Window, now_ms: int
) -> dict[str, object]:
    """Check a window inside the life of one instrument; raises CheckFailed."""
    outcome = quality.check(
        market.connect,
        stored,
        closed_part(stored.series, window, now_ms),
        now_ms - SETTLING_MS,
        runtime.current_run_id(),
    )
    for finding in (*outcome.failures, *outcome.warnings):
        market.say(
            f"{finding.severity}: {finding.check}: {finding.count} ({finding.why})"
            f" for example {finding.samples[:3]}"
        )
    market.say(
        f"{stored}: {outcome.checks_run} checks, {len(outcome.failures)} failed,"
        f" {len(outcome.warnings)} warn; {outcome.completeness_percentage} % of obtainable"
    )
    outcome.raise_on_failure()
    return {
        key: value
        for key, value in outcome.as_dict().items()
        if key not in ("failures", "warnings")
    } | {"warnings": [finding.check for finding in outcome.warnings]}


def _told(report: LoadReport) -> dict[str, object]:
    """The report as plain values, with the problems counted instead of listed."""
    values = report.as_dict()
    values["problems"] = values["problems"][:10]
    return values
