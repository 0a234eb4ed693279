"""What a running task hands to the library: database, venue, log, run id, error policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from candlevault.errors import CandlevaultError
from candlevault.ingest.load import Market
from candlevault.providers.registry import venue_of
from candlevault.storage.database import Connect, prepare

CONNECTION_ID = "candlevault_db"
"""The Airflow Connection of the market database."""

_log = logging.getLogger("candlevault")


def connect_by_hook() -> Connect:
    """A Connect that goes through the Postgres provider's hook."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    hook = PostgresHook(postgres_conn_id=CONNECTION_ID)

    def connect():
        # The hook wraps the driver's connection to look alike for both drivers.
        wrapped = hook.get_conn()
        return prepare(getattr(wrapped, "conn", None) or wrapped)

    return connect


def market(venue: str, market_name: str) -> Market:
    """What a load needs inside a task; progress goes to the task's log."""
    return Market(
        connect=connect_by_hook(),
        venue=venue_of(venue, market_name, key_of),
        say=say,
        run_id=current_run_id(),
    )


def say(text: str) -> None:
    """Tell the task's log."""
    _log.info("%s", text)


def key_of(connection_id: str) -> str | None:
    """The password of an Airflow Connection: a provider's key. None where there is none."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(connection_id).password or None
    except AirflowNotFoundException:
        return None


def has_key(connection_id: str) -> bool:
    """Whether a provider's key is there."""
    return key_of(connection_id) is not None


def current_run_id() -> str:
    """The id of the DAG run this task belongs to."""
    return get_current_context()["run_id"]


@contextmanager
def task_errors() -> Iterator[None]:
    """Turn errors that a retry cannot mend into a failure without retry."""
    try:
        yield
    except CandlevaultError as error:
        if error.transient:
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def run_state_of(dag_id: str) -> Callable[[str], str | None]:
    """A function from run id to Airflow's state of that run, None for an unknown run."""
    task = get_current_context()["ti"]

    def state_of(run_id: str) -> str | None:
        if task.get_dr_count(dag_id=dag_id, run_ids=[run_id]) == 0:
            return None
        state = task.get_dagrun_state(dag_id=dag_id, run_id=run_id)
        return str(getattr(state, "value", state))

    return state_of
