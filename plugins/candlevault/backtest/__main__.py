"""`python -m candlevault.backtest`: tear sheets, verification, strategies, the payload's schema."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import psycopg

from candlevault.errors import CandlevaultError
from candlevault.storage import backtests
from candlevault.storage.database import connector_from_environment

FAILED = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 if it worked, 1 if a result came out different, 2 with one line of why."""
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except CandlevaultError as error:
        return _fail(str(error))
    except psycopg.Error as error:
        return _fail(f"the market database: {(str(error) or type(error).__name__).splitlines()[0]}")
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or ''}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m candlevault.backtest",
        description="Stored backtests and what they are made of. The database is that of"
        " CANDLEVAULT_DB_URL.",
    )
    commands = parser.add_subparsers(required=True)
    sheet = commands.add_parser("tear-sheet", help="write one backtest as a page of its own")
    sheet.add_argument("backtest_id", type=int)
    sheet.add_argument("--out", type=Path, help="the file; standard output if left out")
    sheet.set_defaults(run=_tear_sheet)
    verify = commands.add_parser("verify", help="run one backtest again and compare every byte")
    verify.add_argument("backtest_id", type=int)
    verify.set_defaults(run=_verify)
    strategies = commands.add_parser("strategies", help="list what is installed and what is broken")
    strategies.set_defaults(run=_strategies)
    schema = commands.add_parser("schema", help="print the JSON schema of a payload")
    schema.set_defaults(run=_schema)
    return parser


def _tear_sheet(chosen: argparse.Namespace) -> int:
    from candlevault.backtest import tear_sheet
    from candlevault.backtest.trust import verification

    connect = connector_from_environment()
    stored = backtests.stored_result(connect, chosen.backtest_id)
    held = verification.buy_and_hold(connect, stored)
    page = tear_sheet.render(tear_sheet.of_stored(stored, buy_and_hold=held))
    if chosen.out is None:
        print(page)
    else:
        chosen.out.write_text(page, encoding="utf-8")
        print(f"backtest {chosen.backtest_id}: {chosen.out} ({len(page.encode()):,} bytes)")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    from candlevault.backtest.trust import verification

    verdict = verification.verify(connector_from_environment(), chosen.backtest_id)
    print(f"backtest {chosen.backtest_id}: {verdict.verdict}")
    for difference in verdict.differences:
        print(f"  {difference}")
    for name, (stored, now) in verdict.versions.items():
        print(f"  {name}: stored {stored}, now {now}")
    return int(verdict.verdict == verification.DIFFERENT)


def _strategies(_: argparse.Namespace) -> int:
    from candlevault.backtest.strategies import registry

    for name, strategy in registry.known().items():
        print(f"{name} {strategy.version}: {strategy.description}")
        for parameter in strategy.parameters:
            span = "" if parameter.minimum is None else f", {parameter.minimum}-{parameter.maximum}"
            print(f"  {parameter.name} = {parameter.default}{span}: {parameter.description}")
    broken = registry.broken()
    for name, reason in broken.items():
        print(f"BROKEN {name}: {reason}", file=sys.stderr)
    return 0


def _schema(_: argparse.Namespace) -> int:
    from candlevault.backtest import payload

    print(json.dumps(payload.document(), indent=2))
    return 0


def _fail(words: str) -> int:
    print(f"candlevault: {words}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
