"""The payload: defaults, refusals that name the field, canonical form, its JSON schema."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import jsonschema
import pytest

from candlevault.backtest import payload as module
from candlevault.backtest.payload import (
    SavedStrategy,
    canonical,
    document,
    parse,
    payload_hash,
    properties,
)
from candlevault.backtest.risk import RiskRules, Sizing
from candlevault.errors import InvalidRequest

FULL = {
    "venue": "binance",
    "market": "spot",
    "symbol": "BTCUSDT",
    "also": [],
    "timeframe": "1h",
    "start_time": "2023-01-01T00:00:00Z",
    "end_time": "2024-01-01T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
    "direction": "long",
    "initial_capital": 10000,
    "fee_rate": 0.001,
    "maker_fee_rate": None,
    "slippage_bps": 0,
    "half_spread": 0,
    "funding": True,
    "entry": {
        "order": "market",
        "offset_pct": 0,
        "limit_offset_pct": 0,
        "valid_bars": None,
    },
    "risk": {
        "sizing": {"method": "equity_fraction", "value": 1.0},
        "stop_loss_pct": None,
        "take_profit_pct": None,
        "trailing_stop_pct": None,
        "max_exposure": 1.0,
        "max_open_positions": None,
        "max_entries": 1,
        "daily_loss_pct": None,
        "max_drawdown_pct": None,
    },
    "intrabar": {"mode": "pessimistic", "timeframe": None},
    "data": {"as_of": None, "absent": "mark", "across_identities": False, "warmup_bars": 0},
}
"""The payload with every field at its default."""

SCHEMA = jsonschema.Draft202012Validator(document())


def changed(base: dict, path: str, value: object) -> dict:
    """A copy of `base` with the dotted `path` set; missing objects on the way are made."""
    out = copy.deepcopy(base)
    *parents, last = path.split(".")
    node = out
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return out


def saved(number: int, version: int | None) -> SavedStrategy:
    """The one saved strategy of these tests: number 1, with two versions."""
    if number != 1:
        raise InvalidRequest("strategy.id", "there is no such saved strategy", number)
    return SavedStrategy(1, version or 2, "sma_cross", {"fast": 7, "slow": 30 + (version or 2)})


def refusal(conf: object, **options) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(conf, **options)
    return caught.value


def test_only_the_required_fields_give_the_printed_defaults(payload):
    request = parse(payload)
    assert canonical(request) == FULL
    assert request == parse(FULL)
    settings = request.settings
    assert (settings.initial_capital, settings.fee_rate) == (10000.0, 0.001)
    assert settings.slippage_bps == 0.0


def test_canonical_is_a_fixed_point_with_the_printed_key_order():
    request = parse(FULL)
    form = canonical(request)
    assert list(form) == list(FULL)
    assert list(form["risk"]) == list(FULL["risk"])
    assert parse(form) == request
    assert canonical(parse(form)) == form


def test_request_is_hashable_and_survives_pickling():
    request = parse(FULL)
    assert hash(request) == hash(pickle.loads(pickle.dumps(request)))


def test_equal_meaning_has_equal_hash_and_other_meaning_another(payload):
    same = [
        payload,
        FULL,
        changed(payload, "symbol", "btc"),
        changed(payload, "initial_capital", 10000.0),
        changed(payload, "slippage_bps", -0.0),
        changed(payload, "start_time", "2023-01-01T02:00:00+02:00"),
        changed(payload, "start_time", "2023-01-01T00:00:00.000Z"),
        changed(payload, "strategy.params", {"slow": 50.0, "fast": 20}),
        dict(reversed(FULL.items())),
    ]
    assert len({payload_hash(parse(conf)) for conf in same}) == 1
    other = [
        changed(payload, "fee_rate", 0.002),
        changed(payload, "market", "um"),
        changed(payload, "data.absent", "carry"),
        changed(payload, "risk.stop_loss_pct", 5),
        changed(payload, "strategy.params.fast", 21),
    ]
    assert len({payload_hash(parse(conf)) for conf in [payload, *other]}) == 1 + len(other)


def test_parse_leaves_its_input_alone(payload):
    before = copy.deepcopy(payload)
    parse(payload)
    assert payload == before


def test_short_symbol_name_means_the_usdt_symbol(payload):
    assert parse(changed(payload, "symbol", "BTC")).series.symbol == "BTCUSDT"


def test_venue_and_market_defaults_are_the_callers(payload):
    request = parse(payload, default_venue="simulated", default_market="um")
    assert (request.series.venue, request.series.market) == ("simulated", "um")
    assert parse(FULL, default_venue="simulated").series.venue == "binance"


def test_fixed_amount_sizing(payload):
    request = parse(changed(payload, "risk.sizing", {"method": "fixed_amount", "value": 250}))
    assert (request.risk.sizing.method, request.risk.sizing.value) == ("fixed_amount", 250.0)


def test_each_level_reaches_its_rule(payload):
    levels = {"stop_loss_pct": 5, "take_profit_pct": 10, "trailing_stop_pct": 8}
    request = parse(changed(payload, "risk", levels))
    assert request.risk == RiskRules(Sizing(), 5.0, 10.0, 8.0)
    assert canonical(request)["risk"] == FULL["risk"] | levels


def test_sizing_value_alone_is_an_equity_fraction(payload):
    sizing = parse(changed(payload, "risk.sizing", {"value": 0.5})).risk.sizing
    assert (sizing.method, sizing.value) == ("equity_fraction", 0.5)
    sizing = parse(changed(payload, "risk.sizing", {})).risk.sizing
    assert (sizing.method, sizing.value) == ("equity_fraction", 1.0)


def test_unaligned_times_are_kept_as_they_are(payload):
    conf = changed(payload, "start_time", "2023-01-01T00:10:00.250Z")
    assert canonical(parse(conf))["start_time"] == "2023-01-01T00:10:00.250000Z"


def test_as_of_keeps_its_microseconds(payload):
    request = parse(changed(payload, "data.as_of", "2024-02-01T00:00:00.000001Z"))
    assert request.data.as_of == datetime(2024, 2, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert parse(canonical(request)) == request


REFUSED_BY_BOTH = [
    # field, value, words of the rule
    ("venue", "Binance", "lower-case"),
    ("venue", "binance\n", "lower-case"),
    ("market", "futures", "one of spot, um"),
    ("symbol", "BTC/USDT", "letters and digits"),
    ("symbol", None, "a string, not null"),
    ("symbol", "A" * 21, "letters and digits"),
    ("timeframe", "1H", "did you mean 1h"),
    ("timeframe", 60, "a string"),
    ("timeframe", "2h", "one of 1m, 5m"),
    ("start_time", "2023-01-01T00:00:00", "with Z or an offset"),
    ("start_time", "2023-01-01", "with Z or an offset"),
    ("start_time", "2023-01-01T00:00:00Z\n", "with Z or an offset"),
    ("end_time", 1704067200, "a string"),
    ("strategy", "sma_cross", "an object, not a string"),
    ("strategy.name", "sma_crossing", "did you mean sma_cross"),
    ("strategy.params", [20, 50], "an object, not an array"),
    ("strategy.params.fast", 0, "at least 1"),
    ("strategy.params.fast", 20.5, "a whole number"),
    ("strategy.params.fast", True, "not a boolean"),
    ("strategy.params.fast", "20", "not a string"),
    ("strategy.params.slow", 10_001, "at most 10000"),
    ("initial_capital", 0, "above 0"),
    ("initial_capital", -1, "above 0"),
    ("initial_capital", True, "not a boolean"),
    ("initial_capital", "10000", "a number, not a string"),
    ("initial_capital", 10**400, "at most"),
    ("fee_rate", -0.001, "at least 0"),
    ("fee_rate", 1, "below 1"),
    ("slippage_bps", -1, "at least 0"),
    ("slippage_bps", 10_000, "below 10000"),
    ("risk", None, "an object"),
    ("risk.sizing", {"method": "martingale", "value": 1}, "one of equity_fraction, fixed_amount"),
    ("risk.sizing", {"method": "equity_fraction", "value": 1.01}, "at most 1"),
    ("risk.sizing", {"value": 1.01}, "at most 1"),
    ("risk.sizing", {"value": 0}, "above 0"),
    ("risk.sizing", {"method": "fixed_amount"}, "required by fixed_amount"),
    ("risk.stop_loss_pct", 0, "above 0"),
    ("risk.stop_loss_pct", 100.5, "at most 100"),
    ("risk.take_profit_pct", -5, "above 0"),
    ("risk.trailing_stop_pct", False, "a number or null, not a boolean"),
    ("data.absent", "fill", "one of mark, carry, forbid"),
    ("data.as_of", "yesterday", "with Z or an offset"),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED_BY_BOTH)
def test_a_wrong_value_is_refused_by_name_and_by_the_schema_too(payload, path, value, words):
    conf = changed(payload, path, value)
    error = refusal(conf)
    assert error.field.startswith(path)
    assert words in str(error)
    if not str(value).endswith("\n"):  # a JSON schema's $ lets a final newline pass
        assert not SCHEMA.is_valid(conf)


REFUSED_HERE = [
    # what a JSON schema cannot say
    ("initial_capital", float("nan"), "finite"),
    ("initial_capital", float("inf"), "above 0 and at most|finite"),
    ("strategy.params.fast", float("nan"), "a whole number"),
    ("strategy.params", {"fast": 50, "slow": 50}, "smaller than slow"),
    ("strategy.params.slow", 20, "larger than fast (20)"),
    ("end_time", "2023-01-01T00:00:00Z", "after start_time"),
    ("end_time", "2022-01-01T00:00:00Z", "after start_time"),
    ("end_time", "2023-13-01T00:00:00Z", "not a time that exists"),
    ("start_time", "2023-01-01T00:00:00.0000005Z", "with Z or an offset"),
    ("start_time", "2023-01-01T00:00:00.000500Z", "whole milliseconds"),
    ("start_time", "1969-12-31T23:00:00Z", "before 1970"),
    ("start_time", "0001-01-01T00:00:00+14:00", "not a time that exists"),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED_HERE)
def test_what_a_schema_cannot_say_is_refused_by_name(payload, path, value, words):
    error = refusal(changed(payload, path, value))
    assert error.field.startswith(path)
    assert any(part in str(error) for part in words.split("|"))


@pytest.mark.parametrize("infinite", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("path", ["initial_capital", "fee_rate", "slippage_bps",
                                  "risk.stop_loss_pct", "risk.sizing.value"])
def test_no_number_may_be_infinite_or_nan(payload, path, infinite):
    error = refusal(changed(payload, path, infinite))
    assert error.field == path
    assert "finite" in error.rule


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("startTime", "start_time"),
        ("fee", "fee_rate"),
        ("strategy.parameters", "params"),
        ("strategy.params.fastt", "fast"),
        ("risk.stop_loss", "stop_loss_pct"),
        ("risk.sizing.methods", "method"),
        ("data.asof", "as_of"),
    ],
)
def test_an_unknown_key_is_refused_with_its_path_and_the_nearest_key(payload, path, suggestion):
    conf = changed(payload, path, 1)
    error = refusal(conf)
    assert error.field == path
    assert f"did you mean {suggestion}?" in error.rule
    assert not SCHEMA.is_valid(conf)


def test_an_unknown_key_without_a_near_one_lists_the_known_ones(payload):
    error = refusal(changed(payload, "zzz", 1))
    assert "did you mean" not in error.rule
    assert "slippage_bps" in error.rule


@pytest.mark.parametrize("name", module.REQUIRED)
def test_each_required_field_is_asked_for_by_name(payload, name):
    del payload[name]
    error = refusal(payload)
    assert (error.field, error.rule) == (name, "is required")
    assert not SCHEMA.is_valid(payload)


def test_a_strategy_without_name_is_asked_for_it(payload):
    assert refusal(changed(payload, "strategy", {})).field == "strategy.name"


@pytest.mark.parametrize("conf", [None, [], "{}", 1])
def test_a_payload_that_is_no_object_is_refused(conf):
    assert refusal(conf).field == "conf"


def test_a_long_symbol_is_refused_after_its_quote_asset_was_added(payload):
    assert refusal(changed(payload, "symbol", "A" * 18)).field == "symbol"


def test_a_window_without_an_open_time_is_refused(payload):
    conf = payload | {"start_time": "2023-01-01T00:10:00Z", "end_time": "2023-01-01T01:00:00Z"}
    error = refusal(conf)
    assert error.field == "end_time"
    assert "no open time of 1h" in error.rule
    assert parse(conf | {"end_time": "2023-01-01T01:00:00.001Z"})


class TestAgainstTheClock:
    NOW = datetime(2024, 1, 1, 0, 30, tzinfo=UTC)

    def test_a_window_of_closed_candles_passes(self, payload):
        assert parse(payload, now=self.NOW)
        assert parse(payload, now=datetime(2024, 1, 1, tzinfo=UTC))

    @pytest.mark.parametrize("end", ["2024-01-01T01:00:00Z", "2030-01-01T00:00:00Z",
                                     "2024-01-01T00:20:00Z"])
    def test_a_window_whose_last_candle_is_not_closed_is_refused(self, payload, end):
        error = refusal(changed(payload, "end_time", end), now=self.NOW)
        assert error.field == "end_time"
        assert "ends at 2024-01-01T00:00:00Z" in error.rule

    def test_without_a_clock_the_future_is_not_judged(self, payload):
        assert parse(changed(payload, "end_time", "2100-01-01T00:00:00Z"))

    def test_as_of_is_not_held_against_the_venues_clock(self, payload):
        conf = changed(payload, "data.as_of", "2024-01-01T00:31:00Z")
        assert parse(conf, now=self.NOW).data.as_of == datetime(2024, 1, 1, 0, 31, tzinfo=UTC)



class TestSchema:
    def test_is_valid_draft_2020_12_and_json(self):
        jsonschema.Draft202012Validator.check_schema(document())
        assert document()["$schema"].endswith("2020-12/schema")

    def test_accepts_what_parse_accepts(self, payload):
        SCHEMA.validate(payload)
        SCHEMA.validate(canonical(parse(payload)))
        SCHEMA.validate(changed(payload, "risk.sizing", {"method": "fixed_amount", "value": 5e6}))

    def test_its_own_examples_parse(self):
        for example in document()["examples"]:
            SCHEMA.validate(example)
            assert parse(example)

    def test_every_property_example_is_accepted_in_a_payload(self, payload):
        for name, schema in properties().items():
            for example in schema["examples"]:
                conf = payload | {name: example}
                SCHEMA.validate(conf)
                assert parse(conf, find_saved=saved), name

    def test_every_default_is_accepted_and_is_what_parse_applies(self, payload):
        explicit = {name: schema["default"] for name, schema in properties().items()
                    if "default" in schema}
        assert parse(payload | explicit) == parse(payload)
        assert set(explicit) | set(module.REQUIRED) == set(FULL)

    def test_every_part_has_words_for_the_form_and_is_closed(self):
        def walk(schema, path):
            for key in ("title", "description", "examples"):
                assert schema.get(key), f"{path} lacks {key}"
            if "properties" in schema:
                assert schema["additionalProperties"] is False, path
                for name, inner in schema["properties"].items():
                    walk(inner, f"{path}.{name}")

        walk(document(), "payload")


class TestSavedStrategy:
    def test_its_id_runs_the_newest_version(self, payload):
        request = parse(payload | {"strategy": {"id": 1}}, find_saved=saved)
        assert (request.strategy.name, request.strategy.params) == (
            "sma_cross", {"fast": 7, "slow": 32})
        assert (request.strategy.strategy_id, request.strategy.version) == (1, 2)

    def test_a_version_can_be_named(self, payload):
        request = parse(payload | {"strategy": {"id": 1, "version": 1}}, find_saved=saved)
        assert request.strategy.params["slow"] == 31

    def test_canonical_says_what_it_runs_and_needs_no_store(self, payload):
        request = parse(payload | {"strategy": {"id": 1}}, find_saved=saved)
        form = canonical(request)
        assert form["strategy"] == {
            "name": "sma_cross", "params": {"fast": 7, "slow": 32}, "id": 1, "version": 2}
        assert parse(form) == request == parse(form, find_saved=saved)

    @pytest.mark.parametrize(
        ("strategy", "field", "words"),
        [
            ({"id": 2}, "strategy.id", "no such saved"),
            ({"id": 1, "name": "rsi_reversion"}, "strategy.id", "leave out name and params"),
            ({"id": 1, "params": {"fast": 1}}, "strategy.id", "leave out name and params"),
            ({"name": "sma_cross", "version": 1}, "strategy.version", "belongs to the id"),
            ({}, "strategy.name", "or the id of a saved"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, payload, strategy, field, words):
        error = refusal(payload | {"strategy": strategy}, find_saved=saved)
        assert error.field == field
        assert words in str(error)


RELATIONS = [
    ("also", ["BTC"], "also[0]", "twice"),
    ("also", ["ETH", "ethusdt"], "also[1]", "twice"),
    ("also", ["ETH/USDT"], "also[0]", "letters and digits"),
    ("also", "ETH", "also", "an array"),
    ("risk.max_exposure", 2, "risk.max_exposure", "at most 1 on spot"),
    ("risk.sizing", {"method": "fixed_risk"}, "risk.stop_loss_pct", "required by fixed_risk"),
    ("risk.sizing", {"method": "fixed_quantity"}, "risk.sizing.value", "required by"),
    ("risk.sizing", {"atr_period": 5}, "risk.sizing.atr_period", "volatility_target"),
    ("risk.sizing", {"method": "kelly", "value": 2}, "risk.sizing.value", "at most 1"),
    ("entry", {"offset_pct": 1}, "entry.offset_pct", "waits for a price"),
    ("entry.valid_bars", 0, "entry.valid_bars", "at least 1"),
    ("entry.order", "iceberg", "entry.order", "one of market"),
    ("intrabar", {"timeframe": "1m"}, "intrabar.timeframe", "belongs to mode resolved"),
    ("intrabar", {"mode": "resolved", "timeframe": "1h"}, "intrabar.timeframe", "finer than 1h"),
    ("intrabar.mode", "hopeful", "intrabar.mode", "one of pessimistic"),
    ("direction", "up", "direction", "one of long"),
    ("data.warmup_bars", -1, "data.warmup_bars", "at least 0"),
    ("maker_fee_rate", 1, "maker_fee_rate", "below 1"),
    ("risk.max_entries", 0, "risk.max_entries", "at least 1"),
    ("risk.daily_loss_pct", 101, "risk.daily_loss_pct", "at most 100"),
]


@pytest.mark.parametrize(("path", "value", "field", "words"), RELATIONS)
def test_fields_that_do_not_fit_together_are_refused(payload, path, value, field, words):
    error = refusal(changed(payload, path, value))
    assert error.field == field
    assert words in str(error)


def test_a_half_spread_fits_one_symbol_only(payload):
    assert parse(payload | {"half_spread": 0.5}).settings.half_spread == 0.5
    error = refusal(payload | {"half_spread": 0.5, "also": ["ETH"]})
    assert error.field == "half_spread"


def test_leverage_is_for_futures(payload):
    request = parse(changed(payload | {"market": "um"}, "risk.max_exposure", 3))
    assert request.risk.max_exposure == 3.0


def test_resolved_looks_into_minutes_by_default(payload):
    request = parse(payload | {"intrabar": {"mode": "resolved"}})
    assert request.intrabar.timeframe == "1m"
    assert parse(canonical(request)) == request


def test_several_symbols_are_several_series(payload):
    request = parse(payload | {"also": ["eth", "SOLUSDT"]})
    assert [str(one) for one in request.all_series][1:] == [
        str(parse(payload | {"symbol": name}).series) for name in ("ETHUSDT", "SOLUSDT")]
