"""What one archive file is: its name, its bytes, its checksum, and how to spoil them."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from candlevault import timeframe as timeframes_module
from candlevault.simulator.funding import INTERVAL_MS
from candlevault.simulator.funding import WHAT as FUNDING
from candlevault.simulator.published import PATH
from candlevault.simulator.source import FundingRow
from candlevault.timeframe import to_ms

PLACES = {"spot": "spot", "um": "futures/um"}
MARKETS = {place: market for market, place in PLACES.items()}
_PUBLISHED_AT = timedelta(hours=6)
_MICROSECONDS_FROM_MS = 1_735_689_600_000
"""Spot files of 2025-01-01 and later count in microseconds."""
_UM_HEADER_FROM_MS = 1_654_041_600_000
"""Futures files have a header from 2022-06 on."""
_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
_FUNDING_HEADER = b"calc_time,funding_interval_hours,last_funding_rate\n"
_FUNDING_PATH = re.compile(
    rf"data/futures/um/monthly/{FUNDING}/(?P<symbol>[A-Z0-9]+)/"
    rf"(?P=symbol)-{FUNDING}-(?P<date>\d{{4}}-\d{{2}})",
    re.ASCII,
)
_ZIP_MOMENT = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class File:
    """One archive file: a day or a month of a series, or a month of funding rates, which stand
    as `timeframe` then. `stem` is its path without `.zip`."""

    stem: str
    granularity: str
    market: str
    symbol: str
    timeframe: str
    start_ms: int
    end_ms: int
    published_ms: int

    @property
    def is_funding(self) -> bool:
        """Whether it holds funding rates."""
        return self.timeframe == FUNDING

    @property
    def name(self) -> str:
        """The bare name without an ending."""
        return self.stem.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Packed:
    """The bytes that are sent for a file, and what is said of them."""

    data: bytes
    checksum: bytes
    etag: str
    modified_ms: int


def file_of(stem: str) -> File | None:
    """The File of a path without `.zip`, or None when no archive can have that name."""
    if match := _FUNDING_PATH.fullmatch(stem):
        return _file(stem, "monthly", "um", match["symbol"], FUNDING, match["date"])
    match = PATH.fullmatch(stem)
    if match is None or match["timeframe"] not in timeframes_module.ALL:
        return None
    date = match["date"]
    monthly = match["period"] == "monthly"
    if monthly != (len(date) == 7) or (not monthly and match["timeframe"] == "1w"):
        return None
    market = MARKETS[match["place"]]
    return _file(stem, match["period"], market, match["symbol"], match["timeframe"], date)


def _file(
    stem: str, granularity: str, market: str, symbol: str, timeframe: str, date: str
) -> File | None:
    monthly = granularity == "monthly"
    try:
        start = datetime.fromisoformat(date + ("-01" if monthly else "")).replace(tzinfo=UTC)
    except ValueError:
        return None
    end = next_month(start) if monthly else start + timedelta(days=1)
    # The first Monday on or after the first of the next month.
    wait = timedelta(days=(7 - end.weekday()) % 7 if monthly else 0)
    return File(
        stem,
        granularity,
        market,
        symbol,
        timeframe,
        to_ms(start),
        to_ms(end),
        to_ms(end + wait + _PUBLISHED_AT),
    )


def next_month(moment: datetime) -> datetime:
    """The first day of the month after that of `moment`."""
    return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)


def csv_of(file: File, lines: list[str]) -> bytes:
    """The CSV of REST lines, with the unit and header that the file's time and market have."""
    if file.market == "spot" and file.start_ms >= _MICROSECONDS_FROM_MS:
        lines = [_in_microseconds(line) for line in lines]
    body = "".join(f"{line}\n" for line in lines).encode()
    header = file.market == "um" and file.start_ms >= _UM_HEADER_FROM_MS
    return _HEADER + body if header else body


def funding_csv_of(rows: list[FundingRow]) -> bytes:
    """The CSV of a month's funding rates: a header, and no mark price."""
    times = [row.time_ms for row in rows]
    lines = [
        f"{row.time_ms},{_hours_since(times, index)},{row.rate}\n".encode()
        for index, row in enumerate(rows)
    ]
    return _FUNDING_HEADER + b"".join(lines)


def _hours_since(times: list[int], index: int) -> int:
    """Hours from the event before; of a month's first one to the event after it."""
    if len(times) < 2:
        return INTERVAL_MS // 3_600_000
    later = max(index, 1)
    return round((times[later] - times[later - 1]) / 3_600_000)


def _in_microseconds(line: str) -> str:
    t, o, h, low, c, v, close, rest = line.split(",", 7)
    return f"{t}000,{o},{h},{low},{c},{v},{close}999,{rest}"


def zip_of(members: list[tuple[str, bytes]]) -> bytes:
    """A zip of the members, the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        for name, content in members:
            info = zipfile.ZipInfo(name, _ZIP_MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            bundle.writestr(info, content, compresslevel=1)
    return buffer.getvalue()


def checksum_of(file: File, data: bytes) -> bytes:
    """The CHECKSUM file of these bytes."""
    # No newline at the end, as published.
    return f"{hashlib.sha256(data).hexdigest()}  {file.name}.zip".encode()


def etag_of(data: bytes) -> str:
    """The ETag that S3 gives such bytes, quoted."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _bad_zip(data: bytes, file: File, args: dict) -> bytes:
    mode = args.get("mode", "truncated")
    if mode == "truncated":
        return data[: len(data) // 2]
    if mode == "not_zip":
        return b"<html><body>Service Unavailable</body></html>"
    # "crc": the member's bytes do not agree with its check value; the directory is whole.
    start = data.index(b".csv") + 4
    middle = start + (data.rindex(b"PK\x01\x02") - start) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def _wrong_member(data: bytes, file: File, args: dict) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        content = bundle.read(bundle.infolist()[0])
    name = args.get("name", "OTHERUSDT-1h-2020-01.csv")
    if args.get("extra"):
        return zip_of([(f"{file.name}.csv", content), (name, content)])
    return zip_of([(name, content)])


SPOIL = {"bad_zip": _bad_zip, "wrong_member": _wrong_member}
"""How each kind of fault spoils the bytes of a zip: (bytes, file, args) to bytes."""


def bad_checksum(checksum: bytes, args: dict) -> bytes:
    """A checksum spoilt by `args["mode"]`: digest, name or empty."""
    mode = args.get("mode", "digest")
    digest, _, name = checksum.partition(b"  ")
    if mode == "name":
        return digest + b"  OTHERUSDT-1h-2020-01.zip"
    if mode == "empty":
        return b""
    return hashlib.sha256(digest).hexdigest().encode() + b"  " + name
