"""The command-line twin: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from candlevault import paths
from candlevault.candles import PRICES
from candlevault.export import __main__ as command_line
from candlevault.export import checking
from candlevault.export.formats.registry import FORMATS
from tests.export.conftest import expected

ASKED = ["BTCUSDT", "1h", "--start", "2024-01-01", "--end", "2024-01-03"]


@pytest.fixture(autouse=True)
def database(story, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", story.url)


def run(capsys, *arguments: str) -> tuple[int, list[str], list[str]]:
    code = command_line.main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err.splitlines()


def test_candles_are_printed_with_what_is_missing_below(capsys, hours):
    code, out, _ = run(capsys, "candles", *ASKED, "--rows", "0")
    assert code == 0
    assert out[0].split() == ["open_time", *PRICES, "volume", "quote_volume", "trades"]
    rows = [line.split() for line in out[1 : 1 + len(expected())]]
    assert rows[0][:2] == ["2024-01-01T00:00:00Z", f"{expected()[0]['open']:f}"]
    assert [row[7] for row in rows] == [str(row["trades_count"]) for row in expected()]
    below = "\n".join(out[1 + len(expected()) :])
    absent = "known absent [2024-01-01T10:00:00Z, 2024-01-01T12:00:00Z)  not_published"
    assert absent in below
    assert "LOST         [2024-01-02T20:00:00Z, 2024-01-02T21:00:00Z)" in below
    assert f"fingerprint  {hours.fingerprint}" in below
    assert "(revision 2)" in below


def test_a_long_table_is_cut_in_the_middle_and_says_so(capsys):
    for rows, shown in ((5, 5), (1, 1), (45, 45)):
        _, out, _ = run(capsys, "candles", *ASKED, "--rows", rows)
        lines = [line for line in out if line.lstrip().startswith("2024-")]
        assert len(lines) == shown
        cut = [line for line in out if "more …" in line]
        assert cut == ([f"… {45 - rows} more …"] if rows < 45 else [])
    assert lines[-1].split()[0] == "2024-01-02T23:00:00Z"


def test_an_old_state_is_printed(capsys, story):
    _, out, _ = run(capsys, "candles", *ASKED, "--as-of", story.first.isoformat())
    assert any("(revision 1)" in line for line in out)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written(capsys, tmp_path, name, hours):
    asked = ["write", *ASKED, "--format", name, "--out", tmp_path, "--allow-lost"]
    code, out, err = run(capsys, *asked)
    assert code == 0
    assert out[-1].endswith(f"fingerprint {hours.fingerprint}")
    assert err == [f"writing 45 candles of binance/spot/BTCUSDT/1h as {name}"]
    sidecar = tmp_path / f"BTCUSDT__1h.{name}.candlevault.json"
    assert str(sidecar) in out
    assert checking.check(sidecar).problems == ()
    code, out, _ = run(capsys, *asked)
    assert code == 0 and out[0].startswith("unchanged")


def test_options_of_a_format_are_flags(capsys, tmp_path):
    asked = ["write", *ASKED, "--out", tmp_path, "--allow-lost", "--format"]
    assert run(capsys, *asked, "csv", "--mark-absent")[0] == 0
    assert "lost" in (tmp_path / "BTCUSDT__1h.csv").read_text()
    assert run(capsys, *asked, "nautilus", "--price-precision", "9")[0] == 0
    told = json.loads((tmp_path / "BTCUSDT__1h.nautilus.candlevault.json").read_text())
    assert told["options"] == {"price_precision": 9, "size_precision": None}


def test_the_formats_are_listed_with_their_options(capsys):
    code, out, _ = run(capsys, "formats")
    text = "\n".join(out)
    assert code == 0
    for form in FORMATS.values():
        assert form.name in text and form.help in text
        for option in form.options:
            assert f"--{option.name.replace('_', '-')}" in text


def test_an_export_is_checked(capsys, tmp_path):
    run(capsys, "write", *ASKED, "--format", "parquet", "--out", tmp_path, "--allow-lost")
    sidecar = tmp_path / "BTCUSDT__1h.parquet.candlevault.json"
    code, out, _ = run(capsys, "check", sidecar, "--store")
    assert code == 0 and "the store agrees" in out[-1]
    (tmp_path / "BTCUSDT__1h.parquet").write_bytes(b"")
    code, out, _ = run(capsys, "check", sidecar)
    assert code == 1
    assert out[-1].startswith("WRONG  BTCUSDT__1h.parquet has 0 bytes")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["candles", "BTC/USDT", *ASKED[1:]], "symbol"),
        (["candles", "SOLUSDT", *ASKED[1:]], "backfill__SOLUSDT__1h"),
        (["candles", "BTCUSDT", "2h", *ASKED[2:]], "timeframe"),
        (["candles", *ASKED[:-1], "2023-01-01"], "end: must lie after start"),
        (["candles", *ASKED, "--as-of", "tomorrow"], "as_of"),
        (["candles", *ASKED, "--venue", "NYSE"], "venue"),
        (["write", *ASKED, "--format", "xlsx", "--out", "x"], "format: must be one of parquet"),
        (["write", *ASKED, "--format", "csv", "--out", "{out}"], "candles are lost"),
        (["write", *ASKED, "--format", "csv", "--allow-lost", "--out", "/proc/x"], "/proc/x"),
        (["check", "{out}/nothing.candlevault.json"], "No such file"),
    ],
)
def test_errors_are_one_line_and_exit_code_two(capsys, tmp_path, arguments, told):
    code, out, err = run(capsys, *(part.replace("{out}", str(tmp_path)) for part in arguments))
    assert (code, out) == (2, [])
    assert len(err[-1:]) == 1 and err[-1].startswith("candlevault: ")
    assert told in err[-1]
    assert [line for line in err[:-1] if not line.startswith("writing")] == []


@pytest.mark.parametrize(
    "url", ["", "postgresql://nobody@127.0.0.1:1/nothing", "postgresql://[broken"]
)
def test_a_database_that_is_not_there_is_one_line_too(capsys, monkeypatch, url):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", url)
    code, _, err = run(capsys, "candles", *ASKED)
    assert code == 2 and len(err) == 1


def process(*arguments: str, **more) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(paths.PLUGINS), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "candlevault.export", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_as_a_process_it_works_and_fails_without_a_traceback():
    with process("candles", *ASKED, "--rows", "3") as done:
        out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    assert "fingerprint" in out
    with process("candles", "SOLUSDT", *ASKED[1:]) as done:
        out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "")
    assert err.startswith("candlevault: symbol") and "Traceback" not in err


def test_a_reader_that_leaves_early_is_no_error_to_shout_about():
    with process("candles", *ASKED, "--rows", "0") as done:
        done.stdout.close()
        err = done.stderr.read()
    assert "Traceback" not in err and "Exception" not in err
