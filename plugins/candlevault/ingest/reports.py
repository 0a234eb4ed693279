"""What a load tells: its progress while it goes on, its figures at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from candlevault.errors import CandlevaultError
from candlevault.series import Series
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is: rows settled (stored or explained) of those wanted."""

    batch: int
    batches: int
    rows: int
    wanted: int
    elapsed_s: float

    def __str__(self) -> str:
        rate = self.rows / self.elapsed_s if self.elapsed_s > 0 else 0.0
        left = (self.wanted - self.rows) / rate if rate else 0.0
        share = 100 * self.rows / self.wanted if self.wanted else 100.0
        return (
            f"batch {self.batch}/{self.batches}: {self.rows:,} of {self.wanted:,} candles "
            f"({share:.0f} %), {rate:,.0f} candles/s, about {left:.0f} s left"
        )


@dataclass(slots=True)
class LoadReport:
    """What a load did. Plain values only, so that it can be handed between tasks."""

    symbol: str
    timeframe: str
    purpose: str
    window: str
    status: str = "completed"
    expected: int = 0
    stored: int = 0
    known_absent: int = 0
    lost: int = 0
    total_candles: int = 0
    candles_added: int = 0
    candles_changed: int = 0
    candles_unchanged: int = 0
    candles_removed: int = 0
    quarantined: int = 0
    total_batches: int = 0
    successful_batches: int = 0
    failed_batches: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, series: Series, purpose: str, window: Window) -> LoadReport:
        """The report of a load that has not done anything yet."""
        return cls(series.symbol, series.timeframe.code, purpose, str(window))

    def add(self, part: LoadReport) -> None:
        """Count in what was done for one of the instruments the symbol has meant."""
        for field_ in fields(self):
            if field_.name not in ("symbol", "timeframe", "purpose", "window", "status"):
                total = getattr(self, field_.name) + getattr(part, field_.name)
                setattr(self, field_.name, total)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)


class LoadFailed(CandlevaultError):
    """At least one batch failed; the report says which and why. The rest is stored."""

    def __init__(self, report: LoadReport, causes: list[CandlevaultError]) -> None:
        self.report = report
        self.transient = any(cause.transient for cause in causes)
        super().__init__(
            f"{report.symbol} {report.timeframe}: {report.failed_batches} of "
            f"{report.total_batches} batches failed: {report.errors[0]}"
        )
