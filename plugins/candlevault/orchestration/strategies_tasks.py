"""What the task of the strategies DAG does."""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import get_current_context

from candlevault.backtest import saved
from candlevault.errors import InvalidRequest
from candlevault.orchestration import forms, runtime
from candlevault.storage import strategies
from candlevault.storage.strategies import StrategyVersion


def act() -> list[dict[str, object]]:
    """Task: save, retire or list; returns the strategies the action was about."""
    context = get_current_context()
    params, conf = context["params"], context["dag_run"].conf or {}
    connect = runtime.connect_by_hook()
    with runtime.task_errors():
        forms.refuse_unknown(conf, params, {"action", "name", "strategy", "note", "id"})
        action, number = params["action"], params["id"]
        if action == "save":
            for field in ("name", "strategy"):
                if not params[field]:
                    raise InvalidRequest(field, "is required to save a strategy")
            found = [
                saved.save(
                    connect,
                    params["name"],
                    params["strategy"],
                    note=params["note"],
                    saved_by=str(getattr(context["dag_run"], "triggering_user_name", "") or ""),
                )
            ]
        elif action == "retire":
            if number is None:
                raise InvalidRequest("id", "is required to retire a strategy")
            strategies.retire(connect, number)
            found = strategies.versions(connect, number)[-1:]
        elif action == "list":
            found = (
                strategies.everything(connect)
                if number is None
                else strategies.versions(connect, number)
            )
        else:
            raise InvalidRequest("action", "must be list, save or retire", action)
    for one in found:
        runtime.say(
            f"{one.strategy_id} {one.name!r} version {one.version}: {one.runs} {one.params}"
            + (" (retired)" if one.retired_at else "")
        )
    return [_plain(one) for one in found]


def _plain(one: StrategyVersion) -> dict[str, object]:
    document = asdict(one)
    for name in ("saved_at", "retired_at"):
        document[name] = None if document[name] is None else document[name].isoformat()
    return document
