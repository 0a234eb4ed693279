"""docker-compose.yaml is valid and refuses to start without its secrets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
import yaml

from candlevault import paths

FILE = paths.PROJECT / "docker-compose.yaml"
SECRETS = sorted(set(re.findall(r"\$\{([A-Z_]+):\?", FILE.read_text())))

needs_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None,
    reason="docker-compose is not installed: apt-get install docker-compose",
)


def config(environment: dict[str, str]) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        ["docker-compose", "--file", str(FILE), "config"],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_compose
def test_the_file_is_valid_with_all_secrets():
    done = config(dict.fromkeys(SECRETS, "given"))
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {
        "postgres",
        "redis",
        "airflow-init",
        "airflow-apiserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-worker",
        "airflow-triggerer",
    }


@needs_compose
@pytest.mark.parametrize("secret", SECRETS)
def test_a_missing_secret_is_named(secret):
    given = {name: "given" for name in SECRETS if name != secret}
    done = config(given)
    assert done.returncode != 0
    assert secret in done.stderr


def test_every_password_and_key_is_a_required_secret():
    text = FILE.read_text()
    named = re.findall(r"\$\{([A-Z_]*(?:PASSWORD|KEY|SECRET)[A-Z_]*)([^}]*)\}", text)
    assert named
    assert [name for name, rule in named if not rule.startswith(":?")] == []


def test_ports_are_published_on_loopback_only():
    services = yaml.safe_load(FILE.read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
