"""Starts the processes of a home, keeps them running and stops them: one small process tree.

Everything it does is written to the home's state file, from which `up`, `status` and
`down` read. PostgreSQL is started first and stopped last.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from candlevault.errors import CandlevaultError, SetupError
from candlevault.local import exchange as exchanges
from candlevault.local.credentials import Credentials
from candlevault.local.databases import Migrations, ensure_databases, last_line, postgres_of
from candlevault.local.exchange import Exchange
from candlevault.local.files import exclusive_lock
from candlevault.local.home import Home
from candlevault.local.postgres import EmbeddedPostgres
from candlevault.local.processes import (
    HOME_MARK,
    SERVICE_MARK,
    Identity,
    adopt_orphans,
    end_marked,
    port_is_free,
    reap_orphans,
)
from candlevault.local.services import Health, Service, services, simulator_command
from candlevault.local.state import ServiceState, StateFile
from candlevault.local.unpause import Unpauser

START_SECONDS = 240.0
LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""After running for so long, a service that dies is restarted as if for the first time."""

STOP_FIRST = ("scheduler", "dag-processor", "triggerer", "log-server")
STOP_FIRST_SECONDS = 7.0
STOP_REST_SECONDS = 3.0
RELOAD_SIGNAL = signal.SIGUSR1
"""Sent to a running supervisor after the home's exchange record has got another END."""

LOG_LIMIT_BYTES = 20_000_000


class _Stopped(Exception):
    """Somebody asked the supervisor to stop while it was starting."""


@dataclass
class _Running:
    """A service, its current process and its history."""

    service: Service
    process: subprocess.Popen | None = None
    started: float = 0.0
    restarts: int = 0
    failures: int = 0
    again_at: float | None = None
    command: tuple[str, ...] = field(default=())


class Supervisor:
    """Runs the system of `home` until it is told to stop.

    `environment` is what every process gets; `patterns` says which DAGs to switch on.
    """

    def __init__(
        self,
        home: Home,
        credentials: Credentials,
        exchange: Exchange,
        environment: Mapping[str, str],
        *,
        patterns: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._home = home
        self._credentials = credentials
        self._exchange = exchange
        self._environment = {**environment, HOME_MARK: str(home.path), "SPT_NOENV": "1"}
        self._patterns = patterns
        self._tell = say
        self._state = StateFile(home)
        self._running = {
            service.name: _Running(service, command=service.command)
            for service in services(home, exchange)
        }
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._postgres: EmbeddedPostgres | None = None
        self._postgres_restarts = 0
        self._unpauser: Unpauser | None = None

    def run(self) -> int:
        """Start, watch, stop. 0 after an ordinary stop, 1 if the system could not be started."""
        busy = f"the system of {self._home.path} already runs"
        self._listen()
        with exclusive_lock(self._home.supervisor_lock, busy=busy):
            self._home.supervisor_lock.write_text(f"{os.getpid()}\n")
            adopt_orphans()
            failure: str | None = None
            try:
                self._bring_up()
                self._watch()
            except _Stopped:
                pass
            except CandlevaultError as error:
                failure = str(error)
                self._say(f"stopping: {failure}")
            finally:
                self._bring_down(failure)
        return 1 if failure else 0

    # -- starting ---------------------------------------------------------------------------

    def _bring_up(self) -> None:
        self._state.begin(self._exchange.name)
        self._publish()
        self._say("starting PostgreSQL")
        self._postgres = postgres_of(self._home, self._credentials, self._say)
        self._postgres.start()
        ensure_databases(self._postgres, self._credentials)
        self._publish()
        # A crash of the supervisor leaves processes that hold the ports.
        end_marked(self._home.path, patience=3.0)
        self._require_free_ports()

        migrations = Migrations(
            self._home, self._postgres, self._environment | {SERVICE_MARK: "migration"}
        )
        migrations.start(self._say)
        try:
            self._launch("simulator")
            self._wait_until("the databases are migrated", migrations.finished, watched=())
        finally:
            migrations.stop()
        if "simulator" in self._running:
            self._wait_until_ready("simulator")
        self._say("starting Airflow's API server and scheduler")
        self._launch("api-server")
        self._launch("scheduler")
        health = Health(self._home.api_url)
        self._wait_until(
            "the API server answers", lambda: health.read() is not None, ("api-server",)
        )
        self._say("starting Airflow's dag-processor and triggerer")
        for name in ("dag-processor", "triggerer", "log-server"):
            self._launch(name)
        for name in ("api-server", "dag-processor", "scheduler", "triggerer", "log-server"):
            self._wait_until_ready(name)
        self._unpauser = Unpauser(self._home, self._credentials.admin_password, self._patterns)
        self._unpauser.start()
        self._wait_until("the DAGs are read", self._unpauser.first_look_done, ())
        self._say("running")
        self._state.set_phase("running")
        self._publish()

    def _require_free_ports(self) -> None:
        for running in self._running.values():
            port = running.service.port
            if port is not None and not port_is_free(port):
                raise SetupError(
                    f"port {port} ({running.service.name}) is taken by another program; set "
                    "CANDLEVAULT_API_PORT to a port from which four in a row are free"
                )

    def _wait_until_ready(self, name: str) -> None:
        running = self._running[name]
        self._wait_until(
            f"{name} is ready", lambda: running.service.ready(running.started), (name,)
        )
        self._publish()

    def _wait_until(
        self, what: str, condition: Callable[[], bool], watched: tuple[str, ...]
    ) -> None:
        """Return when `condition` holds; a process that ends meanwhile is an error."""
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            for name, running in self._running.items():
                if running.process is not None and running.process.poll() is not None:
                    log = self._log(name)
                    raise SetupError(
                        f"{name} ended with code {running.process.returncode} while starting: "
                        f"{last_line(log)} (log: {log})"
                    )
            if time.monotonic() > deadline:
                logs = ", ".join(str(self._log(name)) for name in watched) or self._home.logs
                raise SetupError(f"waited {START_SECONDS:.0f} s until {what} (log: {logs})")
            if self._stop.wait(0.1):
                raise _Stopped

    def _launch(self, name: str) -> None:
        running = self._running.get(name)
        if running is None:
            return
        log = self._log(name)
        if log.is_file() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".old.log"))
        try:
            with log.open("ab") as file:
                running.process = subprocess.Popen(
                    running.command,
                    env=self._environment | {SERVICE_MARK: name},
                    cwd=self._home.airflow,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise SetupError(f"cannot start {name}: {error.strerror or error}") from error
        running.started = time.time()
        running.again_at = None
        self._publish()

    def _log(self, name: str):
        return self._home.logs / f"{name}.log"

    # -- watching ---------------------------------------------------------------------------

    def _watch(self) -> None:
        looked = 0.0
        while not self._stop.wait(0.25):
            for name in self._running:
                self._look_after(name)
            self._look_after_postgres()
            if self._reload.is_set():
                self._reload.clear()
                self._move_the_clock()
            if time.monotonic() - looked > 2.0:
                looked = time.monotonic()
                reap_orphans(self._own_pids())

    def _look_after(self, name: str) -> None:
        """Restart the service if it died: after 1, 2, 4 … 30 seconds."""
        running = self._running[name]
        if running.process is None:
            if running.again_at is not None and time.monotonic() >= running.again_at:
                running.restarts += 1
                self._say(f"restarting {name}")
                self._launch(name)
            return
        code = running.process.poll()
        if code is None:
            return
        if time.time() - running.started > STABLE_SECONDS:
            running.failures = 0
        pause = min(LONGEST_PAUSE_SECONDS, 2.0**running.failures)
        running.failures += 1
        self._say(f"{name} ended with code {code}; restarting it in {pause:.0f} s")
        running.process = None
        running.again_at = time.monotonic() + pause
        # What it leaves behind (workers without a scheduler, holders of its port) would
        # stand in the way; their tasks are retried by Airflow.
        end_marked(self._home.path, name, patience=2.0)
        self._publish()

    def _look_after_postgres(self) -> None:
        if self._postgres is None or self._postgres.pid is not None:
            return
        self._say("PostgreSQL has gone; restarting it")
        self._postgres_restarts += 1
        try:
            self._postgres.start()
        except SetupError as error:
            self._say(f"PostgreSQL does not come back: {error}")
            self._stop.wait(5.0)
        self._publish()

    def _move_the_clock(self) -> None:
        """Restart the simulator if the home's record says another END."""
        record = exchanges.recorded(self._home.exchange_record, self._home.simulator_port)
        running = self._running.get("simulator")
        if record is None or running is None or running.process is None:
            return
        command = simulator_command(self._home, record)
        if command != running.command:
            self._say(f"the simulator's clock moves to END={record.end}")
            running.command = command
            _end_group(running.process, STOP_REST_SECONDS)
            self._launch("simulator")

    def _own_pids(self) -> set[int]:
        own = {entry.process.pid for entry in self._running.values() if entry.process is not None}
        if self._postgres is not None and self._postgres.pid is not None:
            own.add(self._postgres.pid)
        return own

    # -- stopping ---------------------------------------------------------------------------

    def _bring_down(self, failure: str | None) -> None:
        self._say("stopping")
        self._state.set_phase("stopping")
        if self._unpauser is not None:
            self._unpauser.stop()
        rest = tuple(name for name in self._running if name not in STOP_FIRST)
        self._end_services(STOP_FIRST, STOP_FIRST_SECONDS)
        self._end_services(rest, STOP_REST_SECONDS)
        end_marked(self._home.path, patience=0.5)
        if self._postgres is not None:
            with contextlib.suppress(SetupError):
                self._postgres.stop(timeout=4.0)
        reap_orphans(set())
        self._say("stopped")
        self._state.finish(failure)

    def _end_services(self, names: tuple[str, ...], patience: float) -> None:
        processes = [
            running.process
            for name in names
            if (running := self._running.get(name)) is not None and running.process is not None
        ]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for process in processes:
            _end_group(process, max(0.0, deadline - time.monotonic()), ask=False)
        for name in names:
            if name in self._running:
                self._running[name].process = None

    # -- telling ----------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        self._state.say(line)
        self._tell(line)

    def _publish(self) -> None:
        """Write down which process does what."""
        rows = []
        if self._postgres is not None:
            rows.append(
                ServiceState(
                    "postgresql",
                    _identity(self._postgres.pid),
                    self._postgres_restarts,
                    self._home.pg_port,
                )
            )
        for name, running in self._running.items():
            pid = running.process.pid if running.process is not None else None
            rows.append(ServiceState(name, _identity(pid), running.restarts, running.service.port))
        self._state.set_services(rows)

    def _listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(RELOAD_SIGNAL, lambda *_: self._reload.set())


def _identity(pid: int | None) -> Identity | None:
    return None if pid is None else Identity.of(pid)


def _end_group(process: subprocess.Popen, patience: float, ask: bool = True) -> None:
    """Wait for the process to end, then kill whatever is left of its process group."""
    if ask:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
