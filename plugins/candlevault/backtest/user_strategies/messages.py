"""Messages between processes that do not trust each other: JSON and raw bytes, never pickles.

A message is MAGIC, the lengths of its two parts, a JSON object and bytes.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence

MAGIC = b"CVM1"
_LENGTHS = struct.Struct("<4sIQ")
BEGUN, ENDED = b"B", b"E"
"""What the runner says to the warden before and after each call of code of the user's."""

MOST_JSON = 4 * 1024 * 1024
"""Bytes of the JSON part of an answer at most; requests may be longer."""


class Unreadable(ValueError):
    """What was received is no message, or one that is larger than was agreed."""


def send(write, descriptor: int, header: dict, pieces: Sequence[bytes] = ()) -> None:
    """Write a message with `write` (os.write); raises OSError when nobody reads any more."""
    text = json.dumps(header, allow_nan=False).encode()
    length = sum(memoryview(piece).nbytes for piece in pieces)
    for part in (_LENGTHS.pack(MAGIC, len(text), length) + text, *pieces):
        left = memoryview(part).cast("B")
        while left:
            left = left[write(descriptor, left) :]


def receive(descriptor: int) -> tuple[dict, bytes]:
    """The next message of a sender who is trusted; raises EOFError where it ends."""
    magic, json_length, length = _LENGTHS.unpack(_exactly(descriptor, _LENGTHS.size))
    if magic != MAGIC:
        raise Unreadable("is no message")
    return json.loads(_exactly(descriptor, json_length)), _exactly(descriptor, length)


def _exactly(descriptor: int, count: int) -> bytes:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        read = os.readv(descriptor, [view])
        if read == 0:
            raise EOFError
        view = view[read:]
    return bytes(buffer)


class Inbox:
    """Takes bytes as they come and gives messages, each with at most `most` raw bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def take(self) -> tuple[dict, bytes] | None:
        """The next message, None while it is not complete. Raises Unreadable."""
        if len(self._buffer) < _LENGTHS.size:
            return None
        magic, json_length, length = _LENGTHS.unpack_from(self._buffer)
        if magic != MAGIC or json_length > MOST_JSON or length > self._most:
            raise Unreadable("is no message")
        text_end = _LENGTHS.size + json_length
        if len(self._buffer) < text_end + length:
            return None
        header = parsed(bytes(self._buffer[_LENGTHS.size : text_end]))
        body = bytes(self._buffer[text_end : text_end + length])
        del self._buffer[: text_end + length]
        return header, body


def parsed(text: bytes) -> dict:
    """The JSON object in `text`; raises Unreadable for anything else, NaN included."""

    def refuse(constant: str) -> None:
        raise Unreadable(f"holds {constant}")

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Unreadable("is no JSON") from error
    if not isinstance(found, dict):
        raise Unreadable("is no object")
    return found
