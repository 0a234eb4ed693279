"""The universe file and the settings: what is wrong is refused by name."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from candlevault import config
from candlevault.config import load_universe, number_setting, setting
from candlevault.errors import ConfigurationError
from candlevault.series import parse

GOOD = {
    "market": "spot",
    "quote_asset": "USDT",
    "symbols": ["ETH", "BTC"],
    "timeframes": {
        "1d": {"enabled": True, "start": date(2020, 1, 1), "retention_months": 120},
        "1h": {"start": date(2021, 6, 1)},
        "1m": {"enabled": False, "start": date(2020, 1, 1), "retention_months": 12},
    },
    "market_sync": {"symbols": ["BTC"]},
}


def written(folder: Path, raw: object) -> Path:
    file = folder / "universe.yaml"
    file.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw), encoding="utf-8")
    return file


def with_value(path: str, value: object) -> dict:
    """The good file with the value at a dotted path replaced."""
    raw = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    inner = raw
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return raw


def test_universe_is_every_symbol_in_every_enabled_timeframe_sorted(tmp_path):
    universe = load_universe(written(tmp_path, GOOD), venue="binance")
    assert [p.series.slug for p in universe.policies] == [
        "BTCUSDT__1h", "BTCUSDT__1d", "ETHUSDT__1h", "ETHUSDT__1d",
    ]  # fmt: skip
    assert universe.symbols == ("ETHUSDT", "BTCUSDT")
    assert universe.market_sync_symbols == ("BTCUSDT",)
    policy = universe.policy(parse("binance", "spot", "BTCUSDT", "1h"))
    assert policy.start == datetime(2021, 6, 1, tzinfo=UTC)
    assert policy.retention_months == 60
    assert universe.policy(parse("binance", "spot", "BTCUSDT", "1m")) is None


def test_series_of_another_market_have_policies_of_their_own(tmp_path):
    also = {
        "market": "um",
        "symbols": ["BTC"],
        "timeframes": {"1h": {"start": date(2022, 1, 1), "retention_months": 6}},
    }
    universe = load_universe(written(tmp_path, GOOD | {"also": [also]}), venue="binance")
    assert "BTCUSDT__1h__um" in [p.series.slug for p in universe.policies]
    policy = universe.policy(parse("binance", "um", "BTCUSDT", "1h"))
    assert (policy.start, policy.retention_months) == (datetime(2022, 1, 1, tzinfo=UTC), 6)
    assert universe.market == "spot"


def test_universe_without_optional_keys_takes_defaults(tmp_path):
    raw = {"symbols": ["BTC"], "timeframes": {"1d": {"start": date(2020, 1, 1)}}}
    universe = load_universe(written(tmp_path, raw), venue="binance")
    assert (universe.market, universe.quote_asset) == ("spot", "USDT")
    assert universe.market_sync_symbols == ("BTCUSDT",)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("quote_asset", 5, "quote_asset: must be"),
        ("quote_asset", "", "quote_asset: must be"),
        ("quote_asset", "us/d", "quote_asset: must be"),
        ("timeframes.1h.enabled", "no", r"timeframes\.1h\.enabled: must be true or false"),
        ("symbls", ["BTC"], r"universe\.symbls: unknown key"),
        ("market", "margin", "market: must be one of spot, um"),
        ("market", ["spot"], "market: must be one of spot, um"),
        ("symbols", None, "symbols: must be a list"),
        ("symbols", [], "symbols: must be a list"),
        ("symbols", "BTC", "symbols: must be a list"),
        ("symbols", ["BTC", "ETH/USDT"], r"symbols\[1\]: must be"),
        ("symbols", ["BTC", 7], r"symbols\[1\]: must be"),
        ("symbols", ["BTC", "btcusdt"], r"symbols: names a symbol twice .*BTCUSDT"),
        ("timeframes", None, "timeframes: must map"),
        ("timeframes", {}, "timeframes: must map"),
        ("timeframes", ["1h"], "timeframes: must map"),
        ("timeframes.2h", {"start": date(2020, 1, 1)}, r"timeframes\.2h: must be one of"),
        ("timeframes.1h", None, r"timeframes\.1h: must be a mapping"),
        ("timeframes.1h.strat", date(2020, 1, 1), r"timeframes\.1h\.strat: unknown key"),
        ("timeframes.1h.start", "yesterday", r"timeframes\.1h\.start: must be a date"),
        ("timeframes.1h.start", None, r"timeframes\.1h\.start: must be a date"),
        ("timeframes.1h.start", datetime(2020, 1, 1, 12), r"timeframes\.1h\.start: must be"),  # noqa: DTZ001
        ("timeframes.1h.retention_months", 0, r"timeframes\.1h\.retention_months: must be"),
        ("timeframes.1h.retention_months", 1.5, r"timeframes\.1h\.retention_months: must be"),
        ("timeframes.1h.retention_months", True, r"timeframes\.1h\.retention_months: must be"),
        ("timeframes.1h.retention_months", "12", r"timeframes\.1h\.retention_months: must be"),
        ("also", {"market": "um"}, "also: must be a list"),
        ("also", [{"market": "spot"}], r"also\[0\]\.market: must be one of um"),
        ("also", [{"market": "um", "symbols": []}], r"also\[0\]\.symbols: must be a list"),
        ("also", [{"market": "um", "symbols": ["BTC"]}], r"also\[0\]\.timeframes: must map"),
        ("extended", {"enabled": "yes"}, r"extended\.enabled: must be true or false"),
        ("extended", {"timeframes": ["2h"]}, r"extended\.timeframes: must be one of"),
        ("extended", {"groups": 0}, r"extended\.groups: must be a whole number"),
        ("extended", {"start": "2020"}, r"extended\.start: must be a date"),
        ("second_sources", "kraken", "second_sources: must be a list"),
        ("second_sources", ["kraken", "kraken"], "second_sources: must be a list of different"),
        ("second_sources", ["Kraken!"], "second_sources: must hold lower-case"),
        ("provider_priority", {"bonds": ["x"]}, r"provider_priority\.bonds: unknown key"),
        ("provider_priority", {"forex": []}, r"provider_priority\.forex: must be a list"),
        ("market_sync", ["BTC"], "market_sync: must be a mapping"),
        ("market_sync.symbol", ["BTC"], r"market_sync\.symbol: unknown key"),
        ("market_sync.symbols", [], r"market_sync\.symbols: must be a list"),
        ("market_sync.symbols", ["B C"], r"market_sync\.symbols\[0\]: must be"),
    ],
)
def test_wrong_key_or_value_is_refused_naming_file_and_key(tmp_path, path, value, named):
    with pytest.raises(ConfigurationError, match=rf"^universe\.yaml: {named}"):
        load_universe(written(tmp_path, with_value(path, value)), venue="binance")


@pytest.mark.parametrize("raw", ["symbols: [", "- BTC", "", "symbols"])
def test_file_that_is_no_mapping_is_refused(tmp_path, raw):
    with pytest.raises(ConfigurationError, match=r"^universe\.yaml: "):
        load_universe(written(tmp_path, raw), venue="binance")


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match=r"^universe\.yaml: cannot be read"):
        load_universe(tmp_path / "universe.yaml", venue="binance")


def test_project_universe_keeps_thirty_symbols_in_hours_and_days():
    universe = load_universe(venue="binance")
    assert len(universe.symbols) == 30
    assert {p.series.timeframe.code for p in universe.policies} == {"1h", "1d"}
    assert {p.start for p in universe.policies} == {datetime(2020, 1, 1, tzinfo=UTC)}
    assert set(universe.market_sync_symbols) <= set(universe.symbols)


def test_empty_variable_counts_as_unset():
    assert setting("CANDLEVAULT_VENUE", {"CANDLEVAULT_VENUE": ""}) == "binance"
    assert setting("CANDLEVAULT_VENUE", {"CANDLEVAULT_VENUE": "simulated"}) == "simulated"


def test_every_setting_has_a_prefix_a_help_and_one_entry():
    names = [one.name for one in config.SETTINGS]
    assert len(names) == len(set(names))
    assert all(one.name.startswith("CANDLEVAULT_") and one.help for one in config.SETTINGS)


@pytest.mark.parametrize("text", ["0", "51", "-1", "1.5", "five", "٥", "1e1", " 5"])
def test_number_out_of_its_range_is_refused_by_name(monkeypatch, text):
    monkeypatch.setenv("CANDLEVAULT_REQUESTS_AT_ONCE", text)
    with pytest.raises(ConfigurationError, match=r"_REQUESTS_AT_ONCE must be .* 1 to 50"):
        number_setting("CANDLEVAULT_REQUESTS_AT_ONCE", 1, 50)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("50", 50), ("007", 7)])
def test_number_inside_its_range_is_read(monkeypatch, text, number):
    monkeypatch.setenv("CANDLEVAULT_REQUESTS_AT_ONCE", text)
    assert number_setting("CANDLEVAULT_REQUESTS_AT_ONCE", 1, 50) == number


@pytest.mark.parametrize("text", ["symbols: [BTC]\nsymbols: [ETH]\n", "symbols: [\n"])
def test_a_repeated_key_and_broken_yaml_are_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"universe\.yaml"):
        load_universe(written(tmp_path, text), venue="binance")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "universe.yaml"
    file.write_bytes(b"\xff\xfe symbols")
    with pytest.raises(ConfigurationError, match=r"universe\.yaml"):
        load_universe(file, venue="binance")
