"""Switches on the DAGs that CANDLEVAULT_UNPAUSE names, once each.

A DAG that was switched on before and that the user has paused since stays paused.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from fnmatch import fnmatchcase

from candlevault.errors import CandlevaultError
from candlevault.local.airflow_api import AirflowApi
from candlevault.local.files import read_json, write_atomically
from candlevault.local.home import Home

DEFAULT = "backtest,replay,reconcile_backtests"
FIRST_LOOK_SECONDS = 30.0


def parse_patterns(text: str | None) -> list[str]:
    """The DAG ids and glob patterns in `text`, separated by commas; DEFAULT where it is None."""
    return [part.strip() for part in (DEFAULT if text is None else text).split(",") if part.strip()]


class Unpauser(threading.Thread):
    """Looks for matching DAGs: often at first, then once a minute for late ones."""

    def __init__(self, home: Home, admin_password: str, patterns: list[str]) -> None:
        super().__init__(name="unpauser", daemon=True)
        self._api = AirflowApi(home.api_url, "admin", admin_password, request_seconds=5)
        self._record = home.run / "unpaused.json"
        self._patterns = patterns
        self._dags = home.dags
        self._done = set((read_json(self._record) or {}).get("dags", []))
        self._stop_asked = threading.Event()
        self._looked = threading.Event()
        self._begun = time.monotonic()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            settled = False
            try:
                settled = self.look()
            except CandlevaultError as error:
                print(f"switching DAGs on: {error}", flush=True)
            if settled or time.monotonic() - self._begun > FIRST_LOOK_SECONDS:
                self._looked.set()
            self._stop_asked.wait(60.0 if self._looked.is_set() else 0.5)

    def first_look_done(self) -> bool:
        """Whether every DAG file has been read, or there was time enough to do it."""
        return self._looked.is_set()

    def stop(self) -> None:
        self._stop_asked.set()

    def look(self) -> bool:
        """Switch on what matches and was not before; whether every DAG file has been read."""
        known = {dag["dag_id"]: dag for dag in self._api.dags()}
        for dag_id in sorted(known.keys() - self._done):
            if any(fnmatchcase(dag_id, pattern) for pattern in self._patterns):
                self._api.set_paused(dag_id, False)
                self._done.add(dag_id)
                write_atomically(self._record, json.dumps({"dags": sorted(self._done)}) + "\n")
        read = {dag["relative_fileloc"] for dag in known.values()}
        unread = {name for name in self._files() if name not in read}
        return not unread or unread <= {error["filename"] for error in self._api.import_errors()}

    def _files(self) -> list[str]:
        """The files in which Airflow looks for DAGs, relative to their folder."""
        found = []
        for path in sorted(self._dags.glob("**/*.py")):
            with contextlib.suppress(OSError):
                text = path.read_bytes().lower()
                if b"dag" in text and b"airflow" in text:
                    found.append(str(path.relative_to(self._dags)))
        return found
