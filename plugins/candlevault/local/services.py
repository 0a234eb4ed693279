"""The processes of the local system, in the order in which they are started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import requests

from candlevault.local.exchange import Exchange
from candlevault.local.home import Home
from candlevault.local.processes import port_answers


@dataclass(frozen=True, slots=True)
class Service:
    """One process: how to start it, and how to see that it works.

    `ready(since)` says whether the instance started at `since` (Unix seconds) does its work.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[float], bool]
    port: int | None = None


def services(home: Home, exchange: Exchange) -> list[Service]:
    """The services of `home`; a simulator only where the exchange needs one."""
    health = Health(home.api_url)

    def airflow(*arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "airflow", *arguments)

    found = []
    if exchange.simulator_url is not None:
        ping = f"{exchange.simulator_url}/api/v3/ping"
        found.append(
            Service(
                "simulator",
                simulator_command(home, exchange),
                lambda since: _answers(ping),
                home.simulator_port,
            )
        )
    found += [
        Service(
            "api-server", airflow("api-server"), lambda since: health.serves_tasks(),
            home.api_port,
        ),
        # Loads the heavy libraries while the API server starts, then waits for it.
        Service(
            "scheduler",
            (sys.executable, "-m", "candlevault.local.scheduler"),
            lambda since: health.beats("scheduler", since),
        ),
        Service(
            "dag-processor",
            airflow("dag-processor"),
            lambda since: health.beats("dag_processor", since),
        ),
        # Airflow's own log servers listen on all addresses: they are switched off, and
        # the same application is served on the loopback address.
        Service(
            "triggerer",
            airflow("triggerer", "--skip-serve-logs"),
            lambda since: health.beats("triggerer", since),
        ),
        Service(
            "log-server",
            (
                sys.executable, "-m", "uvicorn", "--factory",
                "airflow.utils.serve_logs.log_server:create_app",
                "--host", "127.0.0.1", "--port", str(home.log_port), "--no-access-log",
            ),
            lambda since: port_answers(home.log_port),
            home.log_port,
        ),
    ]  # fmt: skip
    return found


def simulator_command(home: Home, exchange: Exchange) -> tuple[str, ...]:
    """How the exchange simulator is started."""
    command = [sys.executable, "-m", "candlevault.simulator"]
    command += ["--exchange", exchange.name, "--port", str(home.simulator_port)]
    if exchange.end:
        command += ["--end", exchange.end]
    return tuple(command)


class Health:
    """What Airflow's API server says about Airflow's other processes."""

    def __init__(self, api_url: str) -> None:
        self._url = f"{api_url}/api/v2/monitor/health"
        self._tasks_url = f"{api_url}/execution/health"
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy for the loopback address

    def read(self) -> dict | None:
        """The API server's report; None while it does not answer."""
        try:
            answer = self._session.get(self._url, timeout=5)
            return answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError):
            return None

    def serves_tasks(self) -> bool:
        """Whether the API server answers tasks.

        Its part for tasks is built at the first request, which takes several seconds: asking
        here spares the first task that wait.
        """
        return _answers(self._tasks_url, seconds=60)

    def beats(self, component: str, since: float) -> bool:
        """Whether `component` is healthy by a heartbeat later than `since` (Unix seconds).

        Right after a restart the report still praises the process before it.
        """
        part = (self.read() or {}).get(component) or {}
        return part.get("status") == "healthy" and heartbeat(part) > since


def heartbeat(part: dict) -> float:
    """The time of the latest heartbeat in one part of the report; 0.0 where it has none."""
    for name, value in part.items():
        if name.startswith("latest_") and value:
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return 0.0


def _answers(url: str, seconds: float = 5) -> bool:
    session = requests.Session()
    session.trust_env = False
    try:
        return session.get(url, timeout=seconds).status_code == 200
    except requests.RequestException:
        return False
