"""`python -m candlevault.storage migrate`: bring the market database up to date."""

from __future__ import annotations

import argparse

from candlevault.storage.database import connector, connector_from_environment
from candlevault.storage.migrations import migrate
from candlevault.storage.settings import adopt_exchange


def main() -> None:
    """Apply migrations and record what this home is for."""
    parser = argparse.ArgumentParser(prog="python -m candlevault.storage")
    parser.add_argument("command", choices=["migrate"])
    parser.add_argument("--url", help="libpq URL; default CANDLEVAULT_DB_URL")
    arguments = parser.parse_args()
    connect = connector(arguments.url) if arguments.url else connector_from_environment()
    applied = migrate(connect)
    adopt_exchange(connect)
    print(
        f"market database: {len(applied)} migrations applied now"
        if applied
        else "market database: up to date"
    )


if __name__ == "__main__":
    main()
