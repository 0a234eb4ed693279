"""A migrated market database, shared by the tests of a module: each uses symbols of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.market import Store
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer, market_template: str) -> Iterator[str]:
    """The URL of a migrated database."""
    with postgres_server.database(market_template) as url:
        yield url


@pytest.fixture
def store(database: str) -> Store:
    """A new series of hours in the shared database."""
    return Store(database)
