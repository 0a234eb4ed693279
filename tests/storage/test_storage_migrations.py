"""Migrations: numbered, transactional, recorded, never changed, safe for many starters."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import psycopg
import pytest

from candlevault import paths
from candlevault.errors import StorageError
from candlevault.storage.database import connector
from candlevault.storage.migrations import available, migrate


@pytest.fixture
def fresh(empty_database):
    return connector(empty_database)


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.sql").write_text(text)
    return path


def recorded(connect) -> list[tuple]:
    with connect() as connection:
        return connection.execute(
            "SELECT number, name, sha256 FROM market.schema_migrations ORDER BY number"
        ).fetchall()


def test_all_migrations_are_applied_once_in_order_and_recorded(fresh):
    ours = available()
    assert migrate(fresh) == [one.name for one in ours]
    assert recorded(fresh) == [(one.number, one.name, one.sha256) for one in ours]
    assert migrate(fresh) == []


def test_numbers_of_the_projects_migrations_have_no_hole():
    assert [one.number for one in available()] == list(range(1, len(available()) + 1))
    assert len(available()) == len(list(paths.MIGRATIONS.glob("*.sql")))


def test_a_failing_migration_leaves_nothing_and_keeps_the_earlier_ones(fresh, tmp_path):
    folder(
        tmp_path,
        **{
            "0001_good": "CREATE TABLE market.one (n integer)",
            "0002_bad": "CREATE TABLE market.two (n integer); SELECT 1 / 0",
        },
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(fresh, tmp_path)
    assert [row[1] for row in recorded(fresh)] == ["good"]
    with fresh() as connection:
        found = connection.execute("SELECT to_regclass('market.one'), to_regclass('market.two')")
        assert found.fetchone() == ("market.one", None)
    folder(tmp_path, **{"0002_bad": "CREATE TABLE market.two (n integer)"})
    assert migrate(fresh, tmp_path) == ["bad"]


def test_a_file_changed_after_it_was_applied_is_refused(fresh, tmp_path):
    folder(tmp_path, **{"0001_words": "SELECT 1"})
    migrate(fresh, tmp_path)
    folder(tmp_path, **{"0001_words": "SELECT 2"})
    with pytest.raises(StorageError, match=r"0001_words\.sql was changed"):
        migrate(fresh, tmp_path)


@pytest.mark.parametrize("name", ["1_words", "00001_words", "0001-words", "0001_Words"])
def test_a_misnamed_file_is_refused(tmp_path, name):
    folder(tmp_path, **{name: "SELECT 1"})
    with pytest.raises(StorageError, match="must be named"):
        available(tmp_path)


def test_a_number_used_twice_is_refused(tmp_path):
    folder(tmp_path, **{"0001_a": "SELECT 1", "0001_b": "SELECT 1"})
    with pytest.raises(StorageError, match="0001 is used twice"):
        available(tmp_path)


def _start(url: str, folder: str, told) -> None:
    try:
        told.put(migrate(connector(url), Path(folder)))
    except Exception as error:
        told.put(error)


def test_many_starters_at_once_apply_each_migration_exactly_once(empty_database, tmp_path):
    names = ["a", "b", "c"]
    folder(
        tmp_path,
        **{
            f"000{n}_{name}": f"CREATE TABLE market.{name} (n integer); SELECT pg_sleep(0.1)"
            for n, name in enumerate(names, start=1)
        },
    )
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    starters = [
        context.Process(target=_start, args=(empty_database, str(tmp_path), told), daemon=True)
        for _ in range(4)
    ]
    for one in starters:
        one.start()
    results = [told.get(timeout=60) for _ in starters]
    for one in starters:
        one.join(10)
    assert sorted(name for result in results for name in result) == names
    assert [row[1] for row in recorded(connector(empty_database))] == names
