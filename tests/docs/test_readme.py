"""What README.md says is what the code does."""

from __future__ import annotations

import os
import re
import subprocess

from candlevault import config, paths
from candlevault.backtest.payload import properties
from candlevault.local import demo

TEXT = (paths.PROJECT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (paths.PROJECT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M))


def test_every_make_command_named_exists():
    named = set(re.findall(r"\bmake ([a-z]+)\b", TEXT))
    assert {"demo", "test", "up", "down"} <= named
    assert named <= TARGETS


def test_make_help_lists_every_target():
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=paths.PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")} == (
        TARGETS
    )


def test_the_dag_table_names_every_kind_of_dag():
    table = TEXT.split("## The DAGs")[1].split("##")[0]
    for file in paths.DAGS.glob("*.py"):
        assert f"`{file.stem}" in table, file.stem


def test_the_demo_defaults_are_those_of_the_code():
    for name, default in demo.DEFAULTS.items():
        row = next(
            line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line
        )
        assert f"`{default}`" in row, name


def test_every_payload_field_is_explained():
    table = TEXT.split("## A backtest")[1].split("##")[0]
    for name in properties():
        assert f"`{name}`" in table, name


def test_every_relation_named_exists_in_the_migrations():
    migrations = "".join(file.read_text() for file in paths.MIGRATIONS.glob("*.sql"))
    for name in sorted(set(re.findall(r"`market\.(\w+)", TEXT))):
        assert re.search(rf"CREATE (TABLE|VIEW) market\.{name}\b", migrations), name


def test_every_secret_of_the_compose_file_is_listed():
    compose = (paths.PROJECT / "docker-compose.yaml").read_text()
    for secret in set(re.findall(r"\$\{([A-Z_]+):\?", compose)):
        assert f"`{secret}`" in TEXT, secret


def test_every_library_setting_is_in_the_configuration_page():
    page = (paths.PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == config.settings_page()
