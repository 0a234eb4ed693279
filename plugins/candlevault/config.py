"""Settings and the universe: the two things a user configures, read once and checked.

Settings come from the environment, the universe from include/universe.yaml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import yaml

from candlevault import paths
from candlevault.errors import ConfigurationError, InvalidRequest
from candlevault.series import MARKETS, Series, canonical_symbol
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.timeframe import parse as parse_timeframe


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, default and what it does."""

    name: str
    default: str
    help: str


SETTINGS: tuple[Setting, ...] = (
    Setting("CANDLEVAULT_VENUE", "binance", "Venue of this home's candles."),
    Setting("CANDLEVAULT_MARKET", "spot", "Default market: spot."),
    Setting(
        "CANDLEVAULT_BINANCE_REST_URL",
        "https://data-api.binance.vision",
        "Base URL of the venue's REST API.",
    ),
    Setting(
        "CANDLEVAULT_BINANCE_FUTURES_URL",
        "https://fapi.binance.com",
        "Base URL of the venue's REST API for USDT-margined futures (market `um`).",
    ),
    Setting(
        "CANDLEVAULT_BINANCE_ARCHIVE_URL",
        "https://data.binance.vision",
        "Base URL of the venue's bulk archive.",
    ),
    Setting(
        "CANDLEVAULT_BINANCE_LISTING_URL",
        "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
        "URL of the archive's S3 listing.",
    ),
    Setting(
        "CANDLEVAULT_COLD_URL",
        "",
        "Where months that left the hot tables lie: a folder or fsspec URL; empty: `cold` in"
        " `CANDLEVAULT_HOME`.",
    ),
    Setting(
        "CANDLEVAULT_INBOX",
        "",
        "Folder that files for the DAG corrections are put into; empty: `inbox` in"
        " `CANDLEVAULT_HOME`.",
    ),
    Setting(
        "CANDLEVAULT_STRATEGIES",
        "",
        "Folder of your own strategies, one file each; empty: `strategies` in"
        " `CANDLEVAULT_HOME`.",
    ),
    Setting(
        "CANDLEVAULT_STRATEGY_TIMEOUT_S",
        "60",
        "Seconds that one call of a strategy of your own may take.",
    ),
    Setting(
        "CANDLEVAULT_STRATEGY_MEMORY_MB",
        "2048",
        "MiB of memory that a strategy of your own may use.",
    ),
    Setting(
        "CANDLEVAULT_SWEEP_BATCHES",
        "1000",
        "Most tasks that the points of one sweep are split into; Airflow's `max_map_length` (1024)"
        " must not be lower.",
    ),
    Setting("CANDLEVAULT_REQUESTS_AT_ONCE", "5", "Requests in flight per provider and process."),
    Setting(
        "CANDLEVAULT_RETRY_DELAY_S", "60", "Seconds before a failed task's first retry; doubles."
    ),
    Setting(
        "CANDLEVAULT_WEBHOOK_URL",
        "",
        "Address that gets a JSON POST when a backtest or a sweep has completed or failed;"
        " empty: none.",
    ),
    Setting("CANDLEVAULT_REQUEST_TIMEOUT_S", "30", "Seconds until an answer must be complete."),
)
"""Every setting of the library. The local system's own ones are listed with it."""


def settings_page() -> str:
    """The settings as a Markdown page: what docs/configuration.md holds."""
    lines = [
        "# Settings",
        "",
        "Read from the environment by every process. `make demo` and `make up` set the URLs and",
        "the venue by themselves, from `EXCHANGE`.",
        "",
        "| name | default | what it does |",
        "|---|---|---|",
        *(f"| `{s.name}` | `{s.default}` | {s.help} |" for s in SETTINGS),
    ]
    return "\n".join(lines) + "\n"


_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


def setting(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The value of a known setting; an empty variable counts as unset."""
    return (os.environ if environ is None else environ).get(name) or _DEFAULTS[name]


def number_setting(name: str, low: int, high: int) -> int:
    """A whole-number setting in [low, high]; raises ConfigurationError naming it."""
    text = setting(name)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ConfigurationError(f"{name} must be a whole number from {low} to {high}: {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class SeriesPolicy:
    """What is kept of one series: since when, and for how long in the hot tables."""

    series: Series
    start: datetime
    retention_months: int


@dataclass(frozen=True, slots=True)
class Extended:
    """The extended universe: whether the DAG `universe` loads it, in which timeframes, since
    when, and how many tasks share the work."""

    enabled: bool
    timeframes: tuple[str, ...]
    start: datetime
    groups: int


@dataclass(frozen=True, slots=True)
class Universe:
    """The configured series, sorted, the list of the five-minute sync, the extended universe,
    second sources to hold candles against, and the order of providers by class of assets."""

    market: str
    quote_asset: str
    symbols: tuple[str, ...]
    policies: tuple[SeriesPolicy, ...]
    market_sync_symbols: tuple[str, ...]
    extended: Extended
    second_sources: tuple[str, ...]
    provider_priority: Mapping[str, tuple[str, ...]]

    def policy(self, series: Series) -> SeriesPolicy | None:
        """The policy of a configured series, or None."""
        return next((policy for policy in self.policies if policy.series == series), None)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which a repeated key is an error instead of silently the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key {key!r} is given twice")
        return super().construct_mapping(node, deep)


def load_universe(path: Path = paths.UNIVERSE, venue: str | None = None) -> Universe:
    """Read and check a universe file; raises ConfigurationError naming file, key and rule."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path.name}: cannot be read: {error}") from error
    try:
        return _universe(raw, venue or setting("CANDLEVAULT_VENUE"))
    except InvalidRequest as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


@cache
def universe() -> Universe:
    """The project's universe."""
    return load_universe()


def _universe(raw: object, venue: str) -> Universe:
    root = _mapping(
        raw,
        "universe",
        {
            "market",
            "quote_asset",
            "symbols",
            "timeframes",
            "market_sync",
            "also",
            "extended",
            "second_sources",
            "provider_priority",
        },
    )
    market = root.get("market", "spot")
    if market not in MARKETS:
        raise InvalidRequest("market", f"must be one of {', '.join(MARKETS)}", market)
    quote = root.get("quote_asset", "USDT")
    if not isinstance(quote, str) or not re.fullmatch(r"[A-Z0-9]{2,10}", quote, re.ASCII):
        raise InvalidRequest("quote_asset", "must be 2 to 10 ASCII capitals and digits", quote)
    symbols = _symbols(root.get("symbols"), quote, "symbols")
    policies = _policies(root, venue, market, symbols, "")
    for number, more in enumerate(_list(root.get("also", []), "also")):
        where = f"also[{number}]"
        given = _mapping(more, where, {"market", "symbols", "timeframes"})
        other = given.get("market")
        if other not in MARKETS or other == market:
            known = ", ".join(name for name in MARKETS if name != market)
            raise InvalidRequest(f"{where}.market", f"must be one of {known}", other)
        names = _symbols(given.get("symbols"), quote, f"{where}.symbols")
        policies += _policies(given, venue, other, names, f"{where}.")
    sync = _mapping(root.get("market_sync", {}), "market_sync", {"symbols"})
    return Universe(
        market=market,
        quote_asset=quote,
        symbols=symbols,
        policies=tuple(
            sorted(
                policies,
                key=lambda p: (p.series.symbol, p.series.timeframe.step_ms, p.series.market),
            )
        ),
        market_sync_symbols=_symbols(
            sync.get("symbols", list(symbols)), quote, "market_sync.symbols"
        ),
        extended=_extended(root.get("extended", {})),
        second_sources=_names(root.get("second_sources", ["coingecko"]), "second_sources"),
        provider_priority={
            str(asset_class): _names(order, f"provider_priority.{asset_class}")
            for asset_class, order in _mapping(
                root.get("provider_priority", {}), "provider_priority", ASSET_CLASSES
            ).items()
        },
    )


def _policies(
    given: Mapping[str, object], venue: str, market: str, symbols: tuple[str, ...], where: str
) -> list[SeriesPolicy]:
    """A policy for every symbol in every enabled timeframe of one market."""
    frames = given.get("timeframes")
    if not isinstance(frames, dict) or not frames:
        raise InvalidRequest(f"{where}timeframes", f"must map timeframes ({', '.join(TIMEFRAMES)})")
    policies = []
    for code, settings in frames.items():
        field = f"{where}timeframes.{code}"
        timeframe = parse_timeframe(code, field)
        policy = _mapping(settings, field, {"enabled", "start", "retention_months"})
        enabled = policy.get("enabled", True)
        if not isinstance(enabled, bool):
            raise InvalidRequest(f"{field}.enabled", "must be true or false", enabled)
        if not enabled:
            continue
        months = policy.get("retention_months", 60)
        if not isinstance(months, int) or isinstance(months, bool) or months < 1:
            raise InvalidRequest(
                f"{field}.retention_months", "must be a whole number of 1 or more", months
            )
        begins = _day(policy.get("start"), f"{field}.start")
        policies += [
            SeriesPolicy(Series(venue, market, symbol, timeframe), begins, months)
            for symbol in symbols
        ]
    return policies


def _list(value: object, field: str) -> list:
    if not isinstance(value, list):
        raise InvalidRequest(field, "must be a list", value)
    return value


ASSET_CLASSES = {"crypto", "stocks", "forex"}


def _extended(value: object) -> Extended:
    given = _mapping(value, "extended", {"enabled", "timeframes", "start", "groups"})
    enabled = given.get("enabled", False)
    if not isinstance(enabled, bool):
        raise InvalidRequest("extended.enabled", "must be true or false", enabled)
    codes = _names(given.get("timeframes", ["1d"]), "extended.timeframes")
    for code in codes:
        parse_timeframe(code, "extended.timeframes")
    groups = given.get("groups", 4)
    if not isinstance(groups, int) or isinstance(groups, bool) or not 1 <= groups <= 32:
        raise InvalidRequest("extended.groups", "must be a whole number from 1 to 32", groups)
    start = _day(given.get("start", date(2020, 1, 1)), "extended.start")
    return Extended(enabled, codes, start, groups)


def _day(value: object, field: str) -> datetime:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise InvalidRequest(field, "must be a date (YYYY-MM-DD)", value)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def _names(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise InvalidRequest(field, "must be a list of different names", value)
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(
            r"[a-z0-9][a-z0-9_]{0,31}", name, re.ASCII
        ):
            raise InvalidRequest(field, "must hold lower-case names", name)
    return tuple(value)


def _mapping(value: object, field: str, known: set[str]) -> dict:
    if not isinstance(value, dict):
        raise InvalidRequest(field, "must be a mapping", value)
    for key in value:
        if key not in known:
            raise InvalidRequest(
                f"{field}.{key}", f"unknown key; known: {', '.join(sorted(known))}"
            )
    return value


def _symbols(value: object, quote: str, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidRequest(field, "must be a list of symbols", value)
    symbols = [canonical_symbol(name, quote, f"{field}[{i}]") for i, name in enumerate(value)]
    repeated = {symbol for symbol in symbols if symbols.count(symbol) > 1}
    if repeated:
        raise InvalidRequest(field, "names a symbol twice", ", ".join(sorted(repeated)))
    return tuple(symbols)
