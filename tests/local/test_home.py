"""What a home keeps: its modes, secrets, exchange, ports and env file."""

from __future__ import annotations

import http.server
import json
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
import requests

from candlevault.errors import SetupError
from candlevault.local import credentials, exchange, home
from candlevault.local.airflow_settings import AIRFLOW_OPTIONS, airflow_options
from candlevault.local.files import exclusive_lock
from candlevault.local.system import LocalSystem
from candlevault.local.unpause import parse_patterns
from tests.local.conftest import clean_environment, new_system


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def prepared(scratch: Path, **options) -> LocalSystem:
    system = new_system(scratch, **options)
    system.prepare(lambda line: None)
    return system


def test_secrets_are_private_also_with_an_open_umask(scratch):
    before = os.umask(0)
    try:
        system = prepared(scratch)
    finally:
        os.umask(before)
    root = system.home.path
    assert mode(root) == (0o711 if os.geteuid() == 0 else 0o700)
    assert mode(root / "secrets") == 0o700
    for folder in (system.home.logs, system.home.run, system.home.airflow):
        assert mode(folder) == 0o700
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"env", "admin-password", "passwords.json"}
    assert {path: oct(mode(path)) for path in files if mode(path) != 0o600} == {}


def test_secrets_are_made_once_and_differ_between_homes(scratch):
    first = credentials.load_or_create(prepared(scratch / "one").home.path)
    again = credentials.load_or_create(scratch / "one" / "home")
    assert again == first
    assert not again.fresh
    other = prepared(scratch / "two").credentials
    assert other.fresh
    assert other.admin_password != first.admin_password
    assert other.fernet_key != first.fernet_key
    assert first.admin_password not in repr(first)


def test_secret_that_was_cut_short_is_made_anew_and_the_others_kept(scratch):
    system = prepared(scratch)
    before = system.credentials
    (system.home.path / "secrets" / "jwt-secret").write_text("")
    (system.home.path / "secrets" / "fernet-key").write_text("abc")
    after = credentials.load_or_create(system.home.path)
    assert len(after.jwt_secret) == 128
    assert len(after.fernet_key) == 44
    assert after.market_db_password == before.market_db_password
    assert after.admin_password == before.admin_password


def test_env_file_can_be_sourced_by_sh_whatever_the_home_is_called(scratch):
    system = prepared(scratch / 'it\'s a "$HOME" `x`')
    command = '. "$1/env" && env -0'
    printed = subprocess.run(
        ["sh", "-euc", command, "sh", str(system.home.path)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    ).stdout
    found = dict(entry.split("=", 1) for entry in printed.decode().split("\0") if "=" in entry)
    wanted = system.variables()
    assert {name: found[name] for name in wanted} == wanted
    assert wanted["CANDLEVAULT_DB_URL"] == system.db_url
    assert wanted["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert wanted["CANDLEVAULT_VENUE"] == "simulated"
    assert wanted["CANDLEVAULT_BINANCE_ARCHIVE_URL"].endswith("/archive")


def test_settings_of_the_caller_reach_the_env_file_but_never_change_its_ports(scratch):
    environment = clean_environment() | {
        "CANDLEVAULT_HOME": str(scratch / "h"),
        "CANDLEVAULT_REQUESTS_AT_ONCE": "2",
        "CANDLEVAULT_DB_URL": "postgresql://elsewhere",
        "EXCHANGE": "live",
    }
    system = LocalSystem(environment=environment)
    system.prepare(lambda line: None)
    assert system.variables()["CANDLEVAULT_REQUESTS_AT_ONCE"] == "2"
    assert "elsewhere" not in system.variables()["CANDLEVAULT_DB_URL"]


def test_home_keeps_its_exchange_and_names_both_when_another_is_asked_for(scratch):
    (scratch / "files").mkdir()
    replay = prepared(scratch, exchange=f"replay:{scratch}/files/../files", end="2024-01-01")
    assert replay.exchange.name == f"replay:{scratch}/files"
    assert replay.exchange.venue == "binance"
    with pytest.raises(SetupError) as failure:
        prepared(scratch, exchange="live")
    text = str(failure.value)
    assert f"EXCHANGE=replay:{scratch}/files" in text
    assert "not of live" in text
    assert "CANDLEVAULT_HOME" in text
    assert "\n" not in text
    assert prepared(scratch, exchange="auto").exchange.name == replay.exchange.name


def test_end_may_move_and_is_remembered(scratch):
    assert prepared(scratch, end="2024-01-01").exchange.end == "2024-01-01"
    assert prepared(scratch).exchange.end == "2024-01-01"
    assert prepared(scratch, end="2024-02-01").exchange.end == "2024-02-01"
    assert prepared(scratch, exchange="auto").exchange.end == "2024-02-01"


def test_replay_of_a_missing_directory_and_an_unknown_exchange_are_refused(scratch):
    with pytest.raises(SetupError, match="there is no such directory"):
        prepared(scratch, exchange=f"replay:{scratch}/nothing")
    with pytest.raises(SetupError, match="must be auto, live, simulated or replay:DIR"):
        prepared(scratch, exchange="bitmex")
    assert not (scratch / "home" / "exchange.json").exists()


class _Exchange(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def fake_exchange():
    """An exchange that answers pings with a status of the test's choice."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Exchange) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        _Exchange.status = 200


def test_auto_is_live_where_the_exchange_answers_and_says_so(scratch, fake_exchange, monkeypatch):
    monkeypatch.setattr(exchange, "LIVE_REST_URLS", ("http://127.0.0.1:9", fake_exchange))
    said: list[str] = []
    system = new_system(scratch, exchange="auto")
    system.prepare(said.append)
    assert system.exchange.kind == "live"
    assert system.exchange.rest_url == fake_exchange
    assert "real candles" in "\n".join(said)


@pytest.mark.parametrize("status", [451, 503])
def test_auto_is_simulated_where_the_exchange_refuses_and_says_so_loudly(
    scratch, fake_exchange, monkeypatch, status
):
    _Exchange.status = status
    monkeypatch.setattr(exchange, "LIVE_REST_URLS", (fake_exchange, "http://127.0.0.1:9"))
    said: list[str] = []
    system = new_system(scratch, exchange="auto")
    system.prepare(said.append)
    assert system.exchange.kind == "simulated"
    assert system.exchange.venue == "simulated"
    assert "INVENTED" in "\n".join(said)
    assert requests.get(fake_exchange, timeout=5).status_code == status


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"CANDLEVAULT_API_PORT": "http"}, "CANDLEVAULT_API_PORT"),
        ({"CANDLEVAULT_PG_PORT": "70000"}, "CANDLEVAULT_PG_PORT"),
        ({"CANDLEVAULT_PG_PORT": "8081"}, "CANDLEVAULT_PG_PORT=8081 lies among"),
    ],
)
def test_impossible_ports_are_refused_by_name(settings, named):
    with pytest.raises(SetupError, match=named):
        home.from_environment(settings)


def test_default_home_lies_in_the_checkout():
    found = home.from_environment({})
    assert (found.path.name, found.api_port, found.pg_port) == (".candlevault", 8080, 54329)


def test_every_airflow_option_exists_in_the_installed_airflow(scratch):
    yaml = pytest.importorskip("yaml")
    import importlib.util

    airflow = Path(next(iter(importlib.util.find_spec("airflow").submodule_search_locations)))
    known = yaml.safe_load((airflow / "config_templates" / "config.yml").read_text())
    system = prepared(scratch)
    options = airflow_options(system.home, system.credentials)
    assert options.keys() > AIRFLOW_OPTIONS.keys()
    unknown = [
        f"[{section}] {name}"
        for section, name in options
        if name not in known.get(section, {}).get("options", {})
    ]
    assert unknown == []


def test_lock_is_refused_while_held_and_free_afterwards(scratch):
    path = scratch / "lock"
    with (
        exclusive_lock(path),
        pytest.raises(SetupError, match="busy"),
        exclusive_lock(path, busy="busy"),
    ):
        pass
    with exclusive_lock(path, busy="busy"):
        pass


def test_patterns_for_switching_dags_on():
    assert parse_patterns(None) == ["backtest", "replay", "reconcile_backtests"]
    assert parse_patterns("") == []
    assert parse_patterns(" increment__*, backtest ,") == ["increment__*", "backtest"]


def test_passwords_of_airflows_users_come_from_the_home(scratch):
    system = prepared(scratch)
    users = json.loads((system.home.airflow / "passwords.json").read_text())
    assert users == {
        "admin": system.admin_password_file.read_text().strip(),
        "viewer": system.credentials.viewer_password,
    }
