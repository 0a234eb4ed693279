"""Starts the process that runs code of the user's, watches it, and leaves nothing of it behind.

Run as a program of its own, by `process`, with a JSON object as its argument. Little but the
standard library is imported here, and no code of the user's runs here: what the watched
process does to itself cannot keep this one from ending it.

The runner is ended when a call takes too long, when whoever asked is gone (end of file on the
control socket), and when it is done. Then every process that descends from it is ended too,
the folder it worked in is removed, and one JSON line on the control socket says how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from candlevault.backtest.user_strategies import messages

START_S = 60.0
"""Seconds until the runner must have read its request."""

GRACE_S = 2.0
"""Seconds between the moment when a call is too long and its end: the runner tells the line."""

BROKEN = 70
"""The code with which the runner ends when it cannot go on for a reason of its own."""

_AFTER_TRACE_S = 0.2
_KEPT_OUTPUT = 4000
_KEPT_TRACE = 65536
_HIGH = 100
"""Descriptors from here on are not hit by code that closes those it believes to be its own."""

_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Plan:
    """What the warden is told: its descriptors, the runner's folder and its limits."""

    answers: int
    control: int
    folder: str
    memory_mb: int
    timeout_s: float
    cpu_s: int


@dataclass(slots=True)
class _Watched:
    """What is known of the runner. `code` is that of os.waitstatus_to_exitcode."""

    pid: int
    deadline: float
    in_call: bool = False
    code: int | None = None
    late: bool = False
    output: bytes = b""
    trace: bytes = b""


def main() -> None:
    """Start the runner, watch it, clean up and report."""
    plan = Plan(**json.loads(sys.argv[1]))
    for descriptor in (plan.answers, plan.control):
        os.set_inheritable(descriptor, False)
    _prctl(_SET_SUBREAPER, 1)
    # Whoever asked may have blocked signals, and that is inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    output, trace, beat = os.pipe(), os.pipe(), os.pipe()
    wake = os.pipe()
    for end in wake:
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake[1])
    signal.signal(signal.SIGCHLD, lambda *_: None)
    warden = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_runner(
            plan, warden, answers=plan.answers, output=output[1], trace=trace[1], beat=beat[1]
        )
    for descriptor in (0, plan.answers, output[1], trace[1], beat[1]):
        os.close(descriptor)
    runner = _Watched(pid, time.monotonic() + START_S)
    _watch(plan, runner, wake[0], output[0], trace[0], beat[0])
    _end_all(runner)
    _drain(runner, output[0], trace[0])
    remove(Path(plan.folder))
    report = {
        "code": runner.code,
        "late": runner.late,
        "in_call": runner.in_call,
        "output": runner.output.decode(errors="replace"),
        "trace": runner.trace.decode(errors="replace"),
    }
    with contextlib.suppress(OSError), socket.socket(fileno=plan.control) as control:
        control.sendall(json.dumps(report).encode())


def remove(folder: Path) -> None:
    """Remove a folder with all it holds, even where its modes forbid it."""

    def open_up(function, path, _error):
        with contextlib.suppress(OSError):
            # Never a folder above: that one belongs to others.
            for one in (Path(path).parent, Path(path)):
                if one.is_relative_to(folder) and not one.is_symlink():
                    one.chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=open_up)
    # A folder that could not be read was opened only now.
    shutil.rmtree(folder, ignore_errors=True)


def _become_runner(
    plan: Plan, warden: int, *, answers: int, output: int, trace: int, beat: int
) -> None:
    """Confine this process, run the request in it, and never return."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)
        os.close(plan.control)
        request, answers, trace, beat = (
            fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
            for descriptor in (0, answers, trace, beat)
        )
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, _HIGH)
        os.umask(0o077)
        # Imported here: the warden itself stays small.
        from candlevault.backtest.user_strategies import runner

        runner.run(request, answers, trace, beat, confine=lambda: _limit(plan))
        os._exit(0)
    except BaseException as error:
        with contextlib.suppress(BaseException):
            os.write(2, f"runner: {type(error).__name__}: {error}\n".encode())
        os._exit(BROKEN)


def _limit(plan: Plan) -> None:
    """Limits that cannot be raised again, and the first place when the machine lacks memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = plan.memory_mb * 1024 * 1024
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, plan.cpu_s),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, memory),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        # Some systems refuse some of them, and do without.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def _watch(plan: Plan, runner: _Watched, wake: int, output: int, trace: int, beat: int) -> None:
    """Return when the runner is to be ended or has ended."""
    poller = select.poll()
    for descriptor in (plan.control, wake, output, trace, beat):
        poller.register(descriptor, select.POLLIN)
    while True:
        left = runner.deadline - time.monotonic()
        if left <= 0:
            runner.late = True
            return
        for descriptor, _ in poller.poll(min(left, 3600.0) * 1000):
            if descriptor == plan.control:
                return
            if descriptor == wake:
                if _reaped(runner):
                    return
                continue
            data = os.read(descriptor, 65536)
            if not data:
                poller.unregister(descriptor)
            elif descriptor == beat:
                runner.in_call = data[-1:] == messages.BEGUN
                limit = plan.timeout_s + GRACE_S if runner.in_call else float("inf")
                runner.deadline = time.monotonic() + limit
            else:
                _keep(runner, data, is_trace=descriptor == trace)
                if descriptor == trace and runner.in_call and b"Timeout (" in runner.trace:
                    soon = time.monotonic() + _AFTER_TRACE_S
                    runner.deadline = min(runner.deadline, soon)


def _keep(runner: _Watched, data: bytes, *, is_trace: bool) -> None:
    """The beginning of what was printed, the end of what the runner said of its lines."""
    if is_trace:
        runner.trace = (runner.trace + data)[-_KEPT_TRACE:]
    else:
        runner.output += data[: _KEPT_OUTPUT - len(runner.output)]


def _drain(runner: _Watched, output: int, trace: int) -> None:
    for descriptor in (output, trace):
        os.set_blocking(descriptor, False)
        # What a pipe holds at most; a writer that could not be ended must not keep this busy.
        for _ in range(32):
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            _keep(runner, data, is_trace=descriptor == trace)


def _reaped(runner: _Watched) -> bool:
    """Whether the runner ended; takes every ended process off the table."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return runner.code is not None
        if pid == 0:
            return runner.code is not None
        if pid == runner.pid:
            runner.code = os.waitstatus_to_exitcode(status)


def _end_all(runner: _Watched) -> None:
    """Kill whatever descends from this process, orphans included, until nothing is left."""
    for _ in range(500):
        alive = _descendants()
        if runner.code is None and runner.pid not in alive:
            alive.append(runner.pid)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reaped(runner)
        if not alive:
            return
        time.sleep(0.01)


def _descendants() -> list[int]:
    """Processes below this one, those that ended but are not yet reaped left out.

    Empty where there is no /proc; there the group is killed by who started this process.
    """
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in brackets may hold anything, brackets too.
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                parents[int(entry.name)] = int(parent)
    found, generation = [], {os.getpid()}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found += sorted(generation)
    return found


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the process group has to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
