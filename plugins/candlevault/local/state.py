"""The supervisor's state file: what it does, with which processes, since when."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import dataclass, field

from candlevault.local.files import read_json, write_atomically
from candlevault.local.home import Home
from candlevault.local.processes import Identity


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One process of the system; `identity` is None while it is not running."""

    name: str
    identity: Identity | None
    restarts: int
    port: int | None


@dataclass(frozen=True, slots=True)
class SystemState:
    """What the state file says.

    `phase` is starting, running, stopping, stopped or failed; `error` is the one line that
    goes with failed; `lines` is what the supervisor said, oldest first.
    """

    phase: str
    supervisor: Identity | None = None
    api_port: int = 0
    pg_port: int = 0
    exchange: str = ""
    error: str | None = None
    lines: list[str] = field(default_factory=list)
    services: list[ServiceState] = field(default_factory=list)

    def service(self, name: str) -> ServiceState | None:
        return next((entry for entry in self.services if entry.name == name), None)


class StateFile:
    """The writer's side; every change is on disk when the call returns."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._content: dict = {}

    def begin(self, exchange: str) -> None:
        """Start a new story: phase `starting`, nothing said yet."""
        me = Identity.of(os.getpid())
        self._content = {
            "phase": "starting",
            "supervisor": _write_identity(me),
            "api_port": self._home.api_port,
            "pg_port": self._home.pg_port,
            "exchange": exchange,
            "error": None,
            "lines": [],
            "services": [],
        }
        self._save()

    def say(self, line: str) -> None:
        lines = [*self._content.get("lines", []), line]
        self._content["lines"] = lines[-200:]
        self._save()

    def set_phase(self, phase: str) -> None:
        self._content["phase"] = phase
        self._save()

    def set_services(self, services: list[ServiceState]) -> None:
        self._content["services"] = [
            {
                "name": entry.name,
                "identity": _write_identity(entry.identity),
                "restarts": entry.restarts,
                "port": entry.port,
            }
            for entry in services
        ]
        self._save()

    def finish(self, failure: str | None) -> None:
        """End the story: phase `stopped`, or `failed` with its one line."""
        self._content |= {"phase": "failed" if failure else "stopped", "error": failure}
        self._content["services"] = []
        self._save()

    def _save(self) -> None:
        text = json.dumps(self._content, indent=1) + "\n"
        # A full disk must not take the running system down; the next change is written again.
        with self._lock, contextlib.suppress(OSError):
            write_atomically(self._home.state_file, text)


def read_state(home: Home) -> SystemState:
    """What the state file of `home` says; phase `stopped` where there is none."""
    content = read_json(home.state_file)
    if content is None:
        return SystemState(phase="stopped")
    return SystemState(
        phase=content.get("phase", "stopped"),
        supervisor=_read_identity(content.get("supervisor")),
        api_port=content.get("api_port", 0),
        pg_port=content.get("pg_port", 0),
        exchange=content.get("exchange", ""),
        error=content.get("error"),
        lines=content.get("lines", []),
        services=[
            ServiceState(
                entry["name"], _read_identity(entry["identity"]), entry["restarts"], entry["port"]
            )
            for entry in content.get("services", [])
        ],
    )


def _write_identity(identity: Identity | None) -> list | None:
    return None if identity is None else [identity.pid, identity.started]


def _read_identity(value: list | None) -> Identity | None:
    return None if value is None else Identity(int(value[0]), float(value[1]))
