"""The host name that the local Airflow gives itself."""

from __future__ import annotations


def address() -> str:
    """`127.0.0.1`: everything of the local system listens there and nowhere else.

    Airflow's default asks the resolver, which takes seconds on a machine with a slow one
    and may answer with an address that nobody listens on.
    """
    return "127.0.0.1"
