"""The one HTTP client of all providers: GET with deadline, caps, retries and manners.

Retries: up to 3, after 0.5, 1 and 2 s with jitter, on network failures, time-outs, answers
cut short, 5xx and 429/418. `Retry-After` is obeyed; a wait longer than `max_wait_s` is not
slept through but raised, so that whoever schedules the work can come back later. While a
429 or 418 is in force no thread of this client sends anything.

A key is added at the last moment and is in no URL, body or error that this client shows.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotPublished,
    ProviderError,
    RateLimited,
    Unavailable,
)
from candlevault.providers.api_keys import ApiKey, keep_out_of_logs
from candlevault.providers.contract import Traffic

USER_AGENT = "candlevault/0.1"
_BACKOFF_S = (0.5, 1.0, 2.0)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete 200 answer. `url` is the one asked for, `duration_ms` of the last try."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    fetched_at: datetime
    duration_ms: int

    @property
    def sha256(self) -> str:
        """Hash of the body as sent, hex."""
        return hashlib.sha256(self.body).hexdigest()


def retry_after_s(value: str | None, now: datetime, default_s: float) -> float:
    """Seconds of a Retry-After header (seconds or HTTP date), clamped to 1 s … 3 days."""
    seconds = default_s
    if value is not None:
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(value) - now).total_seconds()
            except (ValueError, TypeError, OverflowError):
                seconds = default_s
    if not seconds < 259_200:
        seconds = 259_200.0
    return max(1.0, seconds)


class _Session(requests.Session):
    """A session that never looks where a redirect leads: requests reads its body unbounded."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class HttpClient:
    """GETs for one provider. Thread-safe; clock and sleep are given for tests.

    `key` goes with every request; `turn` is called before each and may wait (a Pace).
    """

    def __init__(
        self,
        provider: str,
        *,
        timeout_s: float = 30.0,
        max_bytes: int = 64 * 1024 * 1024,
        max_wait_s: float = 120.0,
        connections: int = 5,
        key: ApiKey | None = None,
        turn: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.provider = provider
        self.traffic = Traffic()
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._max_wait_s = max_wait_s
        self._sleep = sleep
        self._jitter = jitter
        self._key = key
        self._turn = turn
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._session = _Session()
        self._session.headers["User-Agent"] = USER_AGENT
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        if key is not None:
            # Given as `auth` it also keeps requests from taking one out of ~/.netrc instead.
            self._session.auth = key
            keep_out_of_logs(key)

    def get(
        self,
        url: str,
        params: Mapping[str, str | int] | None = None,
        *,
        interpret: Callable[[int, bytes], ProviderError | None] | None = None,
    ) -> HttpResponse:
        """The answer to one GET.

        `interpret(status, body)` may turn an answer into a venue's own error (an unknown
        symbol) before the general rules apply; it sees the body without the key. Raises a
        ProviderError.
        """
        prepared = requests.Request("GET", url, params=dict(params or {})).prepare()
        final_url = prepared.url or url
        for attempt in range(len(_BACKOFF_S) + 1):
            self._wait_out_pause(final_url)
            self._turn()
            try:
                return self._once(final_url, interpret)
            except RateLimited as error:
                self._pause(error.retry_after)
                if attempt == len(_BACKOFF_S) or error.retry_after > self._max_wait_s:
                    raise
                self._count_retry()
            except Unavailable:
                if attempt == len(_BACKOFF_S):
                    raise
                self._count_retry()
                self._sleep(_BACKOFF_S[attempt] * (0.5 + self._jitter()))
        raise AssertionError("unreachable")

    def _wait_out_pause(self, url: str) -> None:
        waited_until = 0.0
        while True:
            with self._lock:
                until = self._paused_until
            wait = until - time.monotonic()
            # Another answer may have made the pause longer during the sleep.
            if wait <= 0 or until <= waited_until:
                return
            if wait > self._max_wait_s:
                raise RateLimited(
                    f"paused by the venue for {wait:.0f} s more",
                    retry_after=wait,
                    **self._where(url),
                )
            self._sleep(wait)
            waited_until = until

    def _pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _count_retry(self) -> None:
        with self._lock:
            self.traffic.retries += 1

    def _once(
        self, url: str, interpret: Callable[[int, bytes], ProviderError | None] | None
    ) -> HttpResponse:
        with self._lock:
            self.traffic.requests += 1
        started = time.monotonic()
        failure: ProviderError | None = None
        # A proxy from the environment must not be asked for addresses of this machine.
        proxies = {"http": "", "https": ""} if urlsplit(url).hostname in _LOOPBACK else None
        try:
            with self._session.get(
                url,
                timeout=(10.0, self._timeout_s),
                stream=True,
                allow_redirects=False,
                proxies=proxies,
            ) as response:
                body = self._read(response, url, started)
                status, headers = response.status_code, response.headers
        except requests.exceptions.SSLError as error:
            failure = ProviderError(f"TLS failure: {self._scrub(str(error))}", **self._where(url))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = Unavailable(f"no complete answer: {type(error).__name__}", **self._where(url))
        if failure is not None:
            # Raised out here because a chained exception would quote the URL with the key.
            raise failure
        weight = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if weight.isascii() and weight.isdigit() and len(weight) < 10:
            self.traffic.used_weight = int(weight)
        self._raise_for_status(status, self._scrubbed(body), headers, url, interpret)
        return HttpResponse(
            url=self._scrub(url),
            body=body,
            headers=headers,
            fetched_at=datetime.now(UTC),
            duration_ms=int((time.monotonic() - started) * 1000),
        )

    def _read(self, response: requests.Response, url: str, started: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        # read1 returns what has come: a read of a given size would wait for all of it, and
        # requests times out each packet, not the whole. A trickle must end too.
        while part := response.raw.read1(256 * 1024, decode_content=True):
            size += len(part)
            if size > self._max_bytes:
                raise BadPayload(f"answer larger than {self._max_bytes} bytes", **self._where(url))
            if time.monotonic() - started > self._timeout_s:
                raise Unavailable(
                    f"answer not complete after {self._timeout_s:.0f} s", **self._where(url)
                )
            parts.append(part)
        return b"".join(parts)

    def _where(self, url: str, status: int | None = None) -> dict:
        return {"provider": self.provider, "url": self._scrub(url), "status": status}

    def _scrub(self, text: str) -> str:
        return text if self._key is None else self._key.scrub(text)

    def _scrubbed(self, body: bytes) -> bytes:
        """The body as errors may quote it: providers repeat the key in their refusals."""
        if self._key is None:
            return body
        return self._scrub(body.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )

    def _raise_for_status(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        url: str,
        interpret: Callable[[int, bytes], ProviderError | None] | None,
    ) -> None:
        if status in (418, 429):
            raise RateLimited(
                "banned for too many requests" if status == 418 else "too many requests",
                retry_after=retry_after_s(
                    headers.get("Retry-After"), datetime.now(UTC), 120 if status == 418 else 60
                ),
                banned=status == 418,
                **self._where(url, status),
            )
        if interpret is not None and (error := interpret(status, body)) is not None:
            raise error
        if status == 200:
            return
        where = self._where(url, status)
        if status in (403, 451):
            raise GeoBlocked(f"this address is refused: {message_of(body)}", **where)
        if status == 404:
            raise NotPublished("no such file", **where)
        if status >= 500:
            raise Unavailable(f"server error: {message_of(body)}", **where)
        if 300 <= status < 400:
            raise BadPayload("redirect refused", **where)
        raise BadPayload(f"request refused: {message_of(body)}", **where)


def message_of(body: bytes) -> str:
    """The venue's own words of an error body, shortened; safe for any bytes."""
    try:
        parsed = json.loads(body)
        if isinstance(parsed, dict) and "msg" in parsed:
            return f"{parsed.get('code')} {parsed['msg']}"[:200]
    except (ValueError, RecursionError):
        pass
    return body[:80].decode("ascii", "replace").replace("\n", " ")
