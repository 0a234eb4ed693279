"""`python -m candlevault.backtest`: tear sheets, verification, strategies, the payload's schema."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import psycopg

from candlevault.errors import CandlevaultError
from candlevault.storage.database import connector_from_environment

FAILED = 2
PAYLOADS = ("backtest", "sweep")
"""What `schema` prints; the first is the default."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 if it worked, 1 if a result came out different, 2 if it
    could not be done, with one line of why."""
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
    schema.add_argument("payload", choices=PAYLOADS, nargs="?", default=PAYLOADS[0])
    schema.add_argument(
        "--markdown", action="store_true", help="print docs/payload.md instead: both as tables"
    )
    schema.set_defaults(run=_schema)
    return parser


def _tear_sheet(chosen: argparse.Namespace) -> int:
    from candlevault.backtest import tear_sheet

    page = tear_sheet.render(
        tear_sheet.of_backtest(connector_from_environment(), chosen.backtest_id)
    )
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
    return {verification.DIFFERENT: 1, verification.CANNOT_BE_RUN: FAILED}.get(verdict.verdict, 0)


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


def _schema(chosen: argparse.Namespace) -> int:
    from candlevault.backtest import payload, payload_page
    from candlevault.backtest.search import schema as sweep
    from candlevault.backtest.strategies import registry

    if chosen.markdown:
        print(payload_page.page(), end="")
        return 0
    documents = {"backtest": payload.document, "sweep": sweep.document}
    # Asked for by hand: those of the user's belong to it, read or not.
    strategies = registry.known().values()
    print(json.dumps(documents[chosen.payload](strategies), indent=2))
    return 0


def _fail(words: str) -> int:
    print(f"candlevault: {words}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
