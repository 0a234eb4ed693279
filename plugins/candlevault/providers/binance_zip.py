"""The one CSV of an archive's zip: checked against its CHECKSUM, read with limits on what it
may expand to."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib

from candlevault.errors import BadPayload
from candlevault.providers.http import HttpClient, HttpResponse

_MAX_CSV_BYTES = 64 * 1024 * 1024
_MAX_RATIO = 200
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError,
    struct.error, OverflowError,
)  # fmt: skip
"""What zipfile raises for damaged files: seen by feeding it files with bytes changed."""


def verified(http: HttpClient, url: str, provider: str, symbol: str) -> HttpResponse:
    """The zip at `url`, its checksum verified; fetched a second time when it does not agree."""
    name = url.rpartition("/")[2]
    for last_try in (False, True):
        response = http.get(url)
        stated = http.get(f"{url}.CHECKSUM").body
        match = re.fullmatch(rb"([0-9a-fA-F]{64}) [ *](\S+)\s*", stated)
        named = match is not None and match[2].decode("ascii", "replace") == name
        if named and match[1].decode().lower() == response.sha256:
            return response
        if not last_try:
            http.traffic.retries += 1
    raise BadPayload(
        "file does not agree with its CHECKSUM, twice", provider=provider, symbol=symbol, url=url
    )


def only_member(response: HttpResponse, name: str) -> bytes:
    """The bytes of the one member `name`, read to its end so that its CRC is checked.

    Raises BadPayload for anything else than exactly that member.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].filename != name or members[0].flag_bits & 1:
                raise BadPayload(f"zip must hold exactly {name}", url=response.url)
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadPayload("zip is compressed in an unusual way", url=response.url)
            with archive.open(members[0]) as member:
                # Counted while reading: sizes in headers are only claims.
                body = member.read(_MAX_CSV_BYTES + 1)
    except _ZIP_ERRORS as error:
        raise BadPayload(f"damaged zip: {error}", url=response.url) from error
    if len(body) > _MAX_CSV_BYTES or len(body) > _MAX_RATIO * max(len(response.body), 1024):
        raise BadPayload("zip expands beyond reason", url=response.url)
    return body
