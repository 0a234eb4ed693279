"""The tools themselves load our exports: each in an environment of its own (`make test-peers`).

What is loaded is compared with what was published, and with an older state, which it must
not equal: a comparison that cannot fail proves nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from candlevault import paths
from candlevault.export import write
from candlevault.export.formats.nautilus_catalog import bar_type
from candlevault.series import parse
from candlevault.timeframe import from_ms
from tests.export.conftest import expected, expected_minutes
from tests.support.market import HOUR, grid

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).with_name("peers")
NAMES = ("open", "high", "low", "close", "volume")
MINUTE = 60_000


def peers() -> Path:
    given = os.environ.get("CANDLEVAULT_PEERS")
    return Path(given) if given else paths.PROJECT / ".peers"


def ask(tool: str, *arguments: object, told: object = None) -> dict:
    """What the tool's script answers; skips aloud where the tool is not set up."""
    python = peers() / tool / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{tool} is not set up here (make test-peers does it)")
    done = subprocess.run(
        [str(python), "-I", str(SCRIPTS / f"load_{tool}.py"), *map(str, arguments)],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Some tools greet on standard output.
    answer = json.loads(done.stdout.splitlines()[-1])
    print(f"{tool} {answer['version']}")
    return answer


# -- freqtrade -------------------------------------------------------------------------------


def floats(stored: list[dict]) -> list[list]:
    return [[row["open_time"], *(float(row[name]) for name in NAMES)] for row in stored]


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_freqtrade_loads_exactly_the_stored_candles(hours, tmp_path, kind):
    market, pair = {"spot": ("spot", "BTC/USDT"), "futures": ("um", "BTC/USDT:USDT")}[kind]
    wanted = dataclasses.replace(hours, series=parse("binance", market, "BTCUSDT", "1h"))
    write(wanted, "freqtrade", tmp_path, allow_lost=True)
    answer = ask("freqtrade", tmp_path, pair, "1h", kind)
    rows = floats(expected())
    assert answer["rows"] == rows
    assert answer["rows"] != floats(expected(revised=False))
    assert answer["available"] == [[pair, "1h", kind]]
    assert answer["bounds"] == [rows[0][0], rows[-1][0], len(rows)]
    # By default freqtrade bridges holes; only the sidecar tells which rows it made up.
    first, last = rows[0][0], rows[-1][0]
    assert answer["rows_with_holes_filled"] == (last - first) // HOUR + 1 > len(rows)


def test_freqtrade_loads_an_old_state(story, tmp_path):
    write(story.read(as_of=story.first), "freqtrade", tmp_path, allow_lost=True)
    answer = ask("freqtrade", tmp_path, "BTC/USDT", "1h", "spot")
    assert answer["rows"] == floats(expected(revised=False))


# -- nautilus_trader -------------------------------------------------------------------------


def bars(stored: list[dict], step_ms: int) -> list[list]:
    return [
        [*(f"{row[name]:f}" for name in NAMES), (row["open_time"] + step_ms) * 1_000_000]
        for row in stored
    ]


@pytest.mark.parametrize(
    ("which", "market", "options", "precisions"),
    [
        ("hours", "spot", {}, [[8, 8]]),
        ("hours", "um", {}, [[8, 8]]),
        ("minutes", "spot", {}, [[8, 1]]),
        ("minutes", "spot", {"price_precision": 10, "size_precision": 5}, [[10, 5]]),
    ],
)
def test_nautilus_reads_bars_equal_to_ours(request, tmp_path, which, market, options, precisions):
    read = request.getfixturevalue(which)
    series = dataclasses.replace(read.series, market=market)
    write(
        dataclasses.replace(read, series=series),
        "nautilus",
        tmp_path,
        allow_lost=True,
        options=options,
    )
    stored = expected() if which == "hours" else expected_minutes()
    rows = bars(stored, HOUR if which == "hours" else MINUTE)
    answer = ask("nautilus", tmp_path, bar_type(series), told=rows)
    assert answer["equal"] is True
    assert answer["types"] == ["bar"]
    assert answer["precisions"] == precisions
    assert [row[5:] for row in answer["rows"]] == [[row[5]] * 2 for row in rows]
    assert answer["from_the_middle"] == len(rows) - len(rows) // 2
    assert answer["intervals"] == [[rows[0][5], rows[-1][5]]]


def test_nautilus_reads_an_old_state_which_is_not_the_new_one(story, tmp_path):
    read = story.read(as_of=story.first)
    write(read, "nautilus", tmp_path, allow_lost=True)
    name = bar_type(read.series)
    assert ask("nautilus", tmp_path, name, told=bars(expected(revised=False), HOUR))["equal"]
    assert not ask("nautilus", tmp_path, name, told=bars(expected(), HOUR))["equal"]


# -- qlib ------------------------------------------------------------------------------------


def single(stored: list[dict]) -> list[list]:
    """As float32, which is what qlib keeps."""
    return [
        [
            from_ms(row["open_time"]).replace(tzinfo=None).isoformat(),
            *(float(np.float32(float(row[name]))) for name in NAMES),
            1.0,
        ]
        for row in stored
    ]


def dumped(folder: Path, frequency: str, instrument: str) -> dict:
    script = Path(os.environ.get("QLIB_SCRIPTS") or peers() / "qlib-scripts") / "dump_bin.py"
    if not script.exists():
        pytest.skip(f"no {script}: its release lacks it; set QLIB_SCRIPTS to qlib's scripts folder")
    return ask("qlib", script, folder / frequency, folder / "dumped", frequency, instrument)


def test_qlib_dumps_and_reads_what_is_stored(hours, tmp_path):
    write(hours, "qlib", tmp_path, allow_lost=True)
    answer = dumped(tmp_path, "60min", "BTCUSDT")
    assert answer["instruments"] == ["BTCUSDT"]
    assert answer["rows"] == single(expected())
    assert answer["rows"] != single(expected(revised=False))


def test_qlib_dumps_and_reads_minutes(minutes, tmp_path):
    write(minutes, "qlib", tmp_path)
    assert dumped(tmp_path, "1min", "ETHUSDT")["rows"] == single(expected_minutes())


def test_qlib_dumps_and_reads_days(hours, tmp_path):
    """The values of every 24th candle, called days."""
    days = hours.table.take([0, 22])
    daily = dataclasses.replace(
        hours, series=parse("binance", "spot", "BTCUSDT", "1d"), table=days, absences=(), lost=()
    )
    write(daily, "qlib", tmp_path)
    wanted = [expected()[0], expected()[22]]
    assert [row["open_time"] for row in wanted] == grid(hours.window)[::24]
    assert dumped(tmp_path, "day", "BTCUSDT")["rows"] == single(wanted)
