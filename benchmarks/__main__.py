"""All benchmarks, or those named: `make bench`, `make bench SUBJECTS="backtest"`."""

from __future__ import annotations

import importlib
import sys

SUBJECTS = ("backtest",)


def main(chosen: list[str]) -> None:
    """Run the subjects, in the order named; none named: all."""
    if unknown := [name for name in chosen if name not in SUBJECTS]:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    for name in chosen or SUBJECTS:
        importlib.import_module(f"benchmarks.{name}.__main__").main()


if __name__ == "__main__":
    main(sys.argv[1:])
