"""Which provider is asked first, and what happens when it does not deliver. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from candlevault.errors import InvalidRequest, NoneDelivered, ProviderError
from candlevault.providers.capabilities import CAPABILITIES, CRYPTO, FOREX, STOCKS

T = TypeVar("T")

DEFAULT_ORDER: Mapping[str, tuple[str, ...]] = {
    CRYPTO: ("binance", "coingecko", "polygon"),
    STOCKS: ("polygon", "yahoo", "alphavantage"),
    FOREX: ("oanda", "polygon"),
}
"""Providers by class of asset, the first to be asked first."""

_ALSO_CALLED: Mapping[str, str] = {
    "alpha_vantage": "alphavantage",
    "massive": "polygon",
    "yfinance": "yahoo",
}


def known_providers(asset_class: str) -> tuple[str, ...]:
    """Every provider that can be put into an order for a class of assets, sorted."""
    if asset_class not in DEFAULT_ORDER:
        rule = f"must be one of {', '.join(DEFAULT_ORDER)}"
        raise InvalidRequest("asset_class", rule, asset_class)
    serving = {name for name, one in CAPABILITIES.items() if asset_class in one.markets}
    return tuple(sorted(serving | set(DEFAULT_ORDER[asset_class])))


def parse_priority(
    given: object,
    asset_class: str,
    also: Collection[str] = (),
    field: str = "provider_priority",
) -> tuple[str, ...]:
    """A user's own order of providers, checked; the default one for None.

    `given` is a list of names or one text with commas; `also` are further names that may
    be in it (exchanges). Raises InvalidRequest naming the field and what is known.
    """
    known = (*known_providers(asset_class), *also)
    if given is None:
        return DEFAULT_ORDER[asset_class]
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not names:
        raise InvalidRequest(field, "must be a list of one provider or more", given)
    order: list[str] = []
    for position, name in enumerate(names):
        where = f"{field}[{position}]"
        plain = name.strip().lower() if isinstance(name, str) else name
        provider = _ALSO_CALLED.get(plain, plain) if isinstance(plain, str) else plain
        if provider not in known:
            shown = ", ".join(known_providers(asset_class))
            more = " or an exchange" if also else ""
            raise InvalidRequest(where, f"must be one of {shown}{more} for {asset_class}", name)
        if provider in order:
            raise InvalidRequest(where, "is named twice", name)
        order.append(provider)
    return tuple(order)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider to try; with `skip`, why it is not even asked."""

    provider: str
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A provider that did not deliver and why; `error` is None for one that was not asked."""

    provider: str
    reason: str
    error: ProviderError | None = None


@dataclass(frozen=True, slots=True)
class Delivered(Generic[T]):
    """What the first provider that delivered gave, and those passed over before it."""

    provider: str
    value: T
    passed_over: tuple[PassedOver, ...]


def candidates(
    order: Iterable[str],
    market: str,
    timeframe: str,
    has_key: Callable[[str], bool],
) -> list[Candidate]:
    """The providers of an order, those that cannot serve the question marked with why.

    `has_key` says whether an Airflow Connection holds a key. A provider without an entry in
    CAPABILITIES (the home's own venue, an exchange) is never marked.
    """
    return [Candidate(name, _reason_to_skip(name, market, timeframe, has_key)) for name in order]


def _reason_to_skip(
    provider: str, market: str, timeframe: str, has_key: Callable[[str], bool]
) -> str | None:
    known = CAPABILITIES.get(provider)
    if known is None:
        return None
    if known.key_needed and not has_key(known.connection):
        return f"no key: there is no Airflow Connection {known.connection} with a password"
    return known.refusal(market, timeframe)


def try_in_order(tried: Sequence[Candidate], attempt: Callable[[str], T]) -> Delivered[T]:
    """What `attempt(provider)` returns for the first candidate that delivers.

    A ProviderError passes the candidate over; any other error is raised. Raises
    NoneDelivered when none delivers, with each one's reason; it is transient if one of
    their errors is.
    """
    passed: list[PassedOver] = []
    for candidate in tried:
        if candidate.skip is not None:
            passed.append(PassedOver(candidate.provider, f"skipped: {candidate.skip}"))
            continue
        try:
            value = attempt(candidate.provider)
        except ProviderError as error:
            passed.append(PassedOver(candidate.provider, str(error), error))
        else:
            return Delivered(candidate.provider, value, tuple(passed))
    reasons = "; ".join(f"{one.provider}: {one.reason}" for one in passed) or "none to try"
    transient = any(one.error is not None and one.error.transient for one in passed)
    raise NoneDelivered(f"no provider delivered: {reasons}", transient=transient)
