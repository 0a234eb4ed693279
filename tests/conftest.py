"""Fixtures for every folder: PostgreSQL servers and databases, and where the real data lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from candlevault.storage import migrations, settings
from candlevault.storage.database import Connect, connector
from tests.support import airflow_home
from tests.support.postgres import PostgresServer, empty_database, postgres_server

__all__ = ["airflow_home", "empty_database", "postgres_server"]

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def market_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated, empty market database of Binance spot, to make copies of."""

    def prepare(url: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CANDLEVAULT_VENUE", "CANDLEVAULT_MARKET"):
                patch.delenv(name, raising=False)
            migrations.migrate(connector(url))
            settings.adopt_exchange(connector(url))

    return postgres_server.make_template("template_market", prepare)


@pytest.fixture(scope="session", autouse=True)
def cold_tier(tmp_path_factory) -> Iterator[Path]:
    """The cold tier of the tests: a folder of their own, never that of a home."""
    folder = tmp_path_factory.mktemp("cold")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANDLEVAULT_COLD_URL", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def own_strategies(tmp_path_factory) -> Iterator[Path]:
    """An empty folder of strategies: those of whoever runs the tests play no part."""
    folder = tmp_path_factory.mktemp("strategies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANDLEVAULT_STRATEGIES", str(folder))
        yield folder


@pytest.fixture
def market_db(postgres_server: PostgresServer, market_template: str) -> Iterator[str]:
    """The URL of a migrated, empty market database of its own for one test."""
    with postgres_server.database(market_template) as url:
        yield url


@pytest.fixture
def connect(market_db: str) -> Connect:
    """Opens connections to the test's market database."""
    return connector(market_db)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; skips aloud where there is none."""
    given = os.environ.get("CANDLEVAULT_SHARED_DATA")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (path / "klines" / "spot").is_dir():
        pytest.skip(f"real market data not found at {path} (set CANDLEVAULT_SHARED_DATA)")
    return path
