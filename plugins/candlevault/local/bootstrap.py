"""Makes .venv: the environment that everything else of the project runs in.

    python plugins/candlevault/local/bootstrap.py [--dev] [--exact]

Standard library only, and nothing of this project is imported: it runs before anything is
installed. A set-up that was cut short is recognised and done again; one that is current is
left alone. Every failure is one line that names its cause.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.txt", "requirements-dev.txt")
OLDEST = (3, 11)
NEWEST_TRIED = (3, 13)

UNREACHABLE = (
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|ProxyError"
    r"|ConnectionResetError|RemoteDisconnected|Connection refused|Network is unreachable"
    r"|Read timed out|[Nn]ame resolution|Name or service not known|nodename nor servname"
)
CAUSES = (
    (r"No space left on device|Errno 28\b|Disk quota exceeded", "no space left on the disk"),
    (
        UNREACHABLE,
        "the package registry cannot be reached; check the network or pip's configuration",
    ),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", "the package registry's certificate is not trusted"),
    (r"40[137] (Client Error|Unauthorized|Forbidden)", "the package registry denies access"),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES", "a package does not match its hash"),
    (r"Permission denied|Errno 13\b|Read-only file system", "no permission to write"),
)


class Failure(Exception):
    """The set-up cannot go on; the text is the one line for the user."""


def main(arguments: list[str] | None = None) -> int:
    """Set up, or say in one line why that is not possible; the exit code."""
    parser = argparse.ArgumentParser(description="Make the project's environment .venv.")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--exact", action="store_true", help="insist on this very Python version")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    try:
        require_python()
        Setup(chosen.root, dev=chosen.dev, exact=chosen.exact).run()
    except Failure as failure:
        print(f"candlevault: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncandlevault: set-up interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def require_python() -> None:
    """Raise Failure if the running Python is too old; warn if it is newer than tried."""
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise Failure(f"Python {wanted} or newer is needed, this one is {_version()}")
    if sys.version_info[:2] > NEWEST_TRIED:
        print(f"note: Python {_version()} is newer than those the lock file was made for")


class Setup:
    """One set-up of `root`/.venv; with `dev` the test tools too.

    `exact` rebuilds an environment that another Python version made; otherwise one that
    works is kept whatever Python this is.
    """

    def __init__(self, root: Path, *, dev: bool, exact: bool) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.stamp = self.venv / "candlevault-setup.json"
        self.unfinished = self.venv / "candlevault-unfinished"
        self.log = self.venv / "candlevault-setup.log"
        self.exact = exact
        self.locks = [LOCKS[0], LOCKS[1]] if dev or self._has_dev() else [LOCKS[0]]

    def run(self) -> None:
        if self.current():
            return
        try:
            self.venv.mkdir(exist_ok=True)
            with self._exclusively():
                if not self.current():
                    self._set_up()
        except OSError as error:
            raise Failure(self._explain(error)) from error

    def current(self) -> bool:
        """Whether .venv is complete for these lock files; takes a few milliseconds."""
        stamp = self._read_stamp()
        if stamp is None or self.unfinished.exists() or not self._usable():
            return False
        return all(stamp["locks"].get(name) == self._hash(name) for name in self.locks) and stamp[
            "packages"
        ] == len(self._installed())

    # -- doing it ---------------------------------------------------------------------------

    def _set_up(self) -> None:
        started = time.monotonic()
        wanted = self._wanted()
        sane = self._usable() and not self.unfinished.exists()
        self._forget()
        if not sane:
            self._make_environment()
        print(f"installing {wanted} packages into {self.venv} (log: {self.log})", flush=True)
        self._pip(wanted)
        self._write_stamp()
        self.unfinished.unlink()
        print(f"set up in {time.monotonic() - started:.0f} s", flush=True)

    def _forget(self) -> None:
        """From here on until the end, .venv counts as unfinished."""
        self.unfinished.write_text("the set-up of this environment has not finished\n")
        self.stamp.unlink(missing_ok=True)

    def _make_environment(self) -> None:
        if not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
            name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            raise Failure(
                f"this Python ({sys.executable}) cannot make environments; install the package "
                f"{name} (Debian, Ubuntu) or name another Python: make PYTHON=…"
            )
        print(f"making an environment with Python {_version()}", flush=True)
        for path in self.venv.iterdir():
            if path.name not in (".lock", self.unfinished.name):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        made = subprocess.run(
            [sys.executable, "-I", "-m", "venv", str(self.venv)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        output = made.stdout + made.stderr
        self.log.write_text(output)
        if made.returncode != 0:
            raise Failure(self._diagnosis(output, "the environment could not be made"))

    def _pip(self, wanted: int) -> None:
        command = [str(self.python), "-I", "-m", "pip", "install", "--no-input"]
        command += ["--progress-bar", "off", "--disable-pip-version-check"]
        for name in self.locks:
            command += ["-r", name]
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "PIP_USER": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
        reader.start()
        progress = Progress(wanted, lambda: len(self._installed()))
        output: list[str] = []
        try:
            with self.log.open("a") as log:
                while True:
                    try:
                        line = lines.get(timeout=0.5)
                    except queue.Empty:
                        progress.tick()
                        continue
                    if line is None:
                        break
                    log.write(line)
                    output.append(line)
                    progress.hear(line)
                    progress.tick()
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            progress.close()
        if code != 0:
            raise Failure(self._diagnosis("".join(output), "pip failed"))

    # -- what is there ----------------------------------------------------------------------

    def _has_dev(self) -> bool:
        stamp = self._read_stamp()
        return stamp is not None and LOCKS[1] in stamp["locks"]

    def _usable(self) -> bool:
        """Whether .venv's Python is there, and of the wanted version if one is insisted on."""
        settings = self.venv / "pyvenv.cfg"
        if not (self.python.exists() and settings.is_file() and self._packages().is_dir()):
            return False
        if not (self._packages() / "pip").is_dir():
            return False
        found = re.search(r"^version\s*=\s*(\d+\.\d+)", settings.read_text(), re.MULTILINE)
        ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return found is not None and (not self.exact or found[1] == ours)

    def _packages(self) -> Path:
        found = sorted((self.venv / "lib").glob("python3.*/site-packages"))
        return found[0] if found else self.venv / "missing"

    def _installed(self) -> list[str]:
        try:
            return [path.name for path in self._packages().glob("*.dist-info")]
        except OSError:
            return []

    def _wanted(self) -> int:
        """How many packages the lock files name (a few may not apply to this machine)."""
        count = 0
        for name in self.locks:
            try:
                text = (self.root / name).read_text()
            except FileNotFoundError as error:
                raise Failure(f"{name} is missing: the checkout is incomplete") from error
            count += len(re.findall(r"^[A-Za-z0-9].*==", text, re.MULTILINE))
        return count

    def _hash(self, name: str) -> str:
        try:
            return hashlib.sha256((self.root / name).read_bytes()).hexdigest()
        except FileNotFoundError:
            return "missing"

    def _read_stamp(self) -> dict | None:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return None
        return stamp if isinstance(stamp, dict) and {"locks", "packages"} <= stamp.keys() else None

    def _write_stamp(self) -> None:
        content = {
            "python": _version(),
            "locks": {name: self._hash(name) for name in self.locks},
            "packages": len(self._installed()),
        }
        scratch = self.stamp.with_suffix(".new")
        scratch.write_text(json.dumps(content, indent=1) + "\n")
        scratch.replace(self.stamp)

    # -- one at a time, and what went wrong -----------------------------------------------------

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        with (self.venv / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("another set-up of this checkout is running; waiting for it", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _explain(self, error: OSError) -> str:
        return self._diagnosis(str(error), f"cannot write to {self.venv} ({error.strerror})")

    def _diagnosis(self, output: str, otherwise: str) -> str:
        """The one line for a failure: its cause as far as the output tells it."""
        where = f"(log: {self.log}); run the same command again afterwards"
        # What pip got over by trying again stands further up.
        tail = "\n".join(output.splitlines()[-60:])
        for pattern, cause in CAUSES:
            if re.search(pattern, tail):
                return f"set-up failed: {cause} {where}"
        if "(from versions: none)" in tail:
            # Told to try only once, pip keeps to itself that nobody answered.
            cause = "the package registry cannot be reached, or knows none of the packages"
            return f"set-up failed: {cause} {where}"
        missing = re.search(r"No matching distribution found for (\S+)", output)
        if missing:
            what = f"{missing[1]} for Python {_version()} on this machine"
            return f"set-up failed: the package registry offers no {what} {where}"
        errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
        detail = f": {errors[-1].removeprefix('ERROR:').strip()[:200]}" if errors else ""
        return f"set-up failed: {otherwise}{detail} {where}"


class Progress:
    """One moving line on a terminal; elsewhere a line now and then."""

    def __init__(self, wanted: int, installed) -> None:
        self._wanted = wanted
        self._installed = installed
        self._started = time.monotonic()
        self._seen = 0
        self._name = ""
        self._installing = False
        self._trouble = False
        self._moving = sys.stdout.isatty()
        self._last = 0.0

    def hear(self, line: str) -> None:
        """Take note of one line that pip said."""
        heard = r"\s*(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)"
        found = re.match(heard, line)
        if found:
            self._seen += 1
            self._name = found[1]
        self._installing = self._installing or line.startswith("Installing collected")
        self._trouble = "Retrying" in line

    def tick(self) -> None:
        """Show how far it is: several times a second on a terminal, else every ten seconds."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._moving else 10.0):
            return
        self._last = now
        seconds = now - self._started
        if self._installing:
            text = f"installing: {self._installed()} of {self._wanted} packages"
        elif self._trouble:
            text = f"the package registry does not answer, trying again ({self._name or 'start'})"
        else:
            text = f"fetching: {min(self._seen, self._wanted)} of {self._wanted} {self._name}"
        text = f"  {text}, {seconds:.0f} s"
        if self._moving:
            print(f"\r{text[:78]:<78}", end="", flush=True)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._moving:
            print("\r" + " " * 78 + "\r", end="", flush=True)


def _read_lines(process: subprocess.Popen, lines: queue.Queue) -> None:
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


if __name__ == "__main__":
    sys.exit(main())
