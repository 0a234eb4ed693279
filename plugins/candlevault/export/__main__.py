"""`python -m candlevault.export`: stored candles as a table, or as files for other tools."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

import psycopg

from candlevault.errors import CandlevaultError
from candlevault.export import checking, combined, listing, reading, writing
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.registry import FORMATS, get

if TYPE_CHECKING:
    import pandas as pd

FAILED = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 if it worked, 1 if a check found something, 2 with one line of why."""
    chosen = _parser().parse_args(arguments)
    try:
        return _COMMANDS[chosen.command](chosen)
    except CandlevaultError as error:
        return _fail(str(error))
    except psycopg.Error as error:
        return _fail(f"the market database: {(str(error) or type(error).__name__).splitlines()[0]}")
    except BrokenPipeError:
        # Whoever reads has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or ''}")
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m candlevault.export",
        description="Stored candles as a table, or as files for other tools. The database is"
        " that of CANDLEVAULT_DB_URL. Times are ISO, UTC unless they have an offset.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    candles = commands.add_parser("candles", help="print candles, absences and fingerprint")
    _add_request(candles)
    _add_rows(candles)
    together = commands.add_parser("composite", help="print several series as one, by priority")
    together.add_argument("timeframe")
    together.add_argument("sources", nargs="+", metavar="VENUE/MARKET/SYMBOL")
    _add_window(together)
    _add_rows(together)
    lineage = commands.add_parser("lineage", help="print a coin through its renames")
    _add_request(lineage)
    lineage.add_argument("--adjusted", action="store_true", help="in units of the coin asked for")
    _add_rows(lineage)
    write = commands.add_parser("write", help="write candles as files of a format")
    _add_request(write)
    write.add_argument("--format", required=True, help=", ".join(FORMATS))
    write.add_argument("--out", required=True, metavar="DIR", help="folder, made where missing")
    write.add_argument("--allow-lost", action="store_true", help="even if candles are lost")
    write.add_argument("--overwrite", action="store_true", help="replace what is there")
    for option in (option for form in FORMATS.values() for option in form.options):
        flag = f"--{option.name.replace('_', '-')}"
        if option.is_switch:
            write.add_argument(flag, action="store_true", default=None, help=option.help)
        else:
            write.add_argument(flag, type=int, metavar="N", help=option.help)
    commands.add_parser("formats", help="list the formats")
    check = commands.add_parser("check", help="check an export by its sidecar")
    check.add_argument("sidecar", metavar="FILE.candlevault.json")
    check.add_argument("--store", action="store_true", help="also against the database")
    return parser


def _add_request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol")
    parser.add_argument("timeframe")
    _add_window(parser)
    parser.add_argument("--venue", help="default: the database's own")
    parser.add_argument("--market", help="default: the database's own")


def _add_window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", required=True, metavar="TIME", help="inclusive")
    parser.add_argument("--end", required=True, metavar="TIME", help="exclusive")
    parser.add_argument("--as-of", metavar="TIME", help="a past state of the store (now)")


def _add_rows(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=_count, default=40, help="rows at most, 0 = all (40)")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _read(chosen: argparse.Namespace) -> CandleSet:
    return reading.read(
        chosen.symbol,
        chosen.timeframe,
        chosen.start,
        chosen.end,
        as_of=chosen.as_of,
        venue=chosen.venue,
        market=chosen.market,
        say=_say,
    )


def _candles(chosen: argparse.Namespace) -> int:
    for line in listing.lines(_read(chosen), chosen.rows or None):
        print(line)
    sys.stdout.flush()
    return 0


def _composite(chosen: argparse.Namespace) -> int:
    frame = combined.composite(
        chosen.sources, chosen.timeframe, chosen.start, chosen.end, as_of=chosen.as_of
    )
    return _print(frame, chosen.rows)


def _lineage(chosen: argparse.Namespace) -> int:
    frame = combined.lineage(
        chosen.symbol,
        chosen.timeframe,
        chosen.start,
        chosen.end,
        venue=chosen.venue,
        market=chosen.market,
        adjusted=chosen.adjusted,
        as_of=chosen.as_of,
    )
    return _print(frame, chosen.rows)


def _print(frame: pd.DataFrame, rows: int) -> int:
    """A labelled reading: its rows, then what was read of every series."""
    shown = frame.drop(columns=["close_time", "taker_buy_base_volume", "taker_buy_quote_volume"])
    shown.index = shown.index.strftime("%Y-%m-%dT%H:%M:%SZ")
    print(
        shown.to_string(max_rows=rows or None, min_rows=rows or None, float_format="{:.12g}".format)
    )
    print()
    for source in frame.attrs["sources"]:
        _print_source(source)
    print(f"candles      {len(frame):,}")
    sys.stdout.flush()
    return 0


def _print_source(facts: dict[str, Any]) -> None:
    series, window = facts["series"], facts["window"]
    name = "/".join(series[key] for key in ("venue", "market", "symbol", "timeframe"))
    life = f" (lifetime {series['lifetime']})" if series["lifetime"] > 1 else ""
    print(f"{name}{life}: {facts['rows']:,} candles in [{window['start']}, {window['end']})")
    for title, holes in (("known absent", facts["known_absences"]), ("LOST", facts["lost"])):
        if holes:
            first = f"[{holes[0]['start']}, {holes[0]['end']})"
            print(f"  {title:<12} {len(holes):,} windows, the first {first}")
    print(f"  as of        {facts['as_of']} (revision {facts['revision']})")
    print(f"  fingerprint  {facts['fingerprint']}")


def _write(chosen: argparse.Namespace) -> int:
    get(chosen.format)
    names = {option.name for form in FORMATS.values() for option in form.options}
    options = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    found = _read(chosen)
    _say(f"writing {len(found):,} candles of {found.series} as {chosen.format}")
    done = writing.write(
        found,
        chosen.format,
        chosen.out,
        allow_lost=chosen.allow_lost,
        overwrite=chosen.overwrite,
        options=options,
    )
    if done.unchanged:
        print(f"unchanged: {done.sidecar} has the same {done.rows:,} candles")
        return 0
    for path in (*done.files[:3], *(["…"] if len(done.files) > 3 else []), done.sidecar):
        print(path)
    missing = f"{len(found.absences)} windows known absent, {len(found.lost)} lost"
    print(f"{done.rows:,} candles in {len(done.files)} files, {missing}")
    print(f"as of {found.facts()['as_of']}, fingerprint {found.fingerprint}")
    return 0


def _formats(_: argparse.Namespace) -> int:
    for form in FORMATS.values():
        print(f"{form.name:<10} {form.help}")
        print(
            f"{'':<10} timeframes {', '.join(form.timeframes)}; markets {', '.join(form.markets)}"
        )
        for option in form.options:
            value = "" if option.is_switch else " N"
            print(f"{'':<10} --{option.name.replace('_', '-')}{value}: {option.help}")
    return 0


def _check(chosen: argparse.Namespace) -> int:
    checked = checking.check(chosen.sidecar)
    wrong = list(checked.problems)
    if chosen.store:
        wrong += checking.check_against_store(checked.sidecar, say=_say)
    print(checked.sidecar.describe())
    for line in wrong:
        print(f"WRONG  {line}")
    if not wrong:
        against = " and the store agrees" if chosen.store else ""
        print(f"all {len(checked.sidecar.files)} files are what the sidecar says{against}")
    return 1 if wrong else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(why: str) -> int:
    _say(f"candlevault: {' '.join(why.split())}")
    return FAILED


_COMMANDS = {
    "candles": _candles,
    "composite": _composite,
    "lineage": _lineage,
    "write": _write,
    "formats": _formats,
    "check": _check,
}

if __name__ == "__main__":
    sys.exit(main())
