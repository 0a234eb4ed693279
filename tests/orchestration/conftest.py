"""Tasks without a scheduler: a database, venues, params as a trigger form gives them, a log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from candlevault.errors import InvalidRequest
from candlevault.ingest.load import Market
from candlevault.orchestration import runtime, series_tasks
from candlevault.storage.database import connector
from tests.support.market import no_sleep


class Worker:
    """What a running task sees. `venues` holds the adapters by venue."""

    def __init__(self, url: str) -> None:
        self.connect = connector(url)
        self.run_id = "run-1"
        self.venues: dict[str, object] = {}
        self.said: list[str] = []
        self.dag = SimpleNamespace(params={})
        self.conf: dict[str, object] = {}

    def params(self, dag, **conf: object) -> dict[str, object]:
        """The params of a run of `dag` that was triggered with `conf`."""
        self.dag, self.conf = dag, conf
        return {name: dag.params[name] for name in dag.params if name not in conf} | conf

    def market(self, venue: str, name: str) -> Market:
        if venue not in self.venues:
            raise InvalidRequest("venue", "is none of this test", venue)
        return Market(self.connect, self.venues[venue], self.said.append, self.run_id, no_sleep)

    def told(self, words: str) -> list[str]:
        """The lines of the log that hold `words`."""
        return [line for line in self.said if words in line]

    def rows(self, statement: str) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def worker(market_db: str, monkeypatch) -> Worker:
    """A worker of a home of Binance, without keys."""
    monkeypatch.delenv("CANDLEVAULT_VENUE", raising=False)
    made = Worker(market_db)
    monkeypatch.setattr(runtime, "connect_by_hook", lambda: made.connect)
    monkeypatch.setattr(runtime, "market", made.market)
    monkeypatch.setattr(runtime, "say", made.said.append)
    monkeypatch.setattr(runtime, "has_key", lambda connection_id: False)
    monkeypatch.setattr(runtime, "current_run_id", lambda: made.run_id)
    monkeypatch.setattr(
        series_tasks,
        "get_current_context",
        lambda: {"dag": made.dag, "dag_run": SimpleNamespace(conf=made.conf)},
    )
    return made
