"""A small client of Airflow's REST API, for the supervisor, the demo and tests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import requests

from candlevault.errors import CandlevaultError

FINISHED = frozenset({"success", "failed"})
"""The states in which a DAG run no longer changes by itself."""


class AirflowRefused(CandlevaultError):
    """Airflow answered a request with an error. `status` is the HTTP status, `detail` its text."""

    def __init__(self, what: str, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"Airflow refused {what}: HTTP {status} {detail}")


class AirflowSilent(CandlevaultError):
    """Airflow did not answer, or a run did not end in time."""

    transient = True


class AirflowApi:
    """Airflow's REST API at `base_url`, used as `username`; logs in when it has to."""

    def __init__(
        self, base_url: str, username: str, password: str, *, request_seconds: float = 30.0
    ) -> None:
        self._base = base_url.rstrip("/")
        self._login = {"username": username, "password": password}
        self._seconds = request_seconds
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy for the loopback address

    # -- runs -------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: dict | None = None, run_id: str | None = None) -> str:
        """Start a run of `dag_id` with `conf` and return its run id.

        Raises AirflowRefused with status 400 or 422 if the conf breaks the DAG's schema and
        404 if there is no such DAG. The run id is chosen here, so that a request repeated
        after a lost answer starts no second run.
        """
        run = run_id or f"manual__{uuid.uuid4()}"
        body = {"dag_run_id": run, "logical_date": None, "conf": conf or {}}
        try:
            self._call("POST", f"dags/{_part(dag_id)}/dagRuns", json=body)
        except AirflowRefused as error:
            if error.status != 409 or run_id is not None:
                raise
        return run

    def dag_run(self, dag_id: str, run_id: str) -> dict:
        """The run as Airflow reports it; its `state` is queued, running, success or failed."""
        return self._call("GET", _run(dag_id, run_id))

    def cancel(self, dag_id: str, run_id: str) -> None:
        """End a run: its unfinished tasks are stopped and it counts as failed."""
        self._call("PATCH", _run(dag_id, run_id), json={"state": "failed"})

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 600.0,
        on_progress: Callable[[dict, list[dict]], None] | None = None,
        poll: float = 0.5,
    ) -> dict:
        """The run once it has succeeded or failed.

        `on_progress(run, task_instances)` is called at every look. Raises AirflowSilent
        after `timeout` seconds; the run goes on.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.dag_run(dag_id, run_id)
            if on_progress is not None:
                on_progress(run, self.task_instances(dag_id, run_id))
            if run["state"] in FINISHED:
                return run
            if time.monotonic() > deadline:
                raise AirflowSilent(
                    f"run {run_id} of {dag_id} is still {run['state']} after {timeout:.0f} s"
                )
            time.sleep(poll)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict]:
        """The run's task instances, mapped ones included, in Airflow's order."""
        return list(self._pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances"))

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """The log of one try of a task as text, a line per message."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_part(task_id)}/logs/{try_number}"
        answer = self._call("GET", path, params={"map_index": map_index, "full_content": "true"})
        content = answer.get("content") or []
        if isinstance(content, str):
            return content
        return "\n".join(_log_line(entry) for entry in content)

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """The value that a task left under `key`; AirflowRefused with status 404 if none."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_part(task_id)}/xcomEntries/{_part(key)}"
        answer = self._call("GET", path, params={"map_index": map_index, "deserialize": "true"})
        return answer["value"]

    # -- DAGs -------------------------------------------------------------------------------

    def dags(self) -> list[dict]:
        """All DAGs that Airflow knows, paused ones included."""
        return list(self._pages("dags", "dags", params={"exclude_stale": "true"}))

    def dag(self, dag_id: str) -> dict:
        """One DAG as Airflow reports it."""
        return self._call("GET", f"dags/{_part(dag_id)}")

    def import_errors(self) -> list[dict]:
        """DAG files that could not be read: `filename` and `stack_trace` of each."""
        return list(self._pages("importErrors", "import_errors"))

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause the DAG, or switch it on."""
        self._call("PATCH", f"dags/{_part(dag_id)}", json={"is_paused": paused})

    def wait_for_dag(self, dag_id: str, timeout: float = 120.0) -> dict:
        """The DAG once Airflow has read it.

        Raises AirflowSilent after `timeout` seconds, with the first import error if any.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.dag(dag_id)
            except AirflowRefused as error:
                if error.status != 404:
                    raise
            if time.monotonic() > deadline:
                broken = self.import_errors()
                why = f": {broken[0]['filename']}: {_last_line(broken[0])}" if broken else ""
                raise AirflowSilent(f"Airflow has not read the DAG {dag_id}{why}")
            time.sleep(0.5)

    # -- requests ---------------------------------------------------------------------------

    def log_in(self) -> None:
        """Fetch a token for what follows; raises AirflowRefused if the password is wrong."""
        answer = self._send("POST", f"{self._base}/auth/token", json=self._login)
        if not answer.ok:
            raise AirflowRefused("the login", answer.status_code, _detail(answer))
        body = answer.json()
        token = body.get("access_token") or body["jwt_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def _pages(self, path: str, field: str, params: dict | None = None) -> Iterator[dict]:
        offset = 0
        while True:
            window = {"limit": 100, "offset": offset}
            page = self._call("GET", path, params={**(params or {}), **window})
            items = page[field]
            yield from items
            offset += len(items)
            if not items or offset >= page["total_entries"]:
                return

    def _call(self, method: str, path: str, **options: Any) -> Any:
        if "Authorization" not in self._session.headers:
            self.log_in()
        url = f"{self._base}/api/v2/{path}"
        answer = self._send(method, url, **options)
        if _token_is_over(answer):
            self.log_in()
            answer = self._send(method, url, **options)
        if not answer.ok:
            raise AirflowRefused(f"{method} {path}", answer.status_code, _detail(answer))
        return answer.json() if answer.content else None

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        """The answer, asked for again while the API server restarts (about 30 s)."""
        for attempt in range(7):
            try:
                answer = self._session.request(method, url, timeout=self._seconds, **options)
                if answer.status_code not in (502, 503, 504):
                    return answer
                reason = f"HTTP {answer.status_code}"
            except (requests.ConnectionError, requests.Timeout) as error:
                reason = type(error).__name__
            time.sleep(min(8.0, 0.5 * 2**attempt))
        raise AirflowSilent(f"Airflow does not answer at {self._base} ({reason})")


def _token_is_over(answer: requests.Response) -> bool:
    """Whether the token has expired, or was signed with a key that is no longer used."""
    return answer.status_code == 401 or (answer.status_code == 403 and "JWT" in _detail(answer))


def _part(text: str) -> str:
    return quote(text, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"


def _detail(answer: requests.Response) -> str:
    try:
        detail = answer.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return str(detail or answer.text or answer.reason)[:2000]


def _log_line(entry: dict | str) -> str:
    if isinstance(entry, str):
        return entry
    known = {"timestamp", "event", "level", "logger", "error_detail", "filename", "lineno", "loc"}
    parts = [entry.get("timestamp"), (entry.get("level") or "").upper(), entry.get("event")]
    parts += [f"{name}={value}" for name, value in entry.items() if name not in known]
    lines = [" ".join(str(part) for part in parts if part)]
    for problem in entry.get("error_detail") or []:
        lines.append(f"  {problem.get('exc_type')}: {problem.get('exc_value')}")
    return "\n".join(lines)


def _last_line(import_error: dict) -> str:
    lines = str(import_error.get("stack_trace") or "").strip().splitlines()
    return lines[-1] if lines else "no message"
