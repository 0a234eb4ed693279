"""A Binance-compatible exchange on localhost: REST, archive, faults, and a clock to set.

from candlevault.simulator import build_exchange, running

with running(build_exchange("replay:/candles", end="2025-10-01")) as simulator:
    requests.get(f"{simulator.base_url}/api/v3/time")
"""

from candlevault.simulator.app import build_app
from candlevault.simulator.exchange import Exchange, build_exchange
from candlevault.simulator.server import Running, running, serve

__all__ = ["Exchange", "Running", "build_app", "build_exchange", "running", "serve"]
