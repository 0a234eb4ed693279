"""The local system as its users see it: start it, stop it, ask how it is, talk to it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from candlevault.errors import SetupError
from candlevault.local import airflow_settings, credentials, home, unpause
from candlevault.local import exchange as exchanges
from candlevault.local.airflow_api import AirflowApi
from candlevault.local.credentials import Credentials
from candlevault.local.databases import last_line, postgres_of
from candlevault.local.exchange import Exchange
from candlevault.local.files import exclusive_lock
from candlevault.local.home import Home
from candlevault.local.processes import HOME_MARK, Identity, end_marked, port_answers
from candlevault.local.services import Health, heartbeat, services
from candlevault.local.state import SystemState, read_state
from candlevault.local.supervisor import RELOAD_SIGNAL, Supervisor

Progress = Callable[[str], None]
START_SECONDS = 600.0
STOP_SECONDS = 30.0
COMPONENTS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
"""Our service names and what Airflow's health report calls them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `make status`."""

    name: str
    pid: int | None
    state: str
    restarts: int
    port: int | None
    health: str


@dataclass(frozen=True, slots=True)
class Status:
    """The processes of a home; `up` says whether all of them run and are healthy."""

    phase: str
    rows: list[Row]
    error: str | None = None

    @property
    def up(self) -> bool:
        return self.phase == "running" and all(row.health == "ok" for row in self.rows)


class LocalSystem:
    """The system of one home.

    `exchange` is `auto`, `live`, `simulated` or `replay:DIR`, and only decides at a home's
    first start; `end` sets the simulator's clock. What is not given comes from
    `environment`: CANDLEVAULT_HOME, CANDLEVAULT_API_PORT, CANDLEVAULT_PG_PORT, EXCHANGE,
    END, CANDLEVAULT_UNPAUSE, CANDLEVAULT_DAGS_FOLDER (default: the checkout's).
    """

    def __init__(
        self,
        home_path: Path | str | None = None,
        *,
        api_port: int | None = None,
        pg_port: int | None = None,
        exchange: str | None = None,
        end: str | None = None,
        unpause: str | None = None,
        dags: Path | str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        given = {
            "CANDLEVAULT_HOME": home_path,
            "CANDLEVAULT_API_PORT": api_port,
            "CANDLEVAULT_PG_PORT": pg_port,
            "EXCHANGE": exchange,
            "END": end,
            "CANDLEVAULT_UNPAUSE": unpause,
            "CANDLEVAULT_DAGS_FOLDER": dags,
        }
        self._caller = {
            **environment,
            **{name: str(value) for name, value in given.items() if value is not None},
        }
        self.home: Home = home.from_environment(self._caller)
        self._wanted = self._caller.get("EXCHANGE") or "auto"
        self._end = self._caller.get("END") or None
        self._exchange: Exchange | None = None
        self._credentials: Credentials | None = None
        self._api: AirflowApi | None = None
        self._process: subprocess.Popen | None = None

    @classmethod
    def from_environment(cls) -> LocalSystem:
        """The system that the environment describes."""
        return cls()

    # -- what callers talk to ---------------------------------------------------------------

    @property
    def exchange(self) -> Exchange:
        """The home's exchange; raises SetupError before the first start."""
        if self._exchange is None:
            self._exchange = exchanges.recorded(self.home.exchange_record, self.home.simulator_port)
        if self._exchange is None:
            raise SetupError(f"{self.home.path} was never started; run `make up`")
        return self._exchange

    @property
    def credentials(self) -> Credentials:
        """The home's secrets, made where missing."""
        if self._credentials is None:
            self.home.prepare()
            with exclusive_lock(self.home.run / "secrets.lock"):
                self._credentials = credentials.load_or_create(self.home.path)
        return self._credentials

    @property
    def admin_password_file(self) -> Path:
        return credentials.admin_password_file(self.home.path)

    @property
    def db_url(self) -> str:
        """libpq URL of the market database for the role that writes."""
        return self.variables()["CANDLEVAULT_DB_URL"]

    @property
    def api(self) -> AirflowApi:
        """Airflow's REST API, used as `admin`."""
        if self._api is None:
            self._api = AirflowApi(self.home.api_url, "admin", self.credentials.admin_password)
        return self._api

    def variables(self) -> dict[str, str]:
        """What `CANDLEVAULT_HOME/env` holds."""
        own = airflow_settings.environment(self.home, self.credentials, self.exchange)
        handed = {
            name: value
            for name, value in self._caller.items()
            if name.startswith("CANDLEVAULT_") and name not in own
        }
        for mark in (HOME_MARK, "CANDLEVAULT_SERVICE"):
            handed.pop(mark, None)
        return {**handed, **own}

    # -- life -------------------------------------------------------------------------------

    def prepare(self, progress: Progress = print) -> None:
        """Make the home: directories, secrets, exchange and env file. Starts nothing."""
        self.home.prepare()
        self._exchange = exchanges.settle(
            self.home.exchange_record,
            self._wanted,
            self._end,
            self.home.simulator_port,
            progress,
        )
        secrets = self.credentials
        airflow_settings.write_passwords(self.home, secrets)
        airflow_settings.write_env_file(self.home, self.variables())

    def start(self, progress: Progress = print) -> None:
        """Start the system in the background and return when it is healthy.

        Where it already runs this only waits for its health. Raises SetupError with the one
        line that the user needs.
        """
        self.home.prepare()
        with exclusive_lock(self.home.run / "start.lock"):
            before = self.supervisor()
            if before is not None:
                self._require_same_ports()
            self.prepare(progress)
            if before is not None:
                before.signal(RELOAD_SIGNAL)
                self._follow(None, progress, said=len(read_state(self.home).lines))
                return
            self.home.state_file.unlink(missing_ok=True)
            self._process = self._spawn_supervisor()
            self._follow(self._process, progress)

    ensure_up = start

    def run_in_foreground(self, progress: Progress = print) -> int:
        """Start the system and stay with it until SIGINT or SIGTERM; the exit code."""
        if self.supervisor() is not None:
            raise SetupError(f"the system of {self.home.path} already runs; `make down` first")
        self.prepare(progress)
        return Supervisor(
            self.home,
            self.credentials,
            self.exchange,
            airflow_settings.process_environment(self._caller, self.variables()),
            patterns=unpause.parse_patterns(self._caller.get("CANDLEVAULT_UNPAUSE")),
            say=progress,
        ).run()

    def stop(self, progress: Progress = print) -> None:
        """Stop everything, also what a killed supervisor left behind; no-op if nothing runs."""
        if not self.home.run.is_dir():
            progress("nothing to stop: this home was never started")
            return
        supervisor = self.supervisor()
        if supervisor is not None:
            progress("stopping")
            supervisor.signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while supervisor.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            supervisor.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        left = end_marked(self.home.path, patience=3.0)
        postgres = postgres_of(self.home, self.credentials, progress)
        left += postgres.pid is not None
        postgres.stop()
        if supervisor is None:
            progress(f"ended {left} left-over processes" if left else "nothing was running")
        else:
            progress("stopped")

    # -- state ------------------------------------------------------------------------------

    def supervisor(self) -> Identity | None:
        """The process that supervises this home; None where none does."""
        try:
            descriptor = os.open(self.home.supervisor_lock, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            return Identity.of(int(text)) if text.isdigit() else None
        finally:
            os.close(descriptor)

    def status(self) -> Status:
        """Every process with its state, as seen right now."""
        if not self.home.run.is_dir():
            return Status("stopped", [])
        state = read_state(self.home)
        supervisor = self.supervisor()
        phase = state.phase
        if supervisor is None and phase not in ("stopped", "failed"):
            phase = "abandoned (the supervisor was killed; `make down` cleans up)"
        rows = [
            Row(
                "supervisor",
                supervisor.pid if supervisor else None,
                "running" if supervisor else "stopped",
                0,
                None,
                "ok" if supervisor else "-",
            )
        ]
        report = Health(self.home.api_url).read() if supervisor else None
        for name in self._service_names(state):
            rows.append(self._row(name, state, report))
        return Status(phase, rows, state.error)

    def _service_names(self, state: SystemState) -> list[str]:
        if state.services:
            return [service.name for service in state.services]
        known = exchanges.recorded(self.home.exchange_record, self.home.simulator_port)
        if known is None:
            return []
        return ["postgresql", *(service.name for service in services(self.home, known))]

    def _row(self, name: str, state: SystemState, report: dict | None) -> Row:
        service = state.service(name)
        identity = service.identity if service else None
        if service is None or identity is None or not identity.alive():
            restarts = service.restarts if service else 0
            return Row(name, None, "stopped", restarts, service.port if service else None, "-")
        if name in COMPONENTS:
            part = (report or {}).get(COMPONENTS[name]) or {}
            well = part.get("status") == "healthy" and heartbeat(part) > identity.started
        elif name == "api-server":
            well = report is not None
        else:
            well = service.port is None or port_answers(service.port)
        health = "ok" if well else "not answering"
        return Row(name, identity.pid, "running", service.restarts, service.port, health)

    # -- the supervisor in the background -----------------------------------------------------

    def _spawn_supervisor(self) -> subprocess.Popen:
        log = self.home.logs / "supervisor.log"
        environment = airflow_settings.process_environment(self._caller, self.variables())
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "candlevault.local", "supervise"],
                env=environment | {HOME_MARK: str(self.home.path)},
                cwd=self.home.path,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _follow(self, process: subprocess.Popen | None, progress: Progress, said: int = 0) -> None:
        """Repeat what the supervisor says until the system is healthy."""
        log = self.home.logs / "supervisor.log"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            gone = process.poll() is not None if process else self.supervisor() is None
            state = read_state(self.home)
            for line in state.lines[said:]:
                if not line.startswith(("stopping", "stopped", "running")):
                    progress(line)
            said = max(said, len(state.lines))
            if state.phase == "running" and (process is not None or self.status().up):
                return
            if gone:
                raise SetupError(state.error or f"the supervisor ended: {last_line(log)}")
            time.sleep(0.1)
        raise SetupError(f"the system is not healthy after {START_SECONDS:.0f} s (logs: {log})")

    def _require_same_ports(self) -> None:
        state = read_state(self.home)
        if (state.api_port, state.pg_port) not in (
            (0, 0),
            (self.home.api_port, self.home.pg_port),
        ):
            raise SetupError(
                f"this home already runs with CANDLEVAULT_API_PORT={state.api_port} and "
                f"CANDLEVAULT_PG_PORT={state.pg_port}; use these, or `make down` first"
            )
