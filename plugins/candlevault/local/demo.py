"""The whole story: set up, load, check, backtest through Airflow, and say what happened."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from candlevault import config
from candlevault.errors import CandlevaultError, InvalidRequest
from candlevault.local.airflow_api import AirflowApi
from candlevault.local.system import LocalSystem
from candlevault.series import Series, canonical_symbol
from candlevault.series import parse as parse_series
from candlevault.storage.database import Connect, connector
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window, expected_count

DEFAULTS = {
    "SYMBOLS": "BTCUSDT,ETHUSDT",
    "TIMEFRAMES": "1d,1h",
    "START": "2020-01-01",
    "END": "2025-10-01",
}
TIMEOUT_S = 3600.0


class DemoFailed(CandlevaultError):
    """A step of the demo did not work; says which and where to look."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo loads: symbols × timeframes over a window."""

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    window: Window

    def series(self, venue: str) -> list[Series]:
        """The series, coarse timeframes first."""
        found = [
            parse_series(venue, "spot", symbol, timeframe)
            for timeframe in self.timeframes
            for symbol in self.symbols
        ]
        return sorted(found, key=lambda one: -one.timeframe.step_ms)


def plan(environment: Mapping[str, str]) -> Plan:
    """The plan of SYMBOLS, TIMEFRAMES, START and END; raises InvalidRequest naming one."""
    given = {name: environment.get(name) or default for name, default in DEFAULTS.items()}
    symbols = [canonical_symbol(s.strip(), field="SYMBOLS") for s in given["SYMBOLS"].split(",")]
    frames = [
        parse_timeframe(t.strip(), field="TIMEFRAMES").code for t in given["TIMEFRAMES"].split(",")
    ]
    start, end = _moment(given["START"], "START"), _moment(given["END"], "END")
    if start >= end:
        raise InvalidRequest("END", f"must lie after START ({given['START']})", given["END"])
    return Plan(tuple(dict.fromkeys(symbols)), tuple(dict.fromkeys(frames)), Window.of(start, end))


def main() -> int:
    """Run the demo; 0 only if all of it worked."""
    chosen = plan(os.environ)
    environment = {**os.environ, "END": f"{chosen.window.end:%Y-%m-%dT%H:%M:%SZ}"}
    system = LocalSystem(environment=environment)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)

    system.start(say)
    exchange = system.exchange
    if exchange.kind == "simulated":
        say("NOTE: the exchange is SIMULATED; these candles are a generated walk, not a market")
    series = chosen.series(exchange.venue)
    connect = connector(system.db_url)
    reports = _backfill(system.api, connect, series, chosen.window, say)
    backtest = _backtest(system.api, connect, series, chosen.window, say)
    _summary(system, connect, series, reports, backtest, time.monotonic() - started)
    lost = sum(report["lost"] for report in reports.values())
    if lost:
        raise DemoFailed(f"{lost} candles are lost; see the gaps in market.gap_log")
    return 0


def _moment(text: str, field: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(field, "must be a date or time such as 2023-01-01", text) from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _backfill(
    api: AirflowApi, connect: Connect, series: list[Series], window: Window, say
) -> dict[Series, dict]:
    """Run the backfill DAG of every series side by side; returns their load reports."""
    conf = {"start": _text(window.start), "end": _text(window.end)}
    configured = {policy.series.slug for policy in config.universe().policies}
    runs: list[tuple[str, str, list[Series]]] = []
    for one in series:
        if one.slug in configured:
            dag_id = f"backfill__{one.slug}"
            api.wait_for_dag(dag_id)
            api.set_paused(dag_id, False)
            runs.append((dag_id, api.trigger(dag_id, conf), [one]))
    others = [one for one in series if one.slug not in configured]
    if others:
        api.wait_for_dag("initial_load")
        api.set_paused("initial_load", False)
        more = {
            "symbols": list(dict.fromkeys(one.symbol for one in others)),
            "timeframes": list(dict.fromkeys(one.timeframe.code for one in others)),
        }
        runs.append(("initial_load", api.trigger("initial_load", conf | more), others))
    say(f"loading {len(series)} series over {window} through {len(runs)} DAG runs")
    waiting = {(dag_id, run_id) for dag_id, run_id, _ in runs}
    deadline = time.monotonic() + TIMEOUT_S
    shown = ""
    while waiting:
        for dag_id, run_id in sorted(waiting):
            if api.dag_run(dag_id, run_id)["state"] in ("success", "failed"):
                waiting.discard((dag_id, run_id))
        line = _progress(connect, series, window)
        if line != shown:
            say(line)
            shown = line
        if time.monotonic() > deadline:
            raise DemoFailed(f"the loads are not finished after {TIMEOUT_S:.0f} s; see `make logs`")
        time.sleep(1.0)
    for dag_id, run_id, _ in runs:
        _require_success(api, dag_id, run_id)
    say("loaded and checked")
    return {one: _sync_report(connect, one) for one in series}


def _progress(connect: Connect, series: list[Series], window: Window) -> str:
    wanted = sum(expected_count(window, one.timeframe) for one in series)
    with connect() as connection:
        have = connection.execute(
            "SELECT coalesce(sum(total_candles), 0) FROM market.sync_status"
            " WHERE (symbol, timeframe) = ANY(SELECT * FROM unnest(%s::text[], %s::text[]))",
            ([one.symbol for one in series], [one.timeframe.code for one in series]),
        ).fetchone()[0]
    # A home may hold more than this demo asks for.
    have = min(have, wanted)
    return f"  {have:>9,} of {wanted:,} expected candles stored ({100 * have / wanted:.1f} %)"


def _backtest(
    api: AirflowApi, connect: Connect, series: list[Series], window: Window, say
) -> dict[str, object]:
    finest = min(series, key=lambda one: one.timeframe.step_ms)
    conf = {
        "symbol": finest.symbol,
        "timeframe": finest.timeframe.code,
        "start_time": _text(window.start),
        "end_time": _text(window.end),
        "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
    }
    api.wait_for_dag("backtest")
    api.set_paused("backtest", False)
    run_id = api.trigger("backtest", conf)
    say(f"backtest of {finest.symbol} {finest.timeframe} sma_cross 20/50: run {run_id}")
    api.wait("backtest", run_id, timeout=TIMEOUT_S)
    _require_success(api, "backtest", run_id)
    with connect() as connection:
        cursor = connection.execute(
            "SELECT b.backtest_id, b.dag_run_id, b.result_hash, p.* FROM market.backtests b"
            " JOIN market.performance_summaries p USING (backtest_id) WHERE b.dag_run_id = %s",
            (run_id,),
        )
        names = [column.name for column in cursor.description]
        row = cursor.fetchone()
    return {"symbol": finest.symbol, "timeframe": finest.timeframe.code} | dict(
        zip(names, row, strict=True)
    )


def _require_success(api: AirflowApi, dag_id: str, run_id: str) -> None:
    if api.dag_run(dag_id, run_id)["state"] == "success":
        return
    for task in api.task_instances(dag_id, run_id):
        if task["state"] == "failed":
            log = api.task_log(
                dag_id, run_id, task["task_id"], task["try_number"], task["map_index"]
            )
            told = [line for line in log.splitlines() if line.strip()][-8:]
            raise DemoFailed(
                f"task {task['task_id']} of {dag_id} failed; the end of its log:\n  "
                + "\n  ".join(told)
            )
    raise DemoFailed(f"run {run_id} of {dag_id} failed")


def _sync_report(connect: Connect, series: Series) -> dict[str, object]:
    with connect() as connection:
        cursor = connection.execute(
            "SELECT l.requests, l.retries, l.lost, l.inserted, l.changed,"
            " extract(epoch FROM l.finished_at - l.started_at)::float8 AS seconds,"
            " q.expected_records AS expected, q.actual_records AS stored, q.known_absent,"
            " q.completeness_percentage, q.raw_percentage"
            " FROM market.sync_log l JOIN market.series_names n USING (series_id)"
            " JOIN LATERAL (SELECT * FROM market.data_quality d WHERE d.symbol = n.symbol"
            "   AND d.timeframe = n.timeframe ORDER BY checked_at DESC LIMIT 1) q ON true"
            " WHERE n.venue = %s AND n.symbol = %s AND n.timeframe = %s"
            " ORDER BY l.started_at DESC LIMIT 1",
            (series.venue, series.symbol, series.timeframe.code),
        )
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _summary(
    system: LocalSystem,
    connect: Connect,
    series: list[Series],
    reports: dict[Series, dict],
    backtest: dict[str, object],
    seconds: float,
) -> None:
    with connect() as connection:
        absences = dict(
            connection.execute(
                "SELECT n.symbol || ' ' || n.timeframe, count(*) FROM market.known_absences a"
                " JOIN market.series_names n USING (series_id)"
                " WHERE a.withdrawn_revision IS NULL GROUP BY 1"
            ).fetchall()
        )
    print()
    print(f"Every candle accounted for (exchange: {system.exchange.name})")
    print(
        f"{'series':<14}{'expected':>10}{'stored':>9}{'absent':>8}{'windows':>9}{'lost':>6}"
        f"{'new':>8}{'changed':>9}{'requests':>10}{'retries':>9}{'seconds':>9}"
    )
    for one in series:
        report = reports[one]
        name = f"{one.symbol} {one.timeframe}"
        print(
            f"{name:<14}{report['expected']:>10,}{report['stored']:>9,}"
            f"{report['known_absent']:>8,}{absences.get(name, 0):>9}{report['lost']:>6}"
            f"{report['inserted']:>8,}{report['changed']:>9,}{report['requests']:>10,}"
            f"{report['retries']:>9}{report['seconds']:>9.1f}"
        )
    print()
    print(
        f"Backtest {backtest['backtest_id']}: {backtest['symbol']} {backtest['timeframe']}"
        " sma_cross 20/50"
    )
    for label, key, unit in (
        ("trades", "trade_count", ""),
        ("final equity", "final_equity", ""),
        ("total return", "total_return_pct", " %"),
        ("buy and hold", "buy_and_hold_return_pct", " %"),
        ("max drawdown", "max_drawdown_pct", " %"),
        ("win rate", "win_rate_pct", " %"),
        ("profit factor", "profit_factor", ""),
        ("Sharpe", "sharpe", ""),
        ("fees paid", "fees_paid", ""),
    ):
        value = backtest[key]
        told = "-" if value is None else f"{value:,.2f}" if isinstance(value, float) else value
        print(f"  {label:<14}{told:>14}{unit}")
    print(f"  result hash   {backtest['result_hash']}")
    print()
    print(f"All of it took {seconds:.0f} s. The system keeps running:")
    print(f"  Airflow       {system.home.api_url}  (user admin)")
    if system.credentials.fresh:
        print(f"  password      {system.credentials.admin_password}  (shown only now; kept in")
        print(f"                {system.admin_password_file})")
    else:
        print(f"  password      in {system.admin_password_file}")
    print(f"  this backtest {system.home.api_url}/dags/backtest/runs/{backtest['dag_run_id']}")
    print("  candles       make psql SQL='SELECT * FROM market.ohlcv_data LIMIT 5'")
    print("  quality       make psql SQL='SELECT * FROM market.data_quality'")
    print("  stop          make down")


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
