"""Running the simulator: as a process until a signal, or in a thread for tests."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from candlevault.errors import SetupError
from candlevault.simulator.app import build_app
from candlevault.simulator.exchange import Exchange

_START_SECONDS = 20
_GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that answers at `base_url`, such as `http://127.0.0.1:40123`."""

    base_url: str
    exchange: Exchange


def serve(exchange: Exchange, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then return. Prints one line once it is ready.

    Port 0 takes a free one. Raises SetupError when the port cannot be had.
    """
    with _bound(host, port) as sock:
        server = _Server(_config(exchange))
        server.announcement = (
            f"simulator ready on http://{host}:{sock.getsockname()[1]} "
            f"({exchange.source.label}), venue time {exchange.clock}"
        )
        # uvicorn shuts down on these by itself and then raises them once more; with handlers of
        # our own that ends the process with status 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.stop)
        server.run(sockets=[sock])


@contextlib.contextmanager
def running(exchange: Exchange, host: str = "127.0.0.1", port: int = 0) -> Iterator[Running]:
    """A simulator in a thread of this process, on a free port, for the time of the block."""
    with _bound(host, port) as sock:
        server = _Server(_config(exchange))
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [sock]}, name="simulator", daemon=True
        )
        thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise SetupError("the simulator did not start")
            time.sleep(0.005)
        try:
            yield Running(f"http://{host}:{sock.getsockname()[1]}", exchange)
        finally:
            server.should_exit = True
            thread.join(_GRACE_SECONDS + 3)


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SetupError(f"cannot listen on {host}:{port}: {error}") from error
    return sock


def _config(exchange: Exchange) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(_expected)
    return uvicorn.Config(
        build_app(exchange),
        access_log=False,
        # The process that embeds the simulator owns the logging; warnings reach stderr.
        log_config=None,
        log_level="warning",
        ws="none",
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
        backlog=512,
    )


def _expected(record: logging.LogRecord) -> bool:
    """Drops the complaint about answers that were cut on purpose."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """Announces itself once it is ready."""

    announcement = ""

    def stop(self, *_: object) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.announcement and not self.should_exit:
            print(self.announcement, flush=True, file=sys.stdout)
