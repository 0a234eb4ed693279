"""Keys: where they go, that they are scrubbed however written, and the client that sends them."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote, quote_plus

import pytest

from candlevault.errors import RateLimited
from candlevault.providers.api_keys import ApiKey, is_plain
from tests.support.scripted_http import Reply
from tests.support.second_sources import CANARY, client

HEADER = ApiKey(CANARY, header="Authorization", prefix="Bearer ")
PARAMETER = ApiKey(CANARY, parameter="apikey")


@pytest.mark.parametrize("key", [HEADER, PARAMETER], ids=["header", "parameter"])
def test_a_key_goes_with_every_request_and_every_retry(server, key):
    server.replies += [Reply(status=500), Reply(status=500)]
    server.answer = lambda path, parameters: Reply(b"fine")
    client("test", key).get(f"{server.base_url}/x", {"a": 1})
    sent = [
        target + repr(headers) for target, headers in zip(server.asked, server.headers, strict=True)
    ]
    assert len(sent) == 3
    assert all(CANARY in one for one in sent)
    assert all(target.startswith("/x?a=1") for target in server.asked)


def test_a_key_is_sent_as_it_is_and_reported_as_nothing(server):
    odd = "a+b/c=d&e%f"
    seen = []

    def answer(path: str, parameters: dict) -> Reply:
        seen.append(parameters["apikey"])
        return Reply(b"fine")

    server.answer = answer
    response = client("test", ApiKey(odd, parameter="apikey")).get(f"{server.base_url}/x")
    assert seen == [odd]
    assert response.url == f"{server.base_url}/x"


@pytest.mark.parametrize(
    "value", ["plainKey", "a+b/c=d&e%f", 'with"quote', "back\\slash", "ümlaut"]
)
def test_every_spelling_of_a_key_is_scrubbed(value):
    key = ApiKey(value)
    for spelling in (value, quote(value, safe=""), quote_plus(value), json.dumps(value)):
        text = key.scrub(f"before {spelling} after")
        assert value not in text
        assert text.startswith("before ")
        assert text.endswith(" after")


def test_a_key_does_not_show_itself():
    assert CANARY not in repr(HEADER) + str(PARAMETER)


def test_a_key_from_netrc_is_not_sent_instead(server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.answer = lambda path, parameters: Reply(b"fine")
    client("test", HEADER).get(server.base_url)
    assert server.headers[0]["Authorization"] == f"Bearer {CANARY}"


def test_the_log_of_the_network_library_does_not_show_a_key(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.answer = lambda path, parameters: Reply(b"fine")
    client("test", PARAMETER).get(f"{server.base_url}/x")
    assert "/x?apikey=*** HTTP/1.1" in caplog.text
    assert CANARY not in caplog.text


def test_an_answer_keeps_its_bytes_even_where_they_repeat_the_key(server):
    body = f"you are {CANARY}".encode()
    server.answer = lambda path, parameters: Reply(body)
    assert client("test", HEADER).get(server.base_url).body == body


def test_what_interprets_an_answer_does_not_see_the_key(server):
    seen = []
    server.answer = lambda path, parameters: Reply(b"\xff you are " + CANARY.encode())
    client("test", HEADER).get(
        server.base_url, interpret=lambda status, body: seen.append(body) or None
    )
    assert seen == [b"\xff you are ***"]


def test_a_turn_is_waited_for_before_every_try(server):
    turns = []
    server.replies += [Reply(status=500), Reply(b"fine")]
    client("test", turn=lambda: turns.append(len(server.asked))).get(server.base_url)
    assert turns == [0, 1]


def test_a_wait_that_is_too_long_is_raised_in_the_words_of_its_cause(server):
    http = client("test", max_wait_s=100)

    def interpret(status: int, body: bytes) -> RateLimited:
        return RateLimited("25 requests per day", retry_after=3600, provider="test")

    server.answer = lambda path, parameters: Reply(b"{}")
    with pytest.raises(RateLimited, match="25 requests per day"):
        http.get(server.base_url, interpret=interpret)
    with pytest.raises(RateLimited, match="paused by the venue"):
        http.get(server.base_url)
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["abc", "a-b_c.d~", "a+b/c="])
def test_plain_keys(value):
    assert is_plain(value)


@pytest.mark.parametrize("value", ["", "a b", "a\nb", "a\r", "\tab", "schlüssel", "a\x00"])
def test_keys_that_no_header_can_carry(value):
    assert not is_plain(value)
