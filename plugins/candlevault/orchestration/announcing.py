"""Word of what has ended: on the asset that others can follow, and to a webhook."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from airflow.sdk import Asset, get_current_context

from candlevault import config
from candlevault.orchestration import runtime

_TIMEOUT_S = 10.0
_TRIES = 3


def completed(what: str, asset: Asset, run_id: str, figures: Mapping[str, object]) -> None:
    """Tell that a backtest or a sweep (`what`) completed: run, id and headline figures."""
    word = {"event": f"{what}.completed", "dag_run_id": run_id, **figures}
    events = get_current_context().get("outlet_events")
    if events is not None:
        events[asset].extra = word
    _post(word)


def failed(what: str, run_id: str, number: int | None, message: str) -> None:
    """Tell that it failed, and why; `number` is its id."""
    _post(
        {
            "event": f"{what}.failed",
            "dag_run_id": run_id,
            f"{what}_id": number,
            "message": message,
        }
    )


def _post(word: Mapping[str, object]) -> None:
    """Send the word to the webhook, if there is one. What has ended does not fail for it."""
    url = config.setting("CANDLEVAULT_WEBHOOK_URL")
    if not url:
        return
    for tried in range(1, _TRIES + 1):
        try:
            answer = requests.post(url, json=word, timeout=_TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            # The address may hold a key, and errors of the library quote it.
            said = type(error).__name__
        else:
            if 200 <= answer.status_code < 300:
                return
            said = f"HTTP {answer.status_code}"
        runtime.say(f"the webhook did not take the word ({said}), try {tried} of {_TRIES}")
