"""A home: the directory that holds all state of one local system, and its ports."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from candlevault import paths
from candlevault.errors import SetupError
from candlevault.local.account import Account, database_account
from candlevault.local.files import write_atomically
from candlevault.local.postgres import explain

SHELTER = Path("/var/lib/candlevault")
"""Where PostgreSQL's files go if its account cannot reach the home."""


@dataclass(frozen=True, slots=True)
class Home:
    """The directory `path`, the ports of its system, all on 127.0.0.1, and its DAGs' folder."""

    path: Path
    api_port: int
    pg_port: int
    dags: Path = paths.DAGS

    # -- ports ------------------------------------------------------------------------------

    @property
    def log_port(self) -> int:
        """Port of the server from which the API server reads the logs of running tasks."""
        return self.api_port + 1

    @property
    def simulator_port(self) -> int:
        return self.api_port + 3

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    # -- files ------------------------------------------------------------------------------

    @property
    def logs(self) -> Path:
        """Logs of the processes; the logs of tasks lie below `tasks` in it."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """What only matters while, or between, runs: locks, the supervisor's state, stamps."""
        return self.path / "run"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.path / "airflow"

    @property
    def env_file(self) -> Path:
        return self.path / "env"

    @property
    def exchange_record(self) -> Path:
        return self.path / "exchange.json"

    @property
    def state_file(self) -> Path:
        """What the supervisor says about its processes."""
        return self.run / "state.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.run / "supervisor.lock"

    # -- life -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the directories with their modes; raises SetupError if that is not possible.

        The home is 0700. A root caller's is 0711: PostgreSQL runs under another account,
        which must be able to pass through; everything in it is closed one by one.
        """
        passable = os.geteuid() == 0
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if passable else 0o700)
            own = [self.path / name for name in ("inbox", "strategies", "cache")]
            for folder in (self.logs, self.run, self.airflow, *own):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise SetupError(explain(error, self.path)) from error

    def postgres_directory(self) -> Path:
        """Where the cluster lies: in the home, or below SHELTER if it is out of reach.

        For root only: the account that PostgreSQL runs under may be unable to reach a home
        below a closed directory such as /root. An existing cluster is always found again.
        """
        inside = self.path / "postgres"
        if (inside / "data").exists():
            return inside
        account = database_account()
        outside = SHELTER / self._identity() / "postgres"
        if not account.switch or (outside / "data").exists():
            return outside if account.switch and (outside / "data").exists() else inside
        if _reaches(account, inside):
            return inside
        try:
            outside.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            (outside.parent / "home").write_text(f"{self.path}\n")
        except OSError as error:
            raise SetupError(explain(error, outside)) from error
        return outside

    def _identity(self) -> str:
        """A short name of this very home; one made anew at the same place has another."""
        path = self.path / "id"
        try:
            known = path.read_text().strip()
        except FileNotFoundError:
            known = ""
        if not known:
            known = hashlib.sha256(f"{self.path} {secrets.token_hex(8)}".encode()).hexdigest()[:12]
            write_atomically(path, known + "\n")
        return known


def from_environment(environment: Mapping[str, str] = os.environ) -> Home:
    """The home that CANDLEVAULT_HOME and the port settings name.

    Raises SetupError for a port that is none, or that two servers would share.
    """
    api_port = _port(environment, "CANDLEVAULT_API_PORT", 8080, room=3)
    pg_port = _port(environment, "CANDLEVAULT_PG_PORT", 54329, room=0)
    named = environment.get("CANDLEVAULT_HOME")
    path = Path(named).expanduser() if named else paths.home()
    if pg_port in range(api_port, api_port + 4):
        raise SetupError(
            f"CANDLEVAULT_PG_PORT={pg_port} lies among the ports that "
            f"CANDLEVAULT_API_PORT={api_port} takes ({api_port} to {api_port + 3})"
        )
    dags = Path(environment.get("CANDLEVAULT_DAGS_FOLDER") or paths.DAGS).expanduser()
    return Home(path.resolve(), api_port, pg_port, dags.resolve())


def _port(environment: Mapping[str, str], name: str, default: int, room: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535 - room):
        raise SetupError(f"{name} must be a port from 1024 to {65535 - room} (given: {text!r})")
    return int(text)


def _reaches(account: Account, directory: Path) -> bool:
    """Whether `account` could keep files in `directory`, found by trying."""
    directory.mkdir(exist_ok=True)
    account.own(directory, 0o700)
    if account.can_write(directory):
        return True
    with contextlib.suppress(OSError):
        directory.rmdir()
    return False
