"""A process that runs code of the user's: what it may use, what it answers, how it ended.

Time, memory, output and the size of answers are limited. After `close` nothing is left of it:
no process, no file, no descriptor.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from candlevault import config, paths
from candlevault.backtest.user_strategies import messages, warden
from candlevault.backtest.user_strategies.messages import Inbox, Unreadable

_SLACK_S = 15.0
"""Seconds beyond all limits of the warden until it is taken to be stuck itself."""

_MOST_REPORT = 1024 * 1024

_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NUMBA_CACHE_DIR")
"""What of the environment such a process gets to see: no setting, URL or secret."""

_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")

_FRAME = re.compile(r'^  File "(.*)", line (\d+) in ', re.M)
_THREAD = re.compile(r"^(?:Current thread|Thread) 0x", re.M)
_DUMP = re.compile(r"^(?:Timeout \(|Fatal Python error)", re.M)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may use: seconds for each call, MiB of memory."""

    timeout_s: int
    memory_mb: int


def limits() -> Limits:
    """The limits that the settings name; raises ConfigurationError for one that is none."""
    return Limits(
        config.number_setting("CANDLEVAULT_STRATEGY_TIMEOUT_S", 1, 86_400),
        config.number_setting("CANDLEVAULT_STRATEGY_MEMORY_MB", 512, 1_048_576),
    )


class Ended(Exception):
    """The process ended before it answered: why, and in which line of the user's file."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


class Process:
    """A process for `calls` calls of code in `file`, each answer of at most `most` raw bytes."""

    def __init__(self, file: str, limits: Limits, *, calls: int, most: int) -> None:
        """Start it; raises Ended where that is not possible."""
        self._file = file
        self._limits = limits
        self._inbox = Inbox(most)
        self._report: dict | None = None
        with contextlib.ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="candlevault-strategy-"))
            stack.callback(warden.remove, folder)
            request, writer = os.pipe()
            self._request = stack.enter_context(os.fdopen(writer, "wb", buffering=0))
            reader, answers = os.pipe()
            self._answers = stack.enter_context(os.fdopen(reader, "rb", buffering=0))
            os.set_blocking(reader, False)
            self._control, control = socket.socketpair()
            stack.enter_context(self._control)
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            plan = warden.Plan(
                answers=answers,
                control=control.fileno(),
                folder=str(folder),
                memory_mb=limits.memory_mb,
                timeout_s=limits.timeout_s,
                cpu_s=_cpu_s(limits, calls),
            )
            command = [sys.executable, "-s", "-P", "-B", "-m", warden.__name__]
            with control, os.fdopen(request, "rb"), os.fdopen(answers, "wb"):
                try:
                    self._warden = subprocess.Popen(
                        [*command, json.dumps(asdict(plan))],
                        stdin=request,
                        stdout=subprocess.DEVNULL,
                        stderr=self._errors,
                        cwd=folder,
                        env=_environment(folder),
                        pass_fds=(answers, plan.control),
                        start_new_session=True,
                    )
                except OSError as error:
                    raise Ended(f"no process could be started: {error.strerror}") from None
            stack.callback(self._end)
            self._held = stack.pop_all()

    def send(self, header: dict, pieces: Sequence[bytes]) -> None:
        """Hand over the one request; that nobody read it shows in `receive`."""
        with contextlib.suppress(BrokenPipeError), self._request:
            messages.send(os.write, self._request.fileno(), header, pieces)

    def receive(self) -> tuple[dict, bytes]:
        """The next answer. Raises Ended, and Unreadable for an answer that is none."""
        # The start and the execution of the file may lie before the first answer.
        patience = warden.START_S + 2 * (self._limits.timeout_s + warden.GRACE_S) + _SLACK_S
        deadline = time.monotonic() + patience
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        while True:
            answer = self._inbox.take()
            if answer is not None:
                return answer
            left = deadline - time.monotonic()
            ready = {descriptor for descriptor, _ in poller.poll(max(0.0, left) * 1000)}
            if not ready:
                raise Ended(f"did not end within {self._limits.timeout_s} s")
            data = self._answers.read(1 << 20)
            if data:
                self._inbox.feed(data)
            elif self._control.fileno() in ready:
                # Whatever was answered before the end has been read by now.
                raise self._ended()
            elif data == b"":
                poller.unregister(self._answers)

    def close(self) -> str:
        """End the process, if it has not ended, and all it started; what it had printed."""
        self._held.close()
        return str((self._report or {}).get("output", "")).strip()

    def _ended(self) -> Ended:
        report = self._hear()
        trace = str(report.get("trace", ""))
        return Ended(self._why(report), _line_in(trace, self._file))

    def _why(self, report: dict) -> str:
        code = report.get("code")
        if report.get("late"):
            if not report.get("in_call"):
                return f"its process did not start within {warden.START_S:.0f} s"
            return f"did not end within {self._limits.timeout_s} s"
        if not isinstance(code, int):
            self._errors.seek(0)
            said = self._errors.read(2000).decode(errors="replace").strip().splitlines()
            return "its process and the one that watched over it were killed" + (
                f": {said[-1]}" if said else ""
            )
        if code == -signal.SIGXCPU:
            return "used more processor time than it was given"
        if code < 0:
            return f"its process was ended by signal {-code} ({_signal_name(-code)})"
        said = str(report.get("output", "")).strip().splitlines()
        words = f"ended its process with code {code} before it had answered"
        return f"{words}: {said[-1]}" if code == warden.BROKEN and said else words

    def _hear(self) -> dict:
        """What the warden says at its end; empty if it cannot any more."""
        if self._report is None:
            said = bytearray()
            self._control.settimeout(_SLACK_S)
            with contextlib.suppress(OSError):
                while (data := self._control.recv(65536)) and len(said) <= _MOST_REPORT:
                    said += data
            try:
                self._report = messages.parsed(bytes(said))
            except Unreadable:
                self._report = {}
        return self._report

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        self._hear()
        # Not reaped yet, so the group is still this one.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._warden.pid, signal.SIGKILL)
        self._warden.wait()


def _environment(folder: Path) -> dict[str, str]:
    """Enough to run Python, the same everywhere: strings hash alike and clocks are in UTC."""
    home = os.environ.get("HOME")
    caches = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else None)
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        # Where compiled indicators are kept if they cannot lie beside the library.
        **({"XDG_CACHE_HOME": caches} if caches else {}),
        **{f"{library}_NUM_THREADS": "1" for library in _THREADS},
        "PYTHONPATH": str(paths.PLUGINS),
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }


def _cpu_s(limits: Limits, calls: int) -> int:
    """A last limit, for the case that nobody is left to look at the clock."""
    each = limits.timeout_s + int(warden.GRACE_S)
    return int(warden.START_S) + (calls + 1) * each * (os.cpu_count() or 1)


def _line_in(trace: str, file: str) -> int | None:
    """The innermost line of `file` in the last dump, the main thread's if it is there at all."""
    dumps = list(_DUMP.finditer(trace))
    last = trace[dumps[-1].start() :] if dumps else trace
    # The main thread stands last, and within a thread the most recent call first.
    for thread in reversed(_THREAD.split(last)):
        for found in _FRAME.finditer(thread):
            if found[1] == file:
                return int(found[2])
    return None


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"
