"""The secrets of a home: made once, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from candlevault.local.files import write_atomically


@dataclass(frozen=True, slots=True)
class Credentials:
    """Every secret of one home. `fresh` says whether the admin password was made just now."""

    admin_password: str
    viewer_password: str
    jwt_secret: str
    api_secret_key: str
    fernet_key: str
    superuser_password: str
    airflow_db_password: str
    market_db_password: str
    fresh: bool = False

    def __repr__(self) -> str:
        return "Credentials(…)"


def _password() -> str:
    return secrets.token_urlsafe(18)


def _signing_key() -> str:
    return secrets.token_hex(64)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


_SHAPES: dict[str, tuple[Callable[[], str], str]] = {
    "admin_password": (_password, r"\S{8,200}"),  # the user may choose another one
    "viewer_password": (_password, r"\S{8,200}"),
    "jwt_secret": (_signing_key, r"[0-9a-f]{128}"),
    "api_secret_key": (_signing_key, r"[0-9a-f]{128}"),
    "fernet_key": (_fernet_key, r"[A-Za-z0-9_-]{43}="),
    "superuser_password": (_password, r"[A-Za-z0-9_-]{24}"),
    "airflow_db_password": (_password, r"[A-Za-z0-9_-]{24}"),
    "market_db_password": (_password, r"[A-Za-z0-9_-]{24}"),
}


def admin_password_file(home: Path) -> Path:
    """Where the password of the user `admin` is kept."""
    return home / "admin-password"


def load_or_create(home: Path) -> Credentials:
    """The secrets of `home`; what is missing or was cut short by a crash is made anew.

    Files are 0600 and the folder `secrets` 0700, also where somebody had opened them.
    """
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    values: dict[str, str] = {}
    fresh = False
    for name in (field.name for field in fields(Credentials) if field.name != "fresh"):
        make, pattern = _SHAPES[name]
        path = admin_password_file(home) if name == "admin_password" else _file(folder, name)
        value = _read(path)
        if value is None or not re.fullmatch(pattern, value, re.ASCII):
            value = make()
            write_atomically(path, value + "\n")
            fresh = fresh or name == "admin_password"
        path.chmod(0o600)
        values[name] = value
    return Credentials(**values, fresh=fresh)


def _file(folder: Path, name: str) -> Path:
    return folder / name.replace("_", "-")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
