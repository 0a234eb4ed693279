"""The check of a stored series: roll-ups, flags, SQL tests and the month suite, recorded in
data_quality."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from candlevault.errors import CheckFailed
from candlevault.quality import anomalies, months, rollups, sql_tests, suites
from candlevault.quality.rollups import RollupReport
from candlevault.storage import candle_reads
from candlevault.storage.database import Connect, retrying
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that did not hold: its severity, how often, and a few offenders."""

    check: str
    severity: str
    why: str
    count: int
    samples: tuple[dict[str, str], ...] = ()


@dataclass(slots=True)
class QualityReport:
    """The outcome of one check of one series. Plain values only.

    `anomalies` counts the flags that touch the window, by kind.
    """

    symbol: str
    timeframe: str
    window: str
    expected: int
    stored: int
    known_absent: int
    lost: int
    checks_run: int
    raw_percentage: float
    completeness_percentage: float
    anomalies: dict[str, int] = field(default_factory=dict)
    rollups: RollupReport = field(default_factory=RollupReport)
    failures: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def raise_on_failure(self) -> None:
        """Raise CheckFailed naming every check of severity fail that found something."""
        if self.failures:
            told = "; ".join(f"{f.check}: {f.count} ({f.why})" for f in self.failures)
            raise CheckFailed(f"{self.symbol} {self.timeframe} {self.window}: {told}")


def check(
    connect: Connect,
    stored: StoredSeries,
    window: Window,
    venue_time_ms: int,
    dag_run_id: str | None = None,
) -> QualityReport:
    """Run every SQL test and the suite `stored_month` on `window`, and record the outcome.

    `window` must hold closed candles only. One row of data_quality is written per call. The
    months of the window are entered in the partition ledger, mismatches with finer and coarser
    candles in market.discrepancies and strange candles in market.anomalies, before the tests
    look at them. Does not raise on findings: see QualityReport.raise_on_failure.
    """
    import pandas as pd

    profiled = retrying(lambda: months.take(connect, stored, window))
    compared = rollups.examine(connect, stored, window, dag_run_id)
    flags = anomalies.examine(connect, stored, window)
    tests = sql_tests.project_tests()
    with connect() as connection:
        account = candle_reads.account(connection, stored, window)
        connection.commit()
        outcomes = sql_tests.run(
            connection, tests, stored.series_id, window, from_ms(venue_time_ms)
        )
    month_suite = suites.suite("stored_month")
    broken = suites.validate(pd.DataFrame([month.as_row() for month in profiled]), month_suite)
    report = QualityReport(
        symbol=stored.series.symbol,
        timeframe=stored.series.timeframe.code,
        window=str(window),
        expected=len(account.expected),
        stored=len(account.stored),
        known_absent=len(account.absent),
        lost=len(account.lost),
        checks_run=len(tests) + len(month_suite.expectations),
        raw_percentage=round(100 * account.raw_ratio, 4),
        completeness_percentage=round(100 * account.obtainable_ratio, 4),
        anomalies=flags,
        rollups=compared,
    )
    for outcome in outcomes:
        if not outcome.passed:
            test = outcome.test
            finding = Finding(test.name, test.severity, test.what, outcome.count, outcome.samples)
            (report.failures if test.severity == sql_tests.FAIL else report.warnings).append(
                finding
            )
    for rule in broken:
        samples = tuple({"month": f"{profiled[row].whole.start:%Y-%m}"} for row in rule.rows[:20])
        finding = Finding(rule.name, rule.severity, rule.why, rule.count, samples)
        (report.failures if rule.severity == suites.CRITICAL else report.warnings).append(finding)
    _record(connect, stored, window, report, dag_run_id)
    return report


def _record(
    connect: Connect,
    stored: StoredSeries,
    window: Window,
    report: QualityReport,
    dag_run_id: str | None,
) -> None:
    findings = [asdict(finding) for finding in (*report.failures, *report.warnings)]
    with connect() as connection:
        connection.execute(
            "INSERT INTO market.quality_checks (series_id, date_range_start, date_range_end,"
            " expected_records, actual_records, known_absent, missing_records, has_anomalies,"
            " failures, dag_run_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                stored.series_id,
                window.start,
                window.end,
                report.expected,
                report.stored,
                report.known_absent,
                report.lost,
                any(report.anomalies.values()),
                json.dumps(findings),
                dag_run_id,
            ),
        )
