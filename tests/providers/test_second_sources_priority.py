"""Which provider is asked first, which are passed over, and why."""

from __future__ import annotations

import pytest

from candlevault.errors import (
    BadPayload,
    InvalidRequest,
    NoneDelivered,
    RateLimited,
    Unavailable,
)
from candlevault.providers.capabilities import CAPABILITIES
from candlevault.providers.priority import (
    DEFAULT_ORDER,
    Candidate,
    candidates,
    known_providers,
    parse_priority,
    try_in_order,
)


@pytest.mark.parametrize(
    ("asset_class", "order"),
    [
        ("crypto", ("binance", "coingecko", "polygon")),
        ("stocks", ("polygon", "yahoo", "alphavantage")),
        ("forex", ("oanda", "polygon")),
    ],
)
def test_the_order_without_a_wish(asset_class, order):
    assert parse_priority(None, asset_class) == order


@pytest.mark.parametrize(
    "wish",
    [["polygon", "binance"], ("polygon", "binance"), "polygon,binance", " Polygon , BINANCE "],
)
def test_a_wish_is_a_list_or_a_text(wish):
    assert parse_priority(wish, "crypto") == ("polygon", "binance")


@pytest.mark.parametrize(
    ("name", "known_as"),
    [("yfinance", "yahoo"), ("massive", "polygon"), ("alpha_vantage", "alphavantage")],
)
def test_providers_have_other_names_too(name, known_as):
    assert parse_priority([name], "stocks") == (known_as,)


def test_exchanges_can_be_named_where_they_are_known():
    assert parse_priority(["kraken", "binance"], "crypto", also=("kraken",)) == (
        "kraken",
        "binance",
    )


@pytest.mark.parametrize(
    ("wish", "field", "rule"),
    [
        ([], "provider_priority", "one provider or more"),
        ({}, "provider_priority", "one provider or more"),
        (7, "provider_priority", "one provider or more"),
        ("", "provider_priority[0]", "must be one of"),
        (["polygon", "kraken"], "provider_priority[1]", "must be one of"),
        (["oanda"], "provider_priority[0]", "for crypto"),
        (["ccxt"], "provider_priority[0]", "must be one of"),
        ([None], "provider_priority[0]", "must be one of"),
        ([["polygon"]], "provider_priority[0]", "must be one of"),
        (["polygon", "massive"], "provider_priority[1]", "named twice"),
        ("binance,binance", "provider_priority[1]", "named twice"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_position(wish, field, rule):
    with pytest.raises(InvalidRequest) as raised:
        parse_priority(wish, "crypto")
    assert raised.value.field == field
    assert rule in raised.value.rule


def test_an_unknown_class_of_assets_is_refused():
    with pytest.raises(InvalidRequest, match="asset_class"):
        parse_priority(None, "bonds")


def test_every_default_provider_serves_its_class():
    for asset_class, order in DEFAULT_ORDER.items():
        assert set(order) <= set(known_providers(asset_class))
        for name in order:
            if name in CAPABILITIES:
                assert asset_class in CAPABILITIES[name].markets


def having(*connections: str):
    return lambda connection: connection in connections


def test_a_provider_without_its_key_is_skipped_with_the_reason():
    marked = candidates(["binance", "polygon", "coingecko"], "crypto", "4h", having())
    assert [one.skip is None for one in marked] == [True, False, True]
    assert marked[1].skip == (
        "no key: there is no Airflow Connection candlevault_polygon with a password"
    )
    with_key = candidates(["polygon"], "crypto", "4h", having("candlevault_polygon"))
    assert with_key == [Candidate("polygon")]


def test_a_provider_that_cannot_serve_the_question_is_skipped_with_the_reason():
    marked = candidates(["coingecko", "yahoo", "oanda"], "crypto", "1h", lambda connection: True)
    assert [one.skip for one in marked] == [
        "offers 30m, 4h of crypto, not 1h",
        None,
        "serves forex, not crypto",
    ]


def test_the_first_that_delivers_is_the_one_and_the_others_say_why_not():
    asked = []

    def attempt(provider: str) -> str:
        asked.append(provider)
        if provider == "a":
            raise Unavailable("down", provider="a")
        return f"candles of {provider}"

    tried = [Candidate("x", "no key"), Candidate("a"), Candidate("b"), Candidate("c")]
    delivered = try_in_order(tried, attempt)
    assert (delivered.provider, delivered.value) == ("b", "candles of b")
    assert asked == ["a", "b"]
    assert [(one.provider, one.reason) for one in delivered.passed_over] == [
        ("x", "skipped: no key"),
        ("a", "down [a]"),
    ]
    assert delivered.passed_over[0].error is None
    assert isinstance(delivered.passed_over[1].error, Unavailable)


@pytest.mark.parametrize(
    ("errors", "transient"),
    [
        ([BadPayload("no"), Unavailable("down")], True),
        ([BadPayload("no"), RateLimited("slow", retry_after=5)], True),
        ([BadPayload("no"), BadPayload("neither")], False),
    ],
)
def test_when_none_delivers_each_says_why(errors, transient):
    waiting = list(errors)

    def attempt(provider: str) -> None:
        raise waiting.pop(0)

    with pytest.raises(NoneDelivered) as raised:
        try_in_order([Candidate("a"), Candidate("k", "no key"), Candidate("b")], attempt)
    assert raised.value.transient is transient
    text = str(raised.value)
    assert all(
        part in text for part in (f"a: {errors[0]}", "k: skipped: no key", f"b: {errors[1]}")
    )


def test_nothing_to_try_delivers_nothing():
    with pytest.raises(NoneDelivered, match="none to try"):
        try_in_order([], lambda provider: None)


def test_an_error_of_the_caller_is_no_reason_to_ask_another():
    def attempt(provider: str) -> None:
        raise InvalidRequest("window", "must be")

    with pytest.raises(InvalidRequest):
        try_in_order([Candidate("a"), Candidate("b")], attempt)
