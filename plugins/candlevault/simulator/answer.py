"""What a surface hands to the web server: status, body, headers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

JSON = "application/json;charset=UTF-8"
XML = "application/xml"
HTML = "text/html"


@dataclass(slots=True)
class Reply:
    """One HTTP answer. `kind` is its name in the statistics."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "unexpected"


def json_reply(value: object, status: int = 200, kind: str = "unexpected") -> Reply:
    """`value` as compact JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, body, kind=kind)


def error(status: int, code: int, message: str, kind: str = "unexpected") -> Reply:
    """Binance's error body."""
    return json_reply({"code": code, "msg": message}, status, kind)
