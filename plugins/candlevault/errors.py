"""Every error Candlevault raises on purpose.

    CandlevaultError
    ├── InvalidRequest          the caller asked for something that cannot be
    ├── ConfigurationError      a setting or a file of the project is wrong
    ├── DataMissing             candles that the work needs are not obtainable
    ├── CheckFailed             a quality check found violations
    ├── StrategyFailed          a strategy broke down, or a rule of its contract
    ├── NotRepeated             a stored result does not come out again
    ├── LeaseLost               another worker took the batch over  (transient)
    ├── SeriesBusy              another run is loading the series   (transient)
    ├── PartlyFailed            some of many series failed
    ├── StorageError            the store refused or contradicts itself
    │   └── ColdFileDamaged     a file of the cold tier is missing or not what was written
    ├── SetupError              the local system cannot be set up or started
    └── ProviderError           a provider did not deliver
        ├── RateLimited         wait, then try again            (transient)
        ├── Unavailable         network, 5xx, time-out          (transient)
        ├── GeoBlocked          this address is not served      (permanent)
        ├── UnknownSymbol       the venue has no such symbol    (permanent)
        ├── NotPublished        the archive has no such file    (permanent for now)
        ├── BadPayload          the answer is not what it should be
        ├── KeyMissing          no key, or the provider refuses it          (permanent)
        ├── NotOffered          the provider does not serve this at all     (permanent)
        └── NoneDelivered       none of several providers delivered; transient if one may

`transient` says whether the same call can succeed later without anything being changed.
"""

from __future__ import annotations


class CandlevaultError(Exception):
    """Base of all errors raised on purpose."""

    transient = False


class InvalidRequest(CandlevaultError):
    """A value given by the caller breaks a rule.

    `field` names the value in dotted form (`strategy.params.fast`), `rule` says what is
    expected, `value` is what was given.
    """

    def __init__(self, field: str, rule: str, value: object = None) -> None:
        self.field = field
        self.rule = rule
        self.value = value
        given = "" if value is None else f" (given: {str(value)[:80]!r})"
        super().__init__(f"{field}: {rule}{given}")


class ConfigurationError(CandlevaultError):
    """A setting, the universe file or an installation is wrong; says which and how."""


class DataMissing(CandlevaultError):
    """Candles that the work needs could not be obtained; names windows and the remedy."""


class CheckFailed(CandlevaultError):
    """At least one check of severity `fail` found violations."""


class StrategyFailed(CandlevaultError):
    """A strategy raised, did not end, returned what cannot be used, or knew the future.

    `strategy` is its name, `what` happened; `file` (its name only) and `line` say where the
    code lies, None if that is not known.
    """

    def __init__(
        self, strategy: str, what: str, *, file: str | None = None, line: int | None = None
    ) -> None:
        self.strategy = strategy
        self.what = what
        self.file = file
        self.line = line
        place = " ".join(part for part in (file, f"line {line}" if line else None) if part)
        super().__init__(f"strategy {strategy}{f' ({place})' if place else ''}: {what}")


class NotRepeated(CandlevaultError):
    """A stored backtest, run again, gave something else than what is stored."""


class LeaseLost(CandlevaultError):
    """The batch was claimed by another worker meanwhile; this worker's result is dropped."""

    transient = True


class SeriesBusy(CandlevaultError):
    """Another run holds the series, and the caller did not want to wait any longer."""

    transient = True


class PartlyFailed(CandlevaultError):
    """Some of many series failed; transient if any of them may work when tried again."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class StorageError(CandlevaultError):
    """The store refused a write or contradicts itself."""


class ColdFileDamaged(StorageError):
    """A file of the cold tier cannot be trusted; `path` names it. Nothing is answered from it."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        super().__init__(f"cold file {path} {what}")


class SetupError(CandlevaultError):
    """The local system cannot be set up or started; one line for the user."""


class ProviderError(CandlevaultError):
    """A provider did not deliver. Carries what is needed to find the call again."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        symbol: str = "",
        status: int | None = None,
        url: str = "",
    ) -> None:
        self.provider = provider
        self.symbol = symbol
        self.status = status
        self.url = url
        where = " ".join(
            part
            for part in (
                provider,
                symbol,
                f"HTTP {status}" if status is not None else "",
                url,
            )
            if part
        )
        super().__init__(f"{message} [{where}]" if where else message)


class RateLimited(ProviderError):
    """HTTP 429 or 418. `retry_after` is in seconds, as the venue said, clamped by the client."""

    transient = True

    def __init__(self, message: str, *, retry_after: float, banned: bool = False, **where) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after
        self.banned = banned


class Unavailable(ProviderError):
    """Network failure, time-out, 5xx or an answer cut short."""

    transient = True


class GeoBlocked(ProviderError):
    """HTTP 451 (or a firewall's 403): the venue does not serve this address."""


class UnknownSymbol(ProviderError):
    """The venue says that it has no such symbol."""


class NotPublished(ProviderError):
    """The archive does not hold this file (yet). No evidence that there was no trading."""


class BadPayload(ProviderError):
    """The answer has the wrong shape, checksum, unit or values; nothing of it is used."""


class KeyMissing(ProviderError):
    """No key, or the provider refused it; says which Airflow Connection is to hold it."""

    def __init__(self, message: str, *, connection: str, **where) -> None:
        self.connection = connection
        super().__init__(
            f"{message}; create the Airflow Connection {connection} with the key as its password",
            **where,
        )


class NotOffered(ProviderError):
    """The provider does not serve this timeframe, or does not reach back that far."""


class NoneDelivered(ProviderError):
    """None of several providers delivered; the message says of each why."""

    def __init__(self, message: str, *, transient: bool, **where) -> None:
        super().__init__(message, **where)
        self.transient = transient
