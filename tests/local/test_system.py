"""The supervised system: one Airflow for the whole file, abused and expected to come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from candlevault import paths
from candlevault.errors import SetupError
from candlevault.local.airflow_api import AirflowApi, AirflowRefused
from candlevault.local.airflow_settings import process_environment
from candlevault.local.processes import marked, port_is_free
from candlevault.local.system import LocalSystem
from candlevault.local.unpause import Unpauser
from tests.local.conftest import clean_environment

pytestmark = pytest.mark.timeout(400)


def silent(line: str) -> None:
    pass


def pid_of(system: LocalSystem, name: str) -> int:
    return next(row.pid for row in system.status().rows if row.name == name)


def row_of(system: LocalSystem, name: str):
    return next(row for row in system.status().rows if row.name == name)


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def every_process(system: LocalSystem) -> list[psutil.Process]:
    """All live processes of the system, PostgreSQL's and the supervisor's included."""
    found = {process.pid: process for process in marked(system.home.path)}
    data = str(system.home.postgres_directory() / "data")
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == data:
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    return [process for process in found.values() if process.status() != psutil.STATUS_ZOMBIE]


def ports(system: LocalSystem) -> list[int]:
    home = system.home
    return [home.api_port, home.log_port, home.simulator_port, home.pg_port]


def assert_nothing_left(system: LocalSystem) -> None:
    assert [process.cmdline() for process in every_process(system)] == []
    assert [port for port in ports(system) if not port_is_free(port)] == []


def test_all_processes_are_up_and_healthy(system):
    status = system.status()
    assert status.up, status
    assert {row.name for row in status.rows} == {
        "supervisor",
        "postgresql",
        "simulator",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
        "log-server",
    }


def test_nothing_listens_beyond_the_loopback_address(system):
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in every_process(system)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port) for port in ports(system)}


def test_only_the_named_dags_are_switched_on(system):
    paused = {dag["dag_id"]: dag["is_paused"] for dag in system.api.dags()}
    assert paused == {"backtest": False, "other": True}


def test_dag_that_the_user_paused_is_not_switched_on_again(system):
    system.api.set_paused("backtest", True)
    try:
        done = (system.home.run / "unpaused.json").read_text()
        assert "backtest" in done
        again = Unpauser(system.home, system.credentials.admin_password, ["*"])
        again.look()
        paused = {dag["dag_id"]: dag["is_paused"] for dag in system.api.dags()}
        assert paused == {"backtest": True, "other": False}
    finally:
        system.api.set_paused("backtest", False)
        system.api.set_paused("other", True)


def test_run_through_the_api_sees_the_homes_settings_in_a_warm_process(system):
    seen: list[str] = []
    system.api.wait_for_dag("backtest")
    run = system.api.trigger("backtest", {"number": 42})
    ended = system.api.wait(
        "backtest", run, timeout=120, on_progress=lambda now, tasks: seen.append(now["state"])
    )
    assert ended["state"] == "success"
    assert seen[-1] == "success"
    assert [task["task_id"] for task in system.api.task_instances("backtest", run)] == ["work"]
    assert system.api.xcom("backtest", run, "work") == {
        "user": "candlevault",
        "timezone": "UTC",
        "rest": f"http://127.0.0.1:{system.home.simulator_port}",
        "warm": True,
    }
    assert "the number is 42" in system.api.task_log("backtest", run, "work")


def test_same_run_id_is_refused_and_an_own_one_is_used(system):
    run = system.api.trigger("backtest", {"number": 1}, run_id="mine")
    assert run == "mine"
    with pytest.raises(AirflowRefused) as refusal:
        system.api.trigger("backtest", {"number": 1}, run_id="mine")
    assert refusal.value.status == 409


def test_bad_conf_unknown_dag_and_wrong_password_are_told_apart(system):
    with pytest.raises(AirflowRefused, match="not of type 'integer'") as refusal:
        system.api.trigger("backtest", {"number": "many"})
    assert refusal.value.status in (400, 422)
    with pytest.raises(AirflowRefused) as refusal:
        system.api.trigger("nothing", {})
    assert refusal.value.status == 404
    with pytest.raises(AirflowRefused) as refusal:
        AirflowApi(system.home.api_url, "admin", "wrong").dags()
    assert refusal.value.status == 401


def test_viewer_reads_but_starts_nothing(system):
    viewer = AirflowApi(system.home.api_url, "viewer", system.credentials.viewer_password)
    assert {dag["dag_id"] for dag in viewer.dags()} == {"backtest", "other"}
    with pytest.raises(AirflowRefused) as refusal:
        viewer.trigger("backtest", {"number": 1})
    assert refusal.value.status == 403


def test_expired_token_is_renewed(system):
    system.api._session.headers["Authorization"] = "Bearer expired"
    assert system.api.dag("backtest")["dag_id"] == "backtest"


def test_market_database_is_migrated_and_written_by_its_own_role(system):
    with psycopg.connect(system.db_url) as connection:
        row = connection.execute(
            "SELECT current_user, to_regnamespace('market') IS NOT NULL, "
            "has_database_privilege('airflow', 'CONNECT')"
        ).fetchone()
    assert row == ("candlevault", True, False)


def test_killed_service_is_restarted_and_counted(system):
    before = row_of(system, "simulator")
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: row_of(system, "simulator").restarts == before.restarts + 1)
    wait_for(lambda: system.status().up)
    assert row_of(system, "simulator").pid != before.pid


def test_start_of_a_running_system_only_moves_the_clock(system):
    scheduler, simulator = pid_of(system, "scheduler"), pid_of(system, "simulator")
    again = LocalSystem(
        system.home.path,
        api_port=system.home.api_port,
        pg_port=system.home.pg_port,
        dags=system.home.dags,
        end="2024-03-01T00:00:00Z",
        environment=clean_environment(),
    )
    again.start(silent)
    wait_for(lambda: pid_of(system, "simulator") not in (None, simulator))
    assert "2024-03-01T00:00:00Z" in psutil.Process(pid_of(system, "simulator")).cmdline()
    assert pid_of(system, "scheduler") == scheduler


def test_running_system_refuses_other_ports_and_another_exchange(system):
    def other(**changed):
        options = {"api_port": system.home.api_port, "pg_port": system.home.pg_port} | changed
        return LocalSystem(system.home.path, environment=clean_environment(), **options)

    with pytest.raises(SetupError, match=f"CANDLEVAULT_PG_PORT={system.home.pg_port}"):
        other(pg_port=system.home.pg_port + 1).start(silent)
    with pytest.raises(SetupError, match="EXCHANGE=simulated"):
        other(exchange="live").start(silent)


def test_commands_speak_to_the_running_system(system):
    environment = process_environment(clean_environment(), system.variables())

    def command(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "candlevault.local", *arguments],
            env=environment,
            cwd=paths.PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )

    status = command("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "scheduler" in status.stdout
    assert command("psql", "--sql", "SELECT 40 + 2").stdout.split()[2] == "42"
    assert command("psql", "--sql", "SELECT nonsense").returncode != 0
    assert "running" in command("logs", "supervisor").stdout


def test_password_appears_in_no_log_and_no_command_line(system):
    secrets = [
        system.credentials.admin_password,
        system.credentials.market_db_password,
        system.credentials.superuser_password,
        system.credentials.jwt_secret,
    ]
    logs = [path for path in system.home.logs.rglob("*") if path.is_file()]
    assert logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], path
    for process in every_process(system):
        line = " ".join(process.cmdline())
        assert not [secret for secret in secrets if secret in line]


def test_killed_supervisor_leaves_orphans_that_stop_cleans_up(system):
    os.kill(pid_of(system, "supervisor"), signal.SIGKILL)
    wait_for(lambda: system.supervisor() is None)
    assert every_process(system)
    assert not system.status().up
    started = time.monotonic()
    system.stop(silent)
    assert time.monotonic() - started < 20
    assert_nothing_left(system)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(system.db_url, connect_timeout=2)


def test_stop_leaves_no_process_and_no_port(system):
    assert system.status().up  # it came back after the test before
    started = time.monotonic()
    system.stop(silent)
    assert time.monotonic() - started < 20
    assert_nothing_left(system)
    system.stop(silent)  # again: nothing to do


def test_failed_start_says_why_and_leaves_nothing(session_system):
    system = session_system
    system.stop(silent)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", system.home.log_port))
        holder.listen()
        with pytest.raises(SetupError) as failure:
            system.start(silent)
    assert f"port {system.home.log_port} (log-server) is taken" in str(failure.value)
    assert "CANDLEVAULT_API_PORT" in str(failure.value)
    assert_nothing_left(system)
    assert system.status().phase == "failed"
