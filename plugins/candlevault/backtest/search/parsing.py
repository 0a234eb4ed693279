"""From a payload of a sweep to a request and back, every default applied, every rule checked."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from candlevault.backtest import payload as payloads
from candlevault.backtest.engine.codes import INTRABAR_MODES, RESOLVED
from candlevault.backtest.payload import FindSaved
from candlevault.backtest.schema import conform
from candlevault.backtest.search import axes as axis_reading
from candlevault.backtest.search import enumeration, folds, schema
from candlevault.backtest.search.axes import RISK, Axis, Searchable
from candlevault.backtest.search.recipe import Recipe, inside
from candlevault.backtest.search.request import SweepRequest, WalkForward
from candlevault.backtest.search.schema import GRID, LIST, RANDOM
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest


def parse(
    conf: Mapping,
    *,
    now: datetime | None = None,
    default_venue: str = "binance",
    default_market: str = "spot",
    find_saved: FindSaved | None = None,
) -> SweepRequest:
    """The request of a payload, every default applied; arguments as for a backtest's payload.

    Raises InvalidRequest naming the dotted field that is wrong; the fields of the backtest
    start with `backtest.`.
    """
    values = conform(conf, schema.outline(), "")
    backtest = {"venue": default_venue, "market": default_market, **values["backtest"]}
    search = values["search"]
    names = set(search["params"]).union(*(_combination(one, i) for i, one in _listed(search)))
    name, fixed, saved = _strategy(backtest, names, find_saved)
    strategy = registry.get(name, "backtest.strategy.name")
    form = None
    with inside("backtest"):
        if strategy.params is not None:
            fixed = form = strategy.parse_params(fixed)
        else:
            # Whether they fit together is only seen with the others.
            conform(fixed, strategy.params_schema, "strategy.params")
    recipe = Recipe(strategy, fixed, _without(backtest, names))
    axes, combinations = _combinations(search, Searchable(strategy, form), recipe)
    first = enumeration.values_at(axes, combinations.rows[0].tolist())
    request = recipe.request(first, recipe.params(first), now=now)
    if request.intrabar.mode == INTRABAR_MODES[RESOLVED]:
        raise InvalidRequest(
            "backtest.intrabar.mode",
            "must not be resolved in a sweep; run the best point again with it",
        )
    walk_forward = _walk_forward(values["walk_forward"])
    if walk_forward is not None:
        folds.plan(request, walk_forward)
    shared = payloads.canonical(request)
    shared["strategy"] = {
        "name": strategy.name,
        "params": _fixed_params(strategy, fixed, recipe.params(first), names),
        **saved,
    }
    return SweepRequest(
        backtest=request,
        shared=_without(shared, names),
        method=search["method"],
        axes=axes,
        combinations=combinations,
        samples=search["samples"],
        seed=(search["seed"] or 0) if search["method"] == RANDOM else None,
        rank_by=values["rank_by"],
        walk_forward=walk_forward,
        recipe=recipe,
    )


def canonical(request: SweepRequest) -> dict:
    """The payload of `request` with every default filled in, JSON-able, keys in a fixed order.

    Ranges are written out. `parse(canonical(request))` makes the same points.
    """
    listed = request.method == LIST
    walk = request.walk_forward
    return {
        "backtest": copy.deepcopy(dict(request.shared)),
        "search": {
            "method": request.method,
            "params": {} if listed else {axis.name: list(axis.values) for axis in request.axes},
            "samples": request.samples,
            "seed": request.seed,
            "list": [request.given(i) for i in range(1, len(request) + 1)] if listed else [],
        },
        "rank_by": request.rank_by,
        "walk_forward": walk
        and {
            "in_sample_days": walk.in_sample_days,
            "out_of_sample_days": walk.out_of_sample_days,
            "step_days": walk.step_days,
            "anchored": walk.anchored,
        },
    }


def sweep_hash(request: SweepRequest) -> str:
    """SHA-256 (hex) of the canonical payload; equal for payloads that mean the same."""
    document = json.dumps(
        canonical(request), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(document.encode()).hexdigest()


def _combinations(
    search: Mapping, searchable: Searchable, recipe: Recipe
) -> tuple[tuple[Axis, ...], enumeration.Combinations]:
    _refuse_stray(search)
    known: dict[str, object] = {}

    def check_strategy(given: Mapping) -> None:
        known.setdefault("params", recipe.params(given))

    def check_risk(given: Mapping) -> None:
        # Any settings of the strategy that are valid will do.
        recipe.settings(given, known["params"])

    if search["method"] == LIST:
        given = [_checked(one, searchable, f"search.list[{i}]") for i, one in _listed(search)]
        names = sorted({name for one in given for name in one}, key=searchable.order)
        axes = tuple(
            Axis(name, axis_reading.distinct(one[name] for one in given if name in one))
            for name in names
        )
        return axes, enumeration.listed(given, axes, check_strategy, check_risk)
    axes = axis_reading.read(search["params"], searchable)
    if search["method"] == GRID:
        return axes, enumeration.grid(axes, check_strategy, check_risk)
    return axes, enumeration.random(
        axes, search["samples"], search["seed"] or 0, check_strategy, check_risk
    )


def _checked(given: Mapping, searchable: Searchable, place: str) -> dict[str, object]:
    """The values of one combination of a list, in the order of the axes."""
    return {
        name: searchable.value(
            given[name], searchable.schema(name, f"{place}.{name}"), f"{place}.{name}"
        )
        for name in sorted(given, key=searchable.order)
    }


def _refuse_stray(search: Mapping) -> None:
    """Refuse what does not belong to the method, and miss what does."""
    method = search["method"]
    owners = {"params": (GRID, RANDOM), "samples": (RANDOM,), "seed": (RANDOM,), "list": (LIST,)}
    for name, methods in owners.items():
        given = search[name] not in (None, {}, [])
        if given and method not in methods:
            raise InvalidRequest(
                f"search.{name}", f"belongs to method {' or '.join(methods)}, not {method}"
            )
        if not given and method in methods and name != "seed":
            raise InvalidRequest(f"search.{name}", f"is required by method {method}")


def _listed(search: Mapping) -> list[tuple[int, object]]:
    return list(enumerate(search["list"]))


def _combination(given: object, number: int) -> Sequence[str]:
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"search.list[{number}]", "must be an object", given)
    return list(given)


def _strategy(
    backtest: Mapping, names: set[str], find_saved: FindSaved | None
) -> tuple[str, dict, dict]:
    """Name and fixed settings of the strategy, and the id and version it was saved under."""
    given = backtest.get("strategy")
    by_id = isinstance(given, Mapping) and given.get("id") is not None
    if (
        not isinstance(given, Mapping)
        or not isinstance(given.get("name"), str)
        or (by_id and find_saved is not None)
    ):
        # The risk rules may only be whole with what is searched of them.
        plain = {name: value for name, value in backtest.items() if name != "risk"}
        with inside("backtest"):
            choice = payloads.parse(plain, find_saved=find_saved).strategy
        saved = {"id": choice.strategy_id, "version": choice.version}
        fixed = {name: value for name, value in choice.params.items() if name not in names}
        free = registry.get(choice.name).params is not None
        return choice.name, choice.params if free else fixed, saved
    params = given.get("params")
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise InvalidRequest("backtest.strategy.params", "must be an object", params)
    strategy = registry.get(given["name"], "backtest.strategy.name")
    for name in params:
        if name in names and strategy.params is None:
            raise InvalidRequest(
                f"backtest.strategy.params.{name}", "is searched; leave it out here", params[name]
            )
    saved = {name: given[name] for name in ("id", "version") if given.get(name) is not None}
    return given["name"], dict(params), saved


def _fixed_params(strategy, fixed: Mapping, params: Mapping, names: set[str]) -> dict:
    """What is not searched, defaults included."""
    if strategy.params is not None:
        return dict(fixed)
    return {name: value for name, value in params.items() if name not in names}


def _without(payload: Mapping, names: set[str]) -> dict:
    """`payload` without the numbers of the risk rules among `names`."""
    answer = copy.deepcopy(dict(payload))
    for name in names:
        if not name.startswith(RISK):
            continue
        *parents, last = name.split(".")
        place = answer
        for part in parents:
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return answer


def _walk_forward(given: Mapping | None) -> WalkForward | None:
    if given is None:
        return None
    step = given["step_days"] or given["out_of_sample_days"]
    if step < given["out_of_sample_days"]:
        raise InvalidRequest(
            "walk_forward.step_days",
            f"must be at least out_of_sample_days ({given['out_of_sample_days']}), or days would"
            " be run twice",
            step,
        )
    return WalkForward(
        given["in_sample_days"], given["out_of_sample_days"], step, given["anchored"]
    )
