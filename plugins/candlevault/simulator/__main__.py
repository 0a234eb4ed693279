"""`python -m candlevault.simulator`: a Binance-compatible exchange on localhost."""

from __future__ import annotations

import argparse
import sys

from candlevault.errors import CandlevaultError
from candlevault.simulator.exchange import build_exchange
from candlevault.simulator.server import serve
from candlevault.simulator.weights import FIRST_BAN_SECONDS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m candlevault.simulator",
        description="A Binance-compatible exchange on localhost: REST, archive, faults.",
    )
    made.add_argument(
        "--exchange",
        required=True,
        metavar="replay:DIR|simulated",
        help="recorded candle files, or a seeded walk",
    )
    made.add_argument("--port", type=int, required=True, help="0 takes a free port")
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--now", metavar="ISO", help="where the venue's clock stands")
    made.add_argument("--end", metavar="ISO", help="without --now the clock stands a minute later")
    made.add_argument("--seed", type=int, default=7, help="of the walk (default 7)")
    made.add_argument(
        "--symbols", nargs="+", metavar="SYMBOL", help="serve these only; commas separate too"
    )
    made.add_argument(
        "--piece",
        action="append",
        default=[],
        metavar="SYMBOL/TF_FIRST_LAST",
        help="serve this shorter replay file as the series of its timeframe; repeatable",
    )
    made.add_argument("--latency-ms", type=int, default=0, help="added to every answer")
    made.add_argument("--weight-limit", type=int, help="per minute (default 6000, futures 2400)")
    made.add_argument(
        "--ban-after", type=int, default=10, help="429 answers a minute before a 418 (default 10)"
    )
    made.add_argument(
        "--ban-seconds",
        type=int,
        default=FIRST_BAN_SECONDS,
        help="length of the first ban, doubled each time (default %(default)s)",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; 0 then, 1 with one line on stderr when it cannot start."""
    given = parser().parse_args(arguments)
    symbols = None
    if given.symbols:
        symbols = tuple(s for text in given.symbols for s in text.split(",") if s)
    try:
        exchange = build_exchange(
            given.exchange,
            now=given.now,
            end=given.end,
            seed=given.seed,
            symbols=symbols,
            pieces=tuple(given.piece),
            latency_ms=given.latency_ms,
            weight_limit=given.weight_limit,
            ban_after=given.ban_after,
            ban_seconds=given.ban_seconds,
        )
        serve(exchange, given.host, given.port)
    except CandlevaultError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
