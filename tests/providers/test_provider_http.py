"""The HTTP client: retries and their waits, bans, refusals, and answers that never end."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotPublished,
    ProviderError,
    RateLimited,
    Unavailable,
)
from candlevault.providers.http import HttpClient, message_of, retry_after_s
from tests.support.market import client
from tests.support.scripted_http import Reply, ScriptedServer

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Waits(list):
    """Records the waits and takes none."""

    def __call__(self, seconds: float) -> None:
        self.append(round(seconds, 1))


@pytest.fixture
def waits() -> Waits:
    return Waits()


def steady(waits: Waits, **options) -> HttpClient:
    """A client whose jitter is always in the middle: waits are the nominal ones."""
    return client(sleep=waits, jitter=lambda: 0.5, **options)


def get(server: ScriptedServer, waits: Waits, *replies: Reply, **options) -> bytes:
    server.replies += replies
    return steady(waits, **options).get(f"{server.base_url}/x").body


OK = Reply(b"fine")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again_after_half_a_second_one_and_two(server, waits, status):
    busy = Reply(b"<html>busy</html>", status)
    assert get(server, waits, busy, busy, busy, OK) == b"fine"
    assert waits == [0.5, 1.0, 2.0]


def test_after_three_retries_the_error_is_raised_and_says_where(server, waits):
    busy = Reply(b'{"code":-1000,"msg":"An unknown error occurred"}', 500)
    with pytest.raises(Unavailable, match=r"-1000 An unknown error.*test HTTP 500 http") as raised:
        get(server, waits, *[busy] * 4)
    assert raised.value.transient
    assert len(server.asked) == 4
    assert waits == [0.5, 1.0, 2.0]


def test_retries_and_requests_are_counted(server, waits):
    server.replies += [Reply(status=500), Reply(status=429), OK]
    http = steady(waits)
    http.get(server.base_url)
    assert (http.traffic.requests, http.traffic.retries) == (3, 2)


def test_jitter_spreads_the_waits_by_half(server):
    waits: list[float] = []
    server.replies += [Reply(status=500), Reply(status=500), OK]
    edges = iter([0.0, 1.0])
    client(sleep=waits.append, jitter=lambda: next(edges)).get(server.base_url)
    assert waits == [0.25, 1.5]


@pytest.mark.parametrize(("given", "wait"), [("7", 7.0), ("0", 1.0), ("-1", 1.0), ("1.5", 1.5)])
def test_retry_after_is_obeyed_and_never_less_than_a_second(server, waits, given, wait):
    assert get(server, waits, Reply(status=429, headers={"Retry-After": given}), OK) == b"fine"
    assert waits == [pytest.approx(wait, abs=0.2)]


def test_a_429_without_retry_after_waits_a_minute(server, waits):
    get(server, waits, Reply(status=429), OK)
    assert waits == [pytest.approx(60, abs=0.2)]


@pytest.mark.parametrize("given", ["1000000000", "259201", "inf", "nan"])
def test_an_absurd_wait_is_clamped_raised_and_not_slept_through(server, waits, given):
    with pytest.raises(RateLimited) as raised:
        get(server, waits, Reply(status=429, headers={"Retry-After": given}), OK)
    assert raised.value.retry_after <= 259_200
    assert raised.value.transient
    assert waits == []
    assert len(server.asked) == 1


def test_during_a_ban_nothing_is_sent_at_all(server, waits):
    http = steady(waits)
    server.replies += [Reply(status=418, headers={"Retry-After": "600"})]
    for _ in range(3):
        with pytest.raises(RateLimited):
            http.get(server.base_url)
    assert len(server.asked) == 1


def test_a_ban_says_so(server, waits):
    http = steady(waits, max_wait_s=0)
    server.replies += [Reply(status=418)] * 2
    with pytest.raises(RateLimited) as raised:
        http.get(server.base_url)
    assert raised.value.retry_after == pytest.approx(120, abs=1)


def test_a_pause_holds_every_thread_of_the_client(server, waits):
    """A second thread must not ask while the first one's 429 is in force."""
    http = steady(waits)
    server.replies += [Reply(status=429, headers={"Retry-After": "30"}), OK, OK]
    http.get(server.base_url)
    threading.Thread(target=http.get, args=(server.base_url,)).start()
    deadline = time.monotonic() + 5
    while len(waits) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waits == [pytest.approx(30, abs=0.5)] * 2


def test_a_pause_made_longer_during_the_sleep_is_waited_out_to_its_new_end(server):
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            http._pause(100)

    http = client(sleep=sleep)
    server.replies += [Reply(status=429, headers={"Retry-After": "10"}), OK]
    http.get(server.base_url)
    assert [round(wait) for wait in waits] == [10, 100]


@pytest.mark.parametrize("status", [403, 451])
def test_a_blocked_address_is_not_tried_again(server, waits, status):
    reply = Reply(b"<html><body>Request\nblocked.</body></html>", status)
    with pytest.raises(GeoBlocked, match="Request blocked") as raised:
        get(server, waits, reply)
    assert not raised.value.transient
    assert len(server.asked) == 1


def test_a_missing_file_is_not_tried_again(server, waits):
    with pytest.raises(NotPublished):
        get(server, waits, Reply(b"<Error/>", 404))
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data", "/elsewhere", "http://[bad", ""]
)
def test_a_redirect_is_refused_wherever_it_leads(server, waits, status, target):
    with pytest.raises(BadPayload, match="redirect refused"):
        get(server, waits, Reply(status=status, headers={"Location": target}))
    assert len(server.asked) == 1


def test_the_body_of_a_redirect_is_capped_like_any_other(server, waits):
    reply = Reply(b"x" * 300_000, 302, {"Location": "/elsewhere"})
    with pytest.raises(BadPayload, match="larger than"):
        get(server, waits, reply, max_bytes=100_000)


@pytest.mark.parametrize("kept", [0, 1, 5_000, 99_999])
def test_a_body_shorter_than_announced_is_never_used(server, waits, kept):
    cut = Reply(b"x" * kept, declared=100_000)
    with pytest.raises(Unavailable):
        get(server, waits, *[cut] * 4)
    assert len(server.asked) == 4
    assert get(server, waits, cut, OK) == b"fine"


def test_a_compressed_body_that_is_broken_is_never_used(server, waits):
    packed = gzip.compress(b"hello" * 1000)
    broken = Reply(packed[:20] + b"\0\0\0" + packed[23:], headers={"Content-Encoding": "gzip"})
    whole = Reply(packed, headers={"Content-Encoding": "gzip"})
    assert get(server, waits, broken, whole) == b"hello" * 1000


@pytest.mark.parametrize("piece", [1, 1000])
def test_a_trickle_ends_at_the_total_deadline(server, waits, piece):
    """Each packet comes in time; the whole never does."""
    trickle = Reply(b"x" * 20_000, piece=piece, pause_s=0.05)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="not complete after"):
        get(server, waits, *[trickle] * 4, timeout_s=0.3)
    assert time.monotonic() - started < 4


def test_a_silent_server_times_out(server, waits):
    silent = Reply(b"late", pause_s=1.5)
    with pytest.raises(Unavailable):
        get(server, waits, *[silent] * 4, timeout_s=0.2)


def test_an_answer_larger_than_the_cap_is_refused(server, waits):
    with pytest.raises(BadPayload, match="larger than"):
        get(server, waits, Reply(b"x" * 100_001), max_bytes=100_000)
    assert get(server, waits, Reply(b"x" * 100_000), max_bytes=100_000) == b"x" * 100_000


def test_a_compressed_bomb_is_refused_by_what_it_expands_to(server, waits):
    bomb = Reply(gzip.compress(b"\0" * 50_000_000), headers={"Content-Encoding": "gzip"})
    with pytest.raises(BadPayload, match="larger than"):
        get(server, waits, bomb, max_bytes=1_000_000)


def test_nobody_listening_is_unavailable(waits):
    with pytest.raises(Unavailable):
        steady(waits).get("http://127.0.0.1:1/")
    assert waits == [0.5, 1.0, 2.0]


def test_the_venues_own_error_comes_before_the_general_rules(server, waits):
    class Own(ProviderError):
        pass

    server.replies += [Reply(b"no", 400)]
    with pytest.raises(Own):
        steady(waits).get(server.base_url, interpret=lambda status, body: Own(f"{status} {body}"))


def test_a_bad_request_fails_at_once_with_the_venues_words(server, waits):
    with pytest.raises(BadPayload, match=r"-1120 Invalid interval\."):
        get(server, waits, Reply(b'{"code":-1120,"msg":"Invalid interval."}', 400))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("header", "weight"), [("17", 17), ("9" * 5000, 0), ("-1", 0), ("x", 0), ("", 0)]
)
def test_the_used_weight_is_noted_when_it_is_a_number(server, waits, header, weight):
    http = steady(waits)
    server.replies += [Reply(b"", headers={"X-MBX-USED-WEIGHT-1M": header})]
    http.get(server.base_url)
    assert http.traffic.used_weight == weight


def test_parameters_are_encoded_and_the_url_is_kept(server, waits):
    server.answer = lambda path, parameters: Reply(repr(sorted(parameters.items())).encode())
    answer = steady(waits).get(f"{server.base_url}/k", {"symbol": "龙&x=1", "limit": 5})
    assert answer.body == repr([("limit", "5"), ("symbol", "龙&x=1")]).encode()
    assert answer.url.startswith(f"{server.base_url}/k?symbol=%E9")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(server, waits, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert get(server, waits, OK) == b"fine"


# -- Retry-After -----------------------------------------------------------------------------


def test_retry_after_as_a_date_is_counted_from_now():
    assert retry_after_s(format_datetime(NOW + timedelta(seconds=90), usegmt=True), NOW, 5) == 90
    assert retry_after_s(format_datetime(NOW - timedelta(days=1), usegmt=True), NOW, 5) == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "Mon, 99 Jan 2024 00:00:00 GMT",
        "Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +999999999999",
        "Mon, 01 Jan 2024 00:00:00 -0000",
        "Mon, 01 Jan 2024",
    ],
)
def test_retry_after_that_cannot_be_read_is_the_default(value):
    assert retry_after_s(value, NOW, 60) == 60


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(str)))
def test_any_retry_after_is_between_a_second_and_three_days(value):
    assert 1 <= retry_after_s(value, NOW, 60) <= 259_200


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_the_words_of_any_body_are_short(body):
    assert len(message_of(body)) <= 200


def test_the_words_of_a_hostile_json_body_are_short():
    assert message_of(b'{"code": 1, "msg": "' + b"x" * 5000 + b'"}')[:4] == "1 xx"
    assert len(message_of(b'{"code": 1, "msg": "' + b"x" * 5000 + b'"}')) == 200
    assert len(message_of(b"[" * 100_000)) == 80
    answers: Mapping[bytes, str] = {b"": "", b'{"msg": null}': "None None"}
    assert {body: message_of(body) for body in answers} == answers
