"""The operating-system account that PostgreSQL runs under.

PostgreSQL refuses to run as root. A root caller therefore hands its processes to an
unprivileged account; everybody else runs them as themselves.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from candlevault.errors import SetupError


@dataclass(frozen=True, slots=True)
class Account:
    """An account to run processes under; `switch` is False where that is the caller's own."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen_options(self) -> dict[str, object]:
        """Keyword arguments that make subprocess run under this account, umask included."""
        options: dict[str, object] = {"umask": 0o077}
        if self.switch:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def own(self, path: Path, mode: int) -> None:
        """Give `path` to this account with `mode`."""
        if self.switch:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def run(self, command: list[str], *, cwd: Path | None = None, timeout: float = 60.0):
        """The finished process of `command` run under this account, its output as text.

        `cwd` is the root directory unless given: the caller's own may be closed to the account.
        """
        try:
            return subprocess.run(
                command,
                cwd=cwd or Path("/"),
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                **self.popen_options(),
            )
        except PermissionError as error:
            if self.switch and os.geteuid() == 0 and error.filename is None:
                raise SetupError(
                    f"cannot change from root to the account {self.name!r} that PostgreSQL "
                    f"needs ({error.strerror}); run as an ordinary user instead"
                ) from error
            raise

    def can_write(self, directory: Path) -> bool:
        """Whether this account reaches `directory` and may create files in it."""
        probe = 'cd "$1" && test -w . && test -x .'
        return self.run(["/bin/sh", "-c", probe, "sh", str(directory)]).returncode == 0

    def can_execute(self, program: Path) -> bool:
        """Whether this account reaches `program` and may run it."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", str(program)]).returncode == 0


def database_account() -> Account:
    """The caller's own account, or for root `postgres` where it exists, else `nobody`."""
    uid = os.geteuid()
    if uid != 0:
        return Account(name=str(uid), uid=uid, gid=os.getegid(), switch=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid, switch=True)
    raise SetupError(
        "PostgreSQL does not run as root and there is neither an account 'postgres' nor "
        "'nobody' to run it under; create one, or run as an ordinary user"
    )


def clean_environment() -> dict[str, str]:
    """The caller's environment without secrets and what steers PostgreSQL or the loader."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "CANDLEVAULT_", "AIRFLOW_"))
        and name not in ("LD_LIBRARY_PATH", "LANG", "TZ")
    }
    return kept | {"LC_ALL": "C"}
