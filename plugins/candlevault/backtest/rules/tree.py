"""What rules are made of: frozen values that hold no array and no code.

The three values of a condition (true, false, undefined) are those of `truth`.
"""

from __future__ import annotations

from dataclasses import dataclass

PRICES = ("open", "high", "low", "close", "volume")
"""The columns of the bars that rules can name; prices in quote, volume in base."""

COMPARISONS = (
    "above",
    "below",
    "at_least",
    "at_most",
    "equal",
    "crosses_above",
    "crosses_below",
)
"""Conditions on two operands."""

BETWEEN = "between"
TRENDS = ("rising", "falling")
ALL, ANY, NOT = "all", "any", "not"
ARITHMETIC = ("add", "subtract", "multiply", "divide")
SIDES = ("long", "short")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A price column, an indicator, or one output of an indicator (`name.output`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Past:
    """The value of `of` so many bars before; undefined in the first `bars_ago` bars."""

    of: Operand
    bars_ago: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One of ARITHMETIC on two operands; undefined where the result is not finite."""

    operator: str
    left: Operand
    right: Operand


Operand = Number | Reference | Past | Arithmetic


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of COMPARISONS between two operands."""

    operator: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Between:
    """`value` is at least `lowest` and at most `highest`."""

    value: Operand
    lowest: Operand
    highest: Operand


@dataclass(frozen=True, slots=True)
class Trend:
    """Each of the last `bars` values lies above (rising) or below (falling) the one before it."""

    operator: str
    of: Operand
    bars: int


@dataclass(frozen=True, slots=True)
class All:
    """Every one of at least one condition."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; undefined stays undefined."""

    condition: Condition


Condition = Comparison | Between | Trend | All | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Indicator:
    """A function of TA-Lib by its name, every setting given, on columns by their role."""

    name: str
    function: str
    settings: tuple[tuple[str, int | float | str], ...]
    inputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Side:
    """When to enter and to leave one side; `orders` are what an entry carries, by
    the names of Signals: limit, stop, stop_loss, take_profit, trail, weight."""

    entry: Condition | None = None
    exit: Condition | None = None
    orders: tuple[tuple[str, Operand], ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """Indicators by name, ascending, without a circle among them, and the two sides."""

    indicators: tuple[Indicator, ...]
    long: Side
    short: Side
