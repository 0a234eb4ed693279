"""Which exchange a home talks to: the real one, a replay of files, or a generated one.

A home keeps one exchange for life, so that simulated candles never mix with real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from candlevault.errors import SetupError
from candlevault.local.files import read_json, write_atomically

LIVE_REST_URL = "https://data-api.binance.vision"
LIVE_REST_URLS = (LIVE_REST_URL, "https://api.binance.com")
LIVE_FUTURES_URL = "https://fapi.binance.com"
LIVE_ARCHIVE_URL = "https://data.binance.vision"
LIVE_LISTING_URL = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
PROBE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exchange of a home.

    `kind` is `live`, `simulated` or `replay`; `directory` holds the files of a replay;
    `end` is where the simulator's clock stands (ISO, as the user wrote it), None for its
    own choice. The URLs are those that the providers use; `simulator_url` is None for live.
    """

    kind: str
    directory: Path | None = None
    end: str | None = None
    rest_url: str = LIVE_REST_URL
    futures_url: str = LIVE_FUTURES_URL
    archive_url: str = LIVE_ARCHIVE_URL
    listing_url: str = LIVE_LISTING_URL
    simulator_url: str | None = None

    @property
    def name(self) -> str:
        """What the user writes for it: `live`, `simulated` or `replay:DIR`."""
        return f"replay:{self.directory}" if self.kind == "replay" else self.kind

    @property
    def venue(self) -> str:
        """Under which venue its candles are stored: a generated walk is never `binance`."""
        return "simulated" if self.kind == "simulated" else "binance"


def parse(text: str, *, end: str | None, simulator_port: int, live_rest_url: str) -> Exchange:
    """The Exchange that `text` (`live`, `simulated`, `replay:DIR`) names; not `auto`."""
    if text == "live":
        return Exchange(kind="live", end=end, rest_url=live_rest_url)
    base = f"http://127.0.0.1:{simulator_port}"
    urls = {
        "rest_url": base,
        "futures_url": base,
        "archive_url": f"{base}/archive",
        "listing_url": f"{base}/archive-listing",
        "simulator_url": base,
    }
    if text == "simulated":
        return Exchange(kind="simulated", end=end, **urls)
    kind, _, directory = text.partition(":")
    if kind == "replay" and directory:
        path = Path(directory).expanduser().resolve()
        return Exchange(kind="replay", directory=path, end=end, **urls)
    raise SetupError(f"EXCHANGE must be auto, live, simulated or replay:DIR (given: {text!r})")


def settle(
    record: Path,
    wanted: str,
    end: str | None,
    simulator_port: int,
    say: Callable[[str], None],
) -> Exchange:
    """The exchange of the home whose `record` file this is; written down at the first call.

    `wanted` is what the user asks for now. Anything but `auto` or what is recorded raises
    SetupError. A new `end` replaces the recorded one, None keeps it.
    """
    known = read_json(record) or {}
    if not known:
        live_rest_url = LIVE_REST_URL
        if wanted == "auto":
            reached = reachable_live_url()
            wanted = "live" if reached else "simulated"
            live_rest_url = reached or LIVE_REST_URL
            _announce(wanted, live_rest_url, say)
        chosen = parse(wanted, end=end, simulator_port=simulator_port, live_rest_url=live_rest_url)
        _require_directory(chosen)
        _write(record, chosen, live_rest_url)
        return chosen
    live_rest_url = str(known.get("live_rest_url") or LIVE_REST_URL)
    kept = parse(
        str(known["exchange"]),
        end=end or known.get("end"),
        simulator_port=simulator_port,
        live_rest_url=live_rest_url,
    )
    if wanted != "auto":
        asked = parse(wanted, end=end, simulator_port=simulator_port, live_rest_url=live_rest_url)
        if asked.name != kept.name:
            raise SetupError(
                f"this home holds candles of EXCHANGE={kept.name}, not of {asked.name}; choose "
                f"another CANDLEVAULT_HOME, or `make down` and remove {record.parent}"
            )
    _require_directory(kept)
    if kept.end != known.get("end"):
        _write(record, kept, live_rest_url)
    return kept


def recorded(record: Path, simulator_port: int) -> Exchange | None:
    """The exchange that a home's `record` file names; None where it was never started."""
    known = read_json(record)
    if not known:
        return None
    return parse(
        str(known["exchange"]),
        end=known.get("end"),
        simulator_port=simulator_port,
        live_rest_url=str(known.get("live_rest_url") or LIVE_REST_URL),
    )


def reachable_live_url(seconds: float = PROBE_SECONDS) -> str | None:
    """The first of Binance's REST addresses that answers from here, None if none does."""
    for url in LIVE_REST_URLS:
        try:
            answer = requests.get(f"{url}/api/v3/ping", timeout=seconds)
            if answer.status_code == 200 and answer.json() == {}:
                return url
        except (requests.RequestException, ValueError):
            continue
    return None


def _announce(wanted: str, live_rest_url: str, say: Callable[[str], None]) -> None:
    if wanted == "live":
        say(f"EXCHANGE=auto: Binance answers ({live_rest_url}); this home will hold real candles")
        return
    say("*" * 78)
    say("EXCHANGE=auto: Binance cannot be reached from here. This home will use the built-in")
    say("SIMULATOR: its prices are INVENTED and are stored under the venue 'simulated'.")
    say("*" * 78)


def _require_directory(exchange: Exchange) -> None:
    if exchange.directory is not None and not exchange.directory.is_dir():
        raise SetupError(f"EXCHANGE={exchange.name}: there is no such directory")


def _write(record: Path, exchange: Exchange, live_rest_url: str) -> None:
    content = {"exchange": exchange.name, "end": exchange.end, "live_rest_url": live_rest_url}
    write_atomically(record, json.dumps(content, indent=1) + "\n")
