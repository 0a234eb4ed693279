"""Keys of providers: added to a request when it is sent, and kept out of everything shown.

A key is never part of the URL that the client reports. What could still quote it (an error
body that repeats it, an exception of the network library, its debug log) is scrubbed.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from urllib.parse import quote

import requests

HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and where it goes: into `header` (after `prefix`) or into the query `parameter`."""

    value: str = field(repr=False)
    header: str = ""
    prefix: str = ""
    parameter: str = ""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key to a prepared request: requests calls this just before it sends."""
        if self.header:
            request.headers[self.header] = self.prefix + self.value
        if self.parameter:
            request.prepare_url(request.url, {self.parameter: self.value})
        return request

    def scrub(self, text: str) -> str:
        """The text with every spelling of the key replaced by asterisks."""
        for spelling in self._spellings():
            text = text.replace(spelling, HIDDEN)
        return text

    def _spellings(self) -> set[str]:
        return {self.value, quote(self.value, safe=""), json.dumps(self.value)[1:-1]}


def is_plain(value: str) -> bool:
    """Whether a key can be sent as it is: printable ASCII without blanks, not empty.

    Anything else would make the HTTP library refuse the header in a message that quotes it.
    """
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


class _Redaction(logging.Filter):
    """Scrubs keys from what urllib3 logs: at level DEBUG it writes whole URLs."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: frozenset[ApiKey] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        shown = record.getMessage()
        for key in self.keys:
            shown = key.scrub(shown)
        record.msg, record.args = shown, ()
        return True


_REDACTION = _Redaction()


def keep_out_of_logs(key: ApiKey) -> None:
    """From now on the network library's log in this process does not show the key."""
    _REDACTION.keys |= {key}
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_REDACTION)
