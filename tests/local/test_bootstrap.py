"""The set-up of .venv, with one tiny package instead of the project's two hundred."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from candlevault import paths
from tests.support.postgres import free_port

SCRIPT = paths.PLUGINS / "candlevault" / "local" / "bootstrap.py"
MAKEFILE = paths.PROJECT / "Makefile"


def tiny_wheel(folder: Path, version: str) -> None:
    """A package `tiny` of one line, as small as a wheel can be."""
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


class Checkout:
    """A folder with lock files, and the only registry that its pip knows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root / "wheels"
        self.wheels.mkdir()
        tiny_wheel(self.wheels, "1.0")
        tiny_wheel(self.wheels, "2.0")
        (root / "requirements.txt").write_text("# locked\ntiny==1.0\n    # via nothing\n")
        (root / "requirements-dev.txt").write_text("")
        self.pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_CACHE_DIR": "", **self.pip}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", "-B", str(SCRIPT), "--root", str(self.root), *arguments]

    def set_up(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def version(self) -> str:
        """The version of `tiny` that the environment imports."""
        python = self.root / ".venv" / "bin" / "python"
        code = "import tiny; print(tiny.VERSION)"
        return subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, text=True, check=False
        ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout that is set up; tests leave it set up."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    done = checkout.set_up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installing 1 packages" in done.stdout
    return checkout


def one_line(text: str) -> str:
    """`text` without its end, which must be all of it."""
    assert text.endswith("\n"), text
    assert text.count("\n") == 1, text
    return text.rstrip("\n")


def test_current_environment_is_left_alone_at_once(finished):
    assert finished.version() == "1.0"
    started = time.monotonic()
    again = finished.set_up()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert time.monotonic() - started < 1.0


def test_changed_lock_file_is_installed(finished):
    lock = finished.root / "requirements.txt"
    before = lock.read_text()
    lock.write_text("tiny==2.0\n")
    assert finished.set_up().returncode == 0
    assert finished.version() == "2.0"
    lock.write_text(before)
    assert finished.set_up().returncode == 0
    assert finished.version() == "1.0"


def test_removed_package_and_removed_interpreter_are_noticed(finished):
    packages = next((finished.root / ".venv" / "lib").glob("python3.*/site-packages"))
    for path in sorted((packages / "tiny-1.0.dist-info").iterdir()):
        path.unlink()
    (packages / "tiny-1.0.dist-info").rmdir()
    assert finished.set_up().returncode == 0
    assert finished.version() == "1.0"
    (finished.root / ".venv" / "bin" / "python").unlink()
    done = finished.set_up()
    assert done.returncode == 0, done.stderr
    assert "making an environment" in done.stdout
    assert finished.version() == "1.0"


def test_test_tools_are_added_and_then_kept(finished):
    (finished.root / "requirements-dev.txt").write_text("tiny==1.0\n")
    assert "installing 2 packages" in finished.set_up("--dev").stdout
    assert finished.set_up("--dev").stdout == ""
    assert finished.set_up().stdout == ""


def test_unreachable_registry_is_one_line_and_the_next_run_recovers(checkout):
    working = checkout.pip
    checkout.pip = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple",
        "PIP_RETRIES": "0",
        "PIP_DEFAULT_TIMEOUT": "2",
    }
    failed = checkout.set_up()
    line = one_line(failed.stderr)
    assert failed.returncode == 1
    assert "the package registry cannot be reached" in line
    assert str(checkout.root / ".venv" / "candlevault-setup.log") in line
    assert (checkout.root / ".venv" / "candlevault-setup.log").is_file()
    checkout.pip = working
    assert checkout.set_up().returncode == 0
    assert checkout.version() == "1.0"


def test_package_that_the_registry_lacks_is_named(checkout):
    (checkout.root / "requirements.txt").write_text("tiny==9.9\n")
    failed = checkout.set_up()
    assert failed.returncode == 1
    assert "the package registry offers no tiny==9.9" in one_line(failed.stderr)


def test_set_up_killed_half_way_is_done_again_from_the_start(checkout):
    process = subprocess.Popen(
        checkout.command(), env=checkout.environment, stdout=subprocess.DEVNULL
    )
    marker = checkout.root / ".venv" / "pyvenv.cfg"
    while not marker.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    debris = checkout.root / ".venv" / "lib" / "debris"
    debris.mkdir(parents=True, exist_ok=True)
    done = checkout.set_up()
    assert done.returncode == 0, done.stderr
    assert "making an environment" in done.stdout
    assert checkout.version() == "1.0"
    assert not debris.exists()


def test_two_set_ups_at_once_install_once(checkout):
    processes = [
        subprocess.Popen(
            checkout.command(), env=checkout.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("installing" in output for output in outputs) == 1
    assert sum("another set-up of this checkout is running" in output for output in outputs) == 1
    assert checkout.version() == "1.0"


def test_missing_lock_file_is_named(checkout):
    (checkout.root / "requirements.txt").unlink()
    failed = checkout.set_up()
    assert failed.returncode == 1
    assert "requirements.txt is missing" in one_line(failed.stderr)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_write_permission_is_named(checkout):
    checkout.root.chmod(0o500)
    try:
        failed = checkout.set_up()
    finally:
        checkout.root.chmod(0o700)
    assert failed.returncode == 1
    assert "no permission to write" in one_line(failed.stderr)


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess:
    # `make test PYTHON=…` hands its variables down to every make below it.
    handed_down = ("PYTHON", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in handed_down}
    environment |= {"PATH": path} if path else {}
    return subprocess.run(
        ["/usr/bin/env", "make", "--no-print-directory", "-f", str(MAKEFILE), *arguments],
        cwd=paths.PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(folder: Path, name: str, version: tuple[int, int]) -> Path:
    """A program that runs Python's code as if it were of another version."""
    path = folder / name
    path.write_text(
        "#!/bin/sh\n"
        f'for last; do :; done\nexec {sys.executable} -c "import sys; '
        f"sys.version_info = ({version[0]}, {version[1]}, 0); exec('''$last''')\"\n"
    )
    path.chmod(0o755)
    return path


def test_make_help_lists_every_target_with_a_line():
    listed = make("help").stdout
    targets = [
        line.split(":")[0]
        for line in MAKEFILE.read_text().splitlines()
        if line and line[0].islower() and "  ## " in line
    ]
    assert {"setup", "demo", "test", "check", "up", "down", "status", "logs", "psql"} <= {*targets}
    assert [name for name in targets if f"make {name} " not in listed] == []


def test_python_that_is_too_old_is_one_line(tmp_path):
    old = fake_python(tmp_path, "old-python", (3, 10))
    failed = make("setup", f"PYTHON={old}")
    assert failed.returncode != 0
    assert failed.stderr.splitlines()[0] == (
        f"candlevault: {old} is no Python 3.11 or newer; install one or name it: "
        "make PYTHON=/path/to/python3"
    )


def test_python_is_looked_for_among_those_that_run(tmp_path):
    """An old one and a launcher that fails are passed over; the first good one is taken."""
    for tool in ("sh", "make", "awk", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    fake_python(tmp_path, "python3", (3, 10))
    launcher = tmp_path / "python3.13"
    launcher.write_text("#!/bin/sh\necho 'not installed' >&2\nexit 127\n")
    launcher.chmod(0o755)
    failed = make("setup", path=str(tmp_path))
    assert failed.returncode != 0
    assert failed.stderr.startswith("candlevault: found no Python 3.11 or newer (tried python3 ")

    good = tmp_path / "python3.12"
    good.write_text(
        '#!/bin/sh\ncase "$*" in *bootstrap.py*) echo "taken: $*" ;; *) echo "$0" ;; esac\n'
    )
    good.chmod(0o755)
    found = make("setup", path=str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert found.stdout == "taken: -I -B plugins/candlevault/local/bootstrap.py\n"
