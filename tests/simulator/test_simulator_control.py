"""The control surface and the process: clock, statistics, reset, ready line, exit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z


@pytest.fixture
def venue(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 48)
    return serve(files.exchange(end="2024-01-02"))


def server_time(venue) -> int:
    return venue.get("/api/v3/time").json()["serverTime"]


def test_the_clock_is_frozen_until_it_is_set(venue):
    assert server_time(venue) == FIRST + 86_400_000 + 60_000
    told = venue.control("POST", "clock", {"now": "2024-01-01T05:30:00Z"}).json()
    assert told == {"now": "2024-01-01T05:30:00Z", "now_ms": FIRST + 19_800_000, "running": False}
    assert server_time(venue) == FIRST + 19_800_000
    assert venue.klines(limit=1)[0][0] == FIRST + 18_000_000


def test_the_clock_can_run_from_where_it_stands_and_be_stopped(venue):
    venue.control("POST", "clock", {"now": "2024-01-01T05:30:00Z", "running": True})
    time.sleep(0.03)
    assert FIRST + 19_800_000 < server_time(venue) < FIRST + 19_810_000
    venue.control("POST", "clock", {"running": False})
    stood = server_time(venue)
    time.sleep(0.01)
    assert server_time(venue) == stood


def test_the_clock_can_be_the_real_time(venue):
    venue.control("POST", "clock", {"now": None})
    assert abs(server_time(venue) - time.time() * 1000) < 5000


@pytest.mark.parametrize(
    "body", [None, {}, [], {"now": "noon"}, {"now": True}, {"now": None, "running": 1}, {"at": 1}]
)
def test_a_clock_that_cannot_be_understood_is_refused(venue, body):
    assert venue.control("POST", "clock", body).status_code == 400
    assert server_time(venue) == FIRST + 86_400_000 + 60_000


def test_statistics_count_by_kind_and_status_and_name_unexpected_paths(venue):
    venue.klines(limit=3)
    venue.get("/api/v3/klines", symbol="NOPE", interval="1h")
    venue.get("/api/v3/ping")
    venue.get("/api/v3/depth")
    venue.get("/favicon.ico")
    venue.archive("data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip")
    stats = venue.stats()
    assert stats["by_kind"] == {
        "archive.zip": 1,
        "spot.klines": 2,
        "spot.ping": 1,
        "unexpected": 2,
    }
    assert stats["by_status"] == {"200": 2, "400": 1, "404": 3}
    assert stats["unexpected_paths"] == {"/api/v3/depth": 1, "/favicon.ico": 1}
    assert (stats["klines_rows"], stats["klines_by_series"]) == (3, {"spot/BTCUSDT/1h": 1})


def test_faulted_answers_are_counted_under_the_kind_that_was_asked_for(venue):
    venue.fault("451", times=1)
    venue.get("/api/v3/klines")
    assert venue.stats()["by_kind"] == {"spot.klines": 1}
    assert venue.stats()["faults_struck"] == 1


def test_reset_brings_back_the_state_of_the_start(venue):
    venue.control("POST", "clock", {"now": "2024-01-01"})
    venue.fault("500")
    venue.get("/api/v3/ping")
    state = venue.control("POST", "reset").json()
    assert state["faults"] == []
    assert state["clock"]["now"] == "2024-01-02T00:01:00Z"
    assert venue.stats()["requests"] == 0
    assert venue.get("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_an_unknown_control_request_lists_the_known_ones(venue):
    answer = venue.control("POST", "stats")
    assert answer.status_code == 404
    assert "POST /_control/reset" in answer.json()["known"]


def test_only_get_and_head_are_served(exchange_with_file, listen):
    venue = listen(exchange_with_file)
    assert httpx.post(venue.base_url + "/api/v3/ping").status_code == 405
    head = httpx.head(venue.base_url + "/api/v3/time")
    assert (head.status_code, head.content) == (200, b"")


@pytest.fixture
def exchange_with_file(files):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 48)
    return files.exchange(end="2024-01-02")


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "candlevault.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_when_it_is_ready_and_ends_cleanly_by_a_signal(files, number):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 48)
    exchange = f"replay:{files.root}"
    process = start("--exchange", exchange, "--port", "0", "--end", "2024-01-02")
    try:
        line = process.stdout.readline()
        ready = re.match(
            r"simulator ready on (http://127\.0\.0\.1:\d+) \(replay .*\), venue time "
            r"2024-01-02T00:01:00Z",
            line,
        )
        assert ready, line + process.stderr.read()
        with httpx.Client() as kept_alive:
            assert kept_alive.get(ready[1] + "/api/v3/ping").status_code == 200
            process.send_signal(number)
            assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exchange", "replay:/does/not/exist"], "no such replay directory"),
        (["--exchange", "binance"], "replay:DIR or simulated"),
        (["--exchange", "simulated", "--now", "tomorrow"], "ISO instant"),
    ],
)
def test_a_start_that_cannot_be_is_one_line_and_status_1(arguments, words):
    process = start(*arguments, "--port", "0")
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert words in complaint
    assert complaint.count("\n") == 1


def test_a_taken_port_is_said_in_one_line(exchange_with_file, listen):
    taken = listen(exchange_with_file).base_url.rpartition(":")[2]
    process = start("--exchange", "simulated", "--port", taken)
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{taken}" in complaint
