"""A server that answers by script, for what no simulator of an honest venue would send."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.scripted_http import ScriptedServer, scripted_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running
