"""Fields of trigger forms, and what is read from them again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from airflow.sdk import Param

from candlevault.errors import InvalidRequest
from candlevault.timeframe import ALL as TIMEFRAMES

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def moment(default: datetime | None, title: str, description: str) -> Param:
    """A point in time, UTC; optional when there is no default."""
    kinds = ["string", "null"] if default is None else "string"
    value = None if default is None else default.strftime(_FORM)
    return Param(
        value,
        type=kinds,
        format="date-time",
        title=title,
        description=description,
    )


def years() -> Param:
    """An optional number of years instead of a start."""
    return Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=20,
        title="Years",
        description="Instead of a start: so many years before the end.",
    )


def symbols(default: list[str] | None, description: str) -> Param:
    """A list of symbols or short names; optional when there is no default."""
    return Param(
        default,
        type=["array", "null"] if default is None else "array",
        items={"type": "string", "pattern": "^[A-Za-z0-9]{1,20}$"},
        minItems=1,
        title="Symbols",
        description=description,
    )


def one_timeframe() -> Param:
    """An optional timeframe to which a run over stored series is limited."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *TIMEFRAMES],
        title="Timeframe",
        description="Only this timeframe; empty: all that are stored.",
    )


def parse_moment(params: Mapping[str, object], field: str) -> datetime | None:
    """The aware UTC datetime of a field, None when it is empty; raises InvalidRequest."""
    text = params.get(field)
    if text in (None, ""):
        return None
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        raise InvalidRequest(field, "must be a time such as 2023-01-01T00:00:00Z", text) from None
    if parsed.tzinfo is None:
        raise InvalidRequest(field, "must carry a time zone, such as Z", text)
    if not 1970 < parsed.year < 9999:
        raise InvalidRequest(field, "must lie after 1970", text)
    return parsed.astimezone(UTC)


def refuse_unknown(
    conf: Mapping[str, object] | None, params: Mapping[str, object], dag_params: set[str]
) -> None:
    """Raise InvalidRequest for keys a run was triggered with that the DAG does not know.

    Airflow lets undeclared keys pass; a misspelled key must not be ignored.
    """
    for key in {**(conf or {}), **params}:
        if key not in dag_params:
            raise InvalidRequest(
                str(key), f"unknown key; known: {', '.join(sorted(dag_params)) or 'none'}"
            )
