"""Every setting of the local system as environment variables, and the file that holds them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from candlevault import paths
from candlevault.local.credentials import Credentials
from candlevault.local.exchange import Exchange
from candlevault.local.files import write_atomically
from candlevault.local.home import Home

AIRFLOW_DATABASE = AIRFLOW_ROLE = "airflow"
MARKET_DATABASE = MARKET_ROLE = "candlevault"

AIRFLOW_OPTIONS: Mapping[tuple[str, str], str] = {
    ("core", "executor"): "LocalExecutor",
    ("core", "parallelism"): "8",
    ("core", "load_examples"): "False",
    ("core", "dags_are_paused_at_creation"): "True",
    ("core", "default_timezone"): "utc",
    ("core", "simple_auth_manager_users"): "admin:admin,viewer:viewer",
    # Workers, triggers and the log server are all reached on the loopback address.
    ("core", "hostname_callable"): "candlevault.local.loopback.address",
    ("api", "host"): "127.0.0.1",
    ("api", "workers"): "1",
    # Idle loops and slots are cheap on one machine; waiting is what the user sees.
    ("scheduler", "scheduler_idle_sleep_time"): "0.1",
    ("workers", "min_heartbeat_interval"): "1",
    # A task outlives a restart of the API server (about 10 s); a dead one is retried after
    # one minute instead of five.
    ("workers", "max_failed_heartbeats"): "60",
    ("workers", "execution_api_timeout"): "30",
    ("scheduler", "task_instance_heartbeat_timeout"): "60",
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): "5",
    ("scheduler", "orphaned_tasks_check_interval"): "30",
    ("scheduler", "enable_health_check"): "False",
    ("dag_processor", "refresh_interval"): "30",
    ("dag_processor", "min_file_process_interval"): "60",
    ("logging", "logging_level"): "INFO",
}


def airflow_options(home: Home, credentials: Credentials) -> dict[tuple[str, str], str]:
    """Airflow's options of this home by (section, name)."""
    logs = home.logs
    return {
        **AIRFLOW_OPTIONS,
        ("core", "dags_folder"): str(home.dags),
        ("core", "plugins_folder"): str(paths.PLUGINS),
        ("core", "fernet_key"): credentials.fernet_key,
        ("core", "simple_auth_manager_passwords_file"): str(passwords_file(home)),
        ("api", "port"): str(home.api_port),
        ("api", "base_url"): home.api_url,
        ("api", "secret_key"): credentials.api_secret_key,
        ("api_auth", "jwt_secret"): credentials.jwt_secret,
        ("database", "sql_alchemy_conn"): (
            f"postgresql+psycopg2://{AIRFLOW_ROLE}:{credentials.airflow_db_password}"
            f"@127.0.0.1:{home.pg_port}/{AIRFLOW_DATABASE}"
        ),
        ("logging", "base_log_folder"): str(logs / "tasks"),
        ("logging", "dag_processor_child_process_log_directory"): str(logs / "dag-files"),
        # One server serves the logs of both: they lie in the same folder.
        ("logging", "worker_log_server_port"): str(home.log_port),
        ("logging", "trigger_log_server_port"): str(home.log_port),
        ("dag_processor", "dag_bundle_storage_path"): str(home.airflow / "bundles"),
    }


def passwords_file(home: Home) -> Path:
    """The file from which Airflow's simple auth manager reads its users' passwords."""
    return home.airflow / "passwords.json"


def write_passwords(home: Home, credentials: Credentials) -> None:
    """Write the passwords of Airflow's users, so that it never makes and prints its own."""
    users = {"admin": credentials.admin_password, "viewer": credentials.viewer_password}
    write_atomically(passwords_file(home), json.dumps(users) + "\n")


def environment(home: Home, credentials: Credentials, exchange: Exchange) -> dict[str, str]:
    """All variables that Airflow's processes and tasks of this home need."""
    market_url = (
        f"postgresql://{MARKET_ROLE}:{credentials.market_db_password}"
        f"@127.0.0.1:{home.pg_port}/{MARKET_DATABASE}"
    )
    variables = {
        "AIRFLOW_HOME": str(home.airflow),
        **{
            f"AIRFLOW__{section.upper()}__{name.upper()}": value
            for (section, name), value in airflow_options(home, credentials).items()
        },
        "AIRFLOW_CONN_CANDLEVAULT_DB": market_url,
        "CANDLEVAULT_HOME": str(home.path),
        "CANDLEVAULT_API_PORT": str(home.api_port),
        "CANDLEVAULT_PG_PORT": str(home.pg_port),
        "CANDLEVAULT_DB_URL": market_url,
        "CANDLEVAULT_EXCHANGE": exchange.name,
        "CANDLEVAULT_VENUE": exchange.venue,
        "CANDLEVAULT_BINANCE_REST_URL": exchange.rest_url,
        "CANDLEVAULT_BINANCE_FUTURES_URL": exchange.futures_url,
        "CANDLEVAULT_BINANCE_ARCHIVE_URL": exchange.archive_url,
        "CANDLEVAULT_BINANCE_LISTING_URL": exchange.listing_url,
        "PYTHONPATH": str(paths.PLUGINS),
        # Nothing on this machine reports home.
        "GX_ANALYTICS_ENABLED": "False",
        "SCARF_ANALYTICS": "False",
    }
    if exchange.simulator_url:
        variables["CANDLEVAULT_SIMULATOR_URL"] = exchange.simulator_url
    return variables


def process_environment(caller: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment to start a process with: `caller`'s, cleaned, and `variables` over it.

    Foreign Airflow, Python and PostgreSQL settings are dropped; loopback is kept out of
    any proxy.
    """
    dropped = ("AIRFLOW", "CANDLEVAULT_", "PG", "PYTHON", "MAKE", "MFLAGS")
    kept = {
        name: value
        for name, value in caller.items()
        if not name.startswith(dropped) and name not in ("EXCHANGE", "END")
    }
    if "PYTHONDONTWRITEBYTECODE" in caller:
        kept["PYTHONDONTWRITEBYTECODE"] = caller["PYTHONDONTWRITEBYTECODE"]
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(part for part in (kept.get(name), "127.0.0.1,localhost") if part)
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


def write_env_file(home: Home, variables: Mapping[str, str]) -> None:
    """Write the variables to `CANDLEVAULT_HOME/env`, to be sourced by any POSIX shell."""
    lines = [
        "# Settings of this home's Airflow and market database, secrets included.",
        "# Written at every start. Source it: . env",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
    ]
    write_atomically(home.env_file, "\n".join(lines) + "\n")
