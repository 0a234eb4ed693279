"""The archive surface: zip files, checksums and the S3 listing of data.binance.vision.

Files are packed on demand from the same candles that REST answers, byte for byte the same
each time, and appear by the venue's clock: a day at 06:00 UTC of the next day, a month at
06:00 UTC on the first Monday of the next month. A month or day that the candles at hand do
not cover to its end is never published.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from xml.sax.saxutils import escape

from candlevault.errors import InvalidRequest
from candlevault.simulator import funding
from candlevault.simulator.answer import XML, Reply
from candlevault.simulator.block import Row
from candlevault.simulator.clock import iso
from candlevault.simulator.exchange import Exchange
from candlevault.simulator.faults import ROWS, Fault, absences, distort
from candlevault.simulator.packing import (
    MARKETS,
    SPOIL,
    File,
    Packed,
    bad_checksum,
    checksum_of,
    csv_of,
    etag_of,
    file_of,
    funding_csv_of,
    next_month,
    zip_of,
)
from candlevault.simulator.restate import Restated
from candlevault.simulator.source import CandleSeries, NoCandleData
from candlevault.timeframe import from_ms, to_ms

PREFIX = "/archive/"
LISTING = "/archive-listing"
_KEYS_PER_PAGE = 1000
_EVENTS_AT_MOST = 31 * 24
"""Of funding in a month: one an hour."""
_CHECKSUM = ".CHECKSUM"

Version = tuple[str, int]
"""A file's path without `.zip`, and the number of its latest restatement (0: none)."""
Told = tuple[int, str, bytes, int]
"""What the listing says of a file: size, ETag, checksum, and when it was modified."""


class Archive:
    """Builds and lists the files of an exchange. Safe to use from several threads."""

    def __init__(self, exchange: Exchange, cache_bytes: int = 64 * 2**20) -> None:
        self._exchange = exchange
        self._held: OrderedDict[Version, Packed] = OrderedDict()
        self._bytes = 0
        self._max_bytes = cache_bytes
        self._told: dict[Version, Told] = {}
        self._lock = threading.Lock()

    def get(self, path: str, target: str) -> Reply:
        """The reply to GET `path` (below the prefix); `target` is what fault patterns see."""
        key = path.removeprefix(PREFIX)
        is_checksum = key.endswith(_CHECKSUM)
        zip_key = key.removesuffix(_CHECKSUM)
        kind = "archive.checksum" if is_checksum else "archive.zip"
        if not zip_key.endswith(".zip"):
            return _missing(key, "unexpected")
        file = file_of(zip_key.removesuffix(".zip"))
        if file is None:
            return _missing(key, "archive.unknown")
        if not self._is_published(file):
            return _missing(key, kind)
        if emptying := self._emptying(file):
            if not is_checksum:
                self._exchange.faults.count(emptying)
            return _missing(key, kind)
        packed = self._spoilt(file, target, is_checksum)
        data = packed.checksum if is_checksum else packed.data
        headers = {
            "ETag": packed.etag if not is_checksum else etag_of(data),
            "Last-Modified": format_datetime(from_ms(packed.modified_ms), usegmt=True),
            "Accept-Ranges": "bytes",
        }
        content_type = "text/plain" if is_checksum else "application/zip"
        return Reply(200, data, content_type, headers, kind)

    def list(self, params: dict[str, str]) -> Reply:
        """The S3 listing (version 1) for `prefix`, `delimiter`, `marker` and `max-keys`."""
        prefix, marker = params.get("prefix", ""), params.get("marker", "")
        delimiter = params.get("delimiter", "")
        try:
            page = min(max(int(params.get("max-keys", _KEYS_PER_PAGE)), 0), _KEYS_PER_PAGE)
        except ValueError:
            page = -1
        if delimiter not in ("", "/") or page < 0:
            return _s3_error(400, "InvalidArgument", "Invalid Argument", "archive.listing")
        entries: list[tuple[str, File | None]] = []
        truncated = False
        for entry in self._walk("", prefix, marker, delimiter):
            if len(entries) == page:
                truncated = page > 0
                break
            entries.append(entry)
        head = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<Marker>{escape(marker)}</Marker>"
        )
        parts = [head]
        if truncated and delimiter:
            # Without a delimiter S3 names no next marker: the last key is the one to use.
            parts.append(f"<NextMarker>{escape(entries[-1][0])}</NextMarker>")
        parts.append(f"<MaxKeys>{page}</MaxKeys>")
        if delimiter:
            parts.append("<Delimiter>/</Delimiter>")
        parts.append(f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>")
        parts += [self._contents(key, file) for key, file in entries if file]
        parts += [
            f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"
            for key, file in entries
            if not file
        ]
        parts.append("</ListBucketResult>")
        return Reply(200, "".join(parts).encode(), XML, kind="archive.listing")

    # What is published

    def _is_published(self, file: File) -> bool:
        if file.published_ms > self._exchange.clock.now_ms():
            return False
        if self._kept(file):
            return True
        if file.is_funding:
            return self._has_funding(file)
        # A month or day without any candle has no file.
        try:
            series = self._series(file)
            if not self._is_covered(file, series):
                return False
            return series.has_candle(file.start_ms, file.end_ms - 1)
        except (NoCandleData, InvalidRequest):
            return False

    def _has_funding(self, file: File) -> bool:
        """Whether rates of the month are held, to its end."""
        source = self._exchange.source
        if file.symbol not in source.symbols(file.market):
            return False
        try:
            rates = source.funding(file.market, file.symbol)
        except NoCandleData:
            return False
        if rates.until_ms is not None and rates.until_ms < file.end_ms:
            return False
        return len(rates.between(file.start_ms, file.end_ms - 1, 1)) > 0

    def _is_covered(self, file: File, series: CandleSeries) -> bool:
        """Whether the candles held reach the end of the file's month or day."""
        if series.last_ms is None:
            return True
        last_wanted = series.timeframe.floor(file.end_ms - 1)
        if series.ended_ms is not None:
            last_wanted = min(last_wanted, series.timeframe.floor(series.ended_ms - 1))
        return last_wanted <= series.last_ms

    def _emptying(self, file: File) -> list[Fault]:
        """The faults that together drop every candle of the file: then it does not exist."""
        if file.is_funding:
            return []
        dropping = [fault for fault in self._faults(file) if fault.kind == "drop_rows"]
        absent = absences(dropping)
        if absent is None:
            return []
        try:
            for block in self._series(file).blocks(file.start_ms, file.end_ms - 1, False):
                i, j = block.span(file.start_ms, file.end_ms - 1)
                if not absent(block.open_times[i:j]).all():
                    return []
        except NoCandleData:
            return []
        return dropping

    def _series(self, file: File) -> CandleSeries:
        if file.symbol not in self._exchange.source.symbols(file.market):
            raise NoCandleData(f"no {file.symbol}")
        return self._exchange.series(file.granularity, file.market, file.symbol, file.timeframe)

    def _kept(self, file: File) -> bool:
        """Whether the publisher's own bytes are at hand and still what is published."""
        published = self._exchange.published
        kept = published is not None and file.stem in published.files
        return kept and self._restated(file) is None

    def _restated(self, file: File) -> Restated | None:
        """The latest restatement of a candle of the file."""
        key = (file.market, file.symbol, file.timeframe)
        return self._exchange.restatements.latest(file.granularity, key, file.start_ms, file.end_ms)

    def _version(self, file: File) -> Version:
        latest = self._restated(file)
        return file.stem, latest.number if latest else 0

    def _faults(self, file: File, target: str = "") -> list[Fault]:
        """The row faults that change the file; `target` is its path unless given."""
        found = self._exchange.faults.row_faults(
            "archive",
            file.market,
            file.symbol,
            file.timeframe,
            target or f"{PREFIX}{file.stem}.zip",
        )
        return [fault for fault in found if _touches(fault, file)]

    # Packing

    def _packed(self, file: File, target: str, count: bool = False) -> Packed:
        if faults := self._faults(file, target):
            if count:
                self._exchange.faults.count(faults)
            return self._pack(file, faults)
        version = self._version(file)
        with self._lock:
            packed = self._held.get(version)
            if packed is not None:
                self._held.move_to_end(version)
                return packed
        packed = self._pack(file, [])
        with self._lock:
            if self._version(file) != version:
                # History was restated meanwhile: right for now, but not to be kept.
                return packed
            self._told[version] = _told(packed)
            if version not in self._held:
                self._held[version] = packed
                self._bytes += len(packed.data)
                while self._bytes > self._max_bytes and len(self._held) > 1:
                    _, dropped = self._held.popitem(last=False)
                    self._bytes -= len(dropped.data)
        return packed

    def _pack(self, file: File, faults: list[Fault]) -> Packed:
        latest = self._restated(file)
        changes = [fault.set_at_ms for fault in faults] + ([latest.at_ms] if latest else [])
        modified = max([file.published_ms, *changes])
        published = self._exchange.published
        if self._kept(file) and not faults:
            kept = published.files[file.stem]
            if kept.suffix == ".zip":
                data = kept.read_bytes()
                checksum = published.checksum(file.stem) or checksum_of(file, data)
                return Packed(data, checksum, etag_of(data), modified)
            content = kept.read_bytes()
        else:
            content = self._content(file, faults)
        data = zip_of([(f"{file.name}.csv", content)])
        return Packed(data, checksum_of(file, data), etag_of(data), modified)

    def _content(self, file: File, faults: list[Fault]) -> bytes:
        if not file.is_funding:
            return csv_of(file, self._lines(file, faults))
        rates = self._exchange.source.funding(file.market, file.symbol)
        rows = rates.between(file.start_ms, file.end_ms - 1, _EVENTS_AT_MOST)
        return funding_csv_of(funding.distort(rows, faults)[0])

    def _lines(self, file: File, faults: list[Fault]) -> list[str]:
        """The candles of the file as comma-separated values, in milliseconds."""
        lines: list[str] = []
        absent = absences(faults)
        for block in self._series(file).blocks(file.start_ms, file.end_ms - 1, False):
            i, j = block.span(file.start_ms, file.end_ms - 1)
            if i < j:
                # Far quicker than parsing: no value holds a quote or a bracket.
                text = block.encoded(i, j).decode()[1:-1].replace('"', "")
                found = text.split("],[")
                if absent is not None:
                    gone = absent(block.open_times[i:j])
                    found = [line for line, away in zip(found, gone, strict=True) if not away]
                lines += found
        if not any(fault.kind != "drop_rows" for fault in faults):
            return lines
        rows, _ = distort([_row(line) for line in lines], faults)
        return [",".join(map(str, row)) for row in rows]

    def _spoilt(self, file: File, target: str, is_checksum: bool) -> Packed:
        """The file as the zip faults leave it.

        A spoilt zip agrees with its checksum unless the checksum is what is spoilt, so each
        kind exercises its own check. Faults are matched against the zip's path also when the
        checksum is asked for; only the request for the spoilt thing itself is counted.
        """
        zip_target = target.replace(_CHECKSUM, "") if is_checksum else target
        packed = self._packed(file, zip_target, count=not is_checksum)
        book = self._exchange.faults
        for fault in book.seen(("bad_zip", "wrong_member"), zip_target):
            if not is_checksum and not book.strike_one(fault):
                continue
            data = SPOIL[fault.kind](packed.data, file, fault.args)
            packed = replace(
                packed, data=data, checksum=checksum_of(file, data), etag=etag_of(data)
            )
        for fault in book.seen(("bad_checksum",), zip_target):
            if is_checksum and book.strike_one(fault):
                packed = replace(packed, checksum=bad_checksum(packed.checksum, fault.args))
        return packed

    # Listing

    def _contents(self, key: str, file: File) -> str:
        target = f"{PREFIX}{file.stem}.zip"
        told = None
        if not self._exchange.faults.active(ROWS):
            told = self._told.get(self._version(file))
        size, etag, checksum, modified = told or _told(self._packed(file, target))
        if key.endswith(_CHECKSUM):
            size, etag = len(checksum), etag_of(checksum)
        when = iso(modified - modified % 1000).replace("Z", ".000Z")
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified>"
            f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag><Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _walk(
        self, folder: str, prefix: str, marker: str, delimiter: str
    ) -> Iterator[tuple[str, File | None]]:
        """Keys and, below a delimiter, common prefixes after `marker`, in S3's order."""
        for child in self._children(folder):
            key = folder + child
            if not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if child.endswith("/"):
                if delimiter and "/" in key[len(prefix) :]:
                    if key > marker and self._holds_files(key):
                        yield key, None
                elif key > marker or marker.startswith(key):
                    yield from self._walk(key, prefix, marker, delimiter)
            elif key > marker:
                file = file_of(key.removesuffix(_CHECKSUM).removesuffix(".zip"))
                if file and self._is_published(file) and not self._emptying(file):
                    yield key, file

    def _holds_files(self, folder: str) -> bool:
        return next(self._walk(folder, folder, "", ""), None) is not None

    def _children(self, folder: str) -> list[str]:
        """Names directly below `folder`, folders with a slash, in S3's order."""
        source = self._exchange.source
        parts = folder.rstrip("/").split("/") if folder else []
        if not parts:
            return ["data/"]
        place = 3 if parts[1:2] == ["futures"] else 2
        if len(parts) == 1:
            names = ["futures/", "spot/"]
        elif parts == ["data", "futures"]:
            names = ["um/"]
        elif len(parts) == place:
            names = ["daily/", "monthly/"]
        elif len(parts) == place + 1:
            monthly_um = parts[1:] == ["futures", "um", "monthly"]
            names = [f"{funding.WHAT}/", "klines/"] if monthly_um else ["klines/"]
        elif parts[place + 1] == funding.WHAT:
            names = self._funding_names(parts[place + 2 :])
        else:
            market = MARKETS["/".join(parts[1:place])]
            below = parts[place + 2 :]
            kept = self._kept_below(folder)
            if not below:
                names = [f"{symbol}/" for symbol in source.symbols(market)] + kept
            elif len(below) == 1:
                codes = source.timeframes(market, below[0])
                if parts[place] == "daily":
                    codes = [code for code in codes if code != "1w"]
                names = [f"{code}/" for code in codes] + kept
            else:
                names = self._file_names(folder, market, *below, daily=parts[place] == "daily")
                names += [f"{stem}{end}" for stem in kept for end in (".zip", f".zip{_CHECKSUM}")]
        return sorted(set(names))

    def _funding_names(self, below: list[str]) -> list[str]:
        """Symbols, or the names of a symbol's files from its first event to the clock."""
        source = self._exchange.source
        if not below:
            return [f"{symbol}/" for symbol in source.symbols("um")]
        if below[0] not in source.symbols("um"):
            return []
        try:
            first_ms = source.funding("um", below[0]).first_ms
        except NoCandleData:
            return []
        span = (from_ms(first_ms), self._exchange.clock.now_ms())
        return _names(f"{below[0]}-{funding.WHAT}", *span, daily=False)

    def _kept_below(self, folder: str) -> list[str]:
        if self._exchange.published is None:
            return []
        names = set()
        for stem in self._exchange.published.files:
            if stem.startswith(folder):
                head, slash, _ = stem[len(folder) :].partition("/")
                names.add(head + slash)
        return sorted(names)

    def _file_names(
        self, folder: str, market: str, symbol: str, timeframe: str, *, daily: bool
    ) -> list[str]:
        """Names for every month or day from the first candle to the clock."""
        source = self._exchange.source
        if symbol not in source.symbols(market):
            return []
        try:
            series = source.series(market, symbol, timeframe)
            moment = from_ms(series.first_ms)
        except NoCandleData:
            return []
        last_ms = self._exchange.clock.now_ms()
        if series.last_ms is not None:
            last_ms = min(last_ms, series.last_ms)
        return _names(f"{symbol}-{timeframe}", moment, last_ms, daily=daily)


def _names(stem: str, moment: datetime, last_ms: int, *, daily: bool) -> list[str]:
    """The names of the zips and checksums of every month or day from `moment` to `last_ms`."""
    moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if not daily:
        moment = moment.replace(day=1)
    names = []
    while to_ms(moment) <= last_ms:
        name = f"{stem}-{moment.strftime('%Y-%m-%d' if daily else '%Y-%m')}.zip"
        names += [name, name + _CHECKSUM]
        moment = moment + timedelta(days=1) if daily else next_month(moment)
    return names


def _told(packed: Packed) -> Told:
    return len(packed.data), packed.etag, packed.checksum, packed.modified_ms


def _touches(fault: Fault, file: File) -> bool:
    """Whether a row fault that names candles names one of this file."""
    if fault.dropped_window:
        start, end = fault.dropped_window
        return start < file.end_ms and file.start_ms < end
    named = list(fault.restated) or fault.dropped.tolist()
    return not named or any(file.start_ms <= ms < file.end_ms for ms in named)


def _row(line: str) -> Row:
    fields: Row = line.split(",")
    for whole in (0, 6, 8):
        fields[whole] = int(fields[whole])
    return fields


def _missing(key: str, kind: str) -> Reply:
    return _s3_error(
        404, "NoSuchKey", "The specified key does not exist.", kind, f"<Key>{escape(key)}</Key>"
    )


def _s3_error(status: int, code: str, message: str, kind: str, detail: str = "") -> Reply:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{detail}"
        "<RequestId>SIMULATOR</RequestId><HostId>simulator</HostId></Error>"
    )
    return Reply(status, body.encode(), XML, kind=kind)
