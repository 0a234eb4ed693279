"""Which stored series a run is about, from its params."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault import config
from candlevault.errors import InvalidRequest
from candlevault.orchestration import runtime
from candlevault.series import canonical_symbol
from candlevault.storage import series_registry
from candlevault.storage.series_registry import StoredSeries


def stored(params: Mapping[str, object]) -> list[StoredSeries]:
    """The series of the home's own venue named by symbols, limit and timeframe; all by default.

    Raises InvalidRequest for a symbol of which nothing is stored, and when none is left.
    """
    venue = config.setting("CANDLEVAULT_VENUE")
    universe = config.universe()
    chosen = [
        one
        for one in series_registry.everything(runtime.connect_by_hook())
        if one.series.venue == venue
    ]
    if params.get("timeframe"):
        chosen = [one for one in chosen if one.series.timeframe.code == params["timeframe"]]
    given = params.get("symbols")
    if given:
        wanted = {
            canonical_symbol(name, universe.quote_asset, f"symbols[{i}]")
            for i, name in enumerate(given)
        }
        unknown = wanted - {one.series.symbol for one in chosen}
        if unknown:
            raise InvalidRequest("symbols", "nothing is stored of", ", ".join(sorted(unknown)))
        chosen = [one for one in chosen if one.series.symbol in wanted]
    if params.get("limit"):
        keep = list(dict.fromkeys(one.series.symbol for one in chosen))
        keep = keep[: int(str(params["limit"]))]
        chosen = [one for one in chosen if one.series.symbol in keep]
    if not chosen:
        raise InvalidRequest("symbols", "no stored series to work on")
    return chosen
