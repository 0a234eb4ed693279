"""What this market database is for: one venue and market, fixed at first use."""

from __future__ import annotations

from candlevault import config
from candlevault.errors import ConfigurationError
from candlevault.storage.database import Connect


def adopt_exchange(connect: Connect) -> None:
    """Record the home's venue and market; raises ConfigurationError when it has others.

    A database filled from one venue must never be continued from another.
    """
    wanted = {
        "default_venue": config.setting("CANDLEVAULT_VENUE"),
        "default_market": config.setting("CANDLEVAULT_MARKET"),
    }
    with connect() as connection, connection.transaction():
        for name, value in wanted.items():
            connection.execute(
                "INSERT INTO market.settings (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, value),
            )
            found = connection.execute(
                "SELECT value FROM market.settings WHERE name = %s", (name,)
            ).fetchone()
            if found is None or found[0] != value:
                raise ConfigurationError(
                    f"this database keeps {name} {found and found[0]!r}, not {value!r}: "
                    "use another home or database"
                )
