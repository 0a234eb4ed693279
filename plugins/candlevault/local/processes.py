"""Finding, naming and ending processes, by start time and by a mark in their environment."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

HOME_MARK = "CANDLEVAULT_PROCESS_OF"
"""Set to the home's path for every process of a running system except PostgreSQL, which is
found through its data directory. The env file does not hold it, so that a shell which
sourced that file is never mistaken for a process of the system."""

SERVICE_MARK = "CANDLEVAULT_SERVICE"
"""The service that a marked process belongs to."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be confused with a later one of the same number."""

    pid: int
    started: float

    @staticmethod
    def of(pid: int) -> Identity | None:
        """The identity of the live process `pid`; None where there is none."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Identity(pid, process.create_time())
        except psutil.NoSuchProcess:
            return None

    def alive(self) -> bool:
        now = Identity.of(self.pid)
        return now is not None and abs(now.started - self.started) < 1.0

    def signal(self, number: int) -> None:
        """Send the signal, unless the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def marked(home: Path, service: str | None = None) -> list[psutil.Process]:
    """The live processes of the system at `home` (or of one of its services).

    The caller and its ancestors are never among them.
    """
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if (
                environment.get(HOME_MARK) == str(home)
                and service in (None, environment.get(SERVICE_MARK))
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], patience: float) -> None:
    """Ask the processes to end, and after `patience` seconds make them."""
    remaining = list(processes)
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 3.0)):
        for process in remaining:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        deadline = time.monotonic() + seconds
        while remaining and time.monotonic() < deadline:
            remaining = [process for process in remaining if _lives(process)]
            time.sleep(0.05)
        if not remaining:
            return


def end_marked(home: Path, service: str | None = None, patience: float = 0.0) -> int:
    """End what is left of the system at `home`, or of one service; how many there were.

    Looks again until none is found: a process may fork while the others are being ended.
    """
    count = 0
    for _ in range(5):
        found = marked(home, service)
        if not found:
            break
        count += len(found)
        end(found, patience)
    return count


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans (Linux; elsewhere no effect).

    A task whose scheduler was killed then stays below the supervisor, and does not linger
    as a dead entry where the machine's first process does not collect them.
    """
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def reap_orphans(own: set[int]) -> None:
    """Collect dead adopted children; `own` are those whose end somebody else waits for."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_answers(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1:`port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
