"""Funding rates from REST that cannot be, or do not come: refused with the whole answer."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candlevault.errors import BadPayload, GeoBlocked, RateLimited, Unavailable
from candlevault.funding import FundingEvent
from candlevault.providers import binance_funding_rows as rows_of
from candlevault.windows import Window
from tests.support.funding_venue import (
    DAY_ONE,
    FIRST,
    NOW,
    events_of,
    provider,
    replay,
    rest_at,
    row_of,
    venue,
)
from tests.support.market import DAY, span, venue_at
from tests.support.scripted_http import Reply

__all__ = ["provider", "replay", "venue"]


def asked_of(server, *rows: object, body: bytes | None = None) -> list[FundingEvent]:
    server.answer = lambda path, parameters: Reply(body or json.dumps(list(rows)).encode())
    return events_of(rest_at(server).funding("BTCUSDT", DAY_ONE, NOW))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row_of(FIRST - 1)], "outside"),
        ([row_of(FIRST + DAY)], "outside"),
        ([row_of(FIRST + 1), row_of(FIRST)], "do not ascend"),
        ([row_of(), row_of()], "do not ascend"),
        ([row_of(rate="1")], "a rate of 1"),
        ([row_of(rate="-1.00000000")], "a rate of -1"),
        ([row_of(rate="NaN")], "not a decimal"),
        ([row_of(rate="Infinity")], "not a decimal"),
        ([row_of(rate="")], "not a decimal"),
        ([row_of(rate="0,1")], "not a decimal"),
        ([row_of(rate=0.0001)], "not a decimal in a text"),
        ([row_of(rate=None)], "not a decimal"),
        ([row_of(rate="0.0000000000001")], "more than 12 decimals"),
        ([row_of(rate="1e-13")], "more than 12 decimals"),
        ([row_of(str(FIRST))], "not a time in ms"),
        ([row_of(float(FIRST))], "not a time in ms"),
        ([row_of(True)], "not a time in ms"),
        ([row_of(-5)], "not a time in ms"),
        ([row_of(FIRST * 1000)], "not a time in ms"),
        ([row_of(markPrice="-1")], "a mark price of -1"),
        ([row_of(markPrice="1.000000001")], "more than 8 decimals"),
        ([row_of(markPrice=12)], "markPrice is not a decimal"),
        ([row_of(symbol="ETHUSDT")], "of another symbol"),
        ([{"fundingTime": FIRST, "fundingRate": "0.1"}], "of another symbol"),
        ([[FIRST, "0.1"]], "not an object"),
        ([row_of(FIRST + 1), None], "not an object"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_the_whole_answer(server, rows, words):
    with pytest.raises(BadPayload, match=words) as refused:
        asked_of(server, *rows)
    assert (refused.value.provider, refused.value.symbol) == ("binance_um_rest", "BTCUSDT")
    assert "fundingRate?" in refused.value.url


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"", b"{}", b'{"code":-1001,"msg":"Internal error"}', b"null", b"[" * 100_000,
        b'[{"symbol":"BTCUSDT"', b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(server, body):
    with pytest.raises(BadPayload):
        asked_of(server, body=body or b" ")


def test_digits_are_kept_as_sent_and_a_missing_mark_price_is_none(server):
    found = asked_of(
        server,
        row_of(FIRST, "-0.00037525", markPrice="0.00000001"),
        row_of(FIRST + 1, "0.123456789012", markPrice=""),
        row_of(FIRST + 2, "1.5e-05", markPrice="0.00000000"),
        row_of(FIRST + 3, "0", markPrice=None),
        row_of(FIRST + DAY - 1, "0.99999999"),
    )
    assert found == [
        FundingEvent(FIRST, Decimal("-0.00037525"), Decimal("0.00000001")),
        FundingEvent(FIRST + 1, Decimal("0.123456789012")),
        FundingEvent(FIRST + 2, Decimal("0.000015")),
        FundingEvent(FIRST + 3, Decimal(0)),
        FundingEvent(FIRST + DAY - 1, Decimal("0.99999999")),
    ]


@pytest.mark.parametrize(
    ("kind", "args", "error"),
    [
        ("451", {}, GeoBlocked),
        ("403", {}, GeoBlocked),
        ("429", {"retry_after": 100_000}, RateLimited),
        ("418", {"retry_after": 100_000}, RateLimited),
        ("503", {}, Unavailable),
        ("500", {}, Unavailable),
        ("cut_body", {}, Unavailable),
        ("html", {}, BadPayload),
        ("empty", {}, BadPayload),
        ("error200", {}, BadPayload),
        ("reversed", {}, BadPayload),
        ("duplicate_rows", {}, BadPayload),
        ("misaligned", {"shift_ms": 10 * DAY}, BadPayload),
    ],
)
def test_failures_are_those_of_the_candle_provider(provider, venue, kind, args, error):
    venue.fault(kind, "fundingRate", **args)
    with pytest.raises(error):
        provider.funding("BTCUSDT", span("2023-02-01", "2023-02-03"), NOW)


def test_a_429_is_waited_out_and_the_retry_is_counted(provider, venue):
    venue.fault("429", times=1, retry_after=1)
    assert len(events_of(provider.funding("BTCUSDT", span("2023-02-01", "2023-02-03"), NOW))) == 6
    assert provider.traffic.retries == 1


def test_while_funding_is_refused_candles_are_not_asked_for_either(venue):
    """Both are asked from one address: a ban is a ban."""
    at = venue_at(venue.base_url, "um")
    venue.fault("418", "fundingRate", retry_after=100_000)
    with pytest.raises(RateLimited):
        at.funding.funding("BTCUSDT", DAY_ONE, NOW)
    venue.forget()
    with pytest.raises(RateLimited):
        at.server_time_ms()
    assert venue.asked() == {}


def test_checks_hold_at_their_edges():
    window = Window(1_000, 2_000)
    good = [FundingEvent(1_000, Decimal("-0.999999999999")), FundingEvent(1_999, Decimal(0))]
    assert rows_of.checked(good, window) == tuple(good)
    assert rows_of.checked([], window) == ()
