"""The functions of TA-Lib that rules can use, and the one place that calls TA-Lib.

Names, inputs, outputs, settings and defaults are TA-Lib's own. A function is offered when its
value i depends on inputs 0..i only and is the same on every machine; EXCLUDED says what is
not. TA-Lib's unstable periods stay 0: a function that looks back without end starts at the
first row it is given, so its first values depend on where the bars start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import talib
from talib import abstract

from candlevault.backtest.indicators.inputs import aligned
from candlevault.backtest.indicators.memory import remembered
from candlevault.backtest.rules.tree import PRICES
from candlevault.backtest.strategies.contract import Parameter
from candlevault.errors import InvalidRequest

TALIB_VERSION = talib.__ta_version__.decode().split()[0]
"""The release of the C library, which decides the values."""

LARGEST_PERIOD = 10_000
LARGEST_NUMBER = 1e12

_MATH_LIBRARY = (
    "its last digits come from the mathematics library of the machine, which chooses its "
    "formulas by the processor: two machines could give two results"
)
_ROW_NUMBERS = "it answers with row numbers, which count from the first bar of the run"
EXCLUDED: dict[str, str] = {
    **dict.fromkeys(
        ("ACOS", "ASIN", "ATAN", "COS", "COSH", "EXP", "HT_DCPERIOD", "HT_DCPHASE", "HT_PHASOR",
         "HT_SINE", "HT_TRENDLINE", "HT_TRENDMODE", "LINEARREG_ANGLE", "LN", "LOG10", "MAMA",
         "SIN", "SINH", "TAN", "TANH"),
        _MATH_LIBRARY,
    ),
    **dict.fromkeys(("MAXINDEX", "MININDEX", "MINMAXINDEX"), _ROW_NUMBERS),
}  # fmt: skip
"""Functions of TA-Lib that rules cannot use, each with the reason."""

MOVING_AVERAGES = {
    "SMA": 0, "EMA": 1, "WMA": 2, "DEMA": 3, "TEMA": 4, "TRIMA": 5, "KAMA": 6, "T3": 8, "HMA": 9,
    "ZLEMA": 12, "RMA": 13,
}  # fmt: skip
"""TA-Lib's numbers of moving averages; MAMA is left out for the reason above."""

_REAL_LIMITS = {
    "percentile": (0.0, 100.0),
    "vfactor": (0.0, 1.0),
    **dict.fromkeys(
        ("nbdev", "nbdevdn", "nbdevup", "startvalue"), (-LARGEST_NUMBER, LARGEST_NUMBER)
    ),
}
_OTHER_LIMITS = (0.0, LARGEST_NUMBER)


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `inputs` are its columns by role, each with what it reads by default (None:
    must be given); `outputs` are TA-Lib's names, meaningful where there are several. `compute`
    takes the columns and then the settings in order, choices as TA-Lib's numbers.
    """

    name: str
    title: str
    settings: tuple[Parameter, ...]
    inputs: tuple[tuple[str, str | None], ...]
    outputs: tuple[str, ...]
    compute: Callable[..., tuple[np.ndarray, ...]]

    def lines(
        self, columns: Sequence[np.ndarray], settings: Mapping[str, object]
    ) -> tuple[np.ndarray, ...]:
        """One read-only float64 array an output, as long as the columns, NaN where undefined.

        Rows in which a column is NaN or infinite are undefined, and the function starts anew
        after them; results that are infinite are undefined too.
        """
        return self.compute(*columns, *(_number(settings[one.name]) for one in self.settings))

    def require_accepted(self, settings: Mapping[str, object], field: str) -> None:
        """Raises InvalidRequest naming `field` where TA-Lib refuses settings that do not fit
        each other, each being right by itself."""
        try:
            self.lines([np.ones(1)] * len(self.inputs), settings)
        except Exception as error:  # TA-Lib raises nothing more precise
            raise InvalidRequest(
                field, f"the settings of {self.name} do not fit each other: {error}"
            ) from None


@cache
def catalogue() -> dict[str, Function]:
    """Every function that rules can use, by name, ascending."""
    names = sorted(set(talib.get_functions()) - set(EXCLUDED))
    return {name: _function(name) for name in names}


def _function(name: str) -> Function:
    info = abstract.Function(name).info
    inputs = tuple(_roles(info["input_names"]))
    defaults = dict(info["parameters"])
    call = vars(talib)[name]
    return Function(
        name=name,
        title=info["display_name"],
        settings=tuple(
            _setting(setting, default, _smallest(call, len(inputs), setting))
            for setting, default in defaults.items()
        ),
        inputs=inputs,
        outputs=tuple(info["output_names"]),
        compute=_computing(name, call, len(inputs), tuple(defaults), len(info["output_names"])),
    )


def _roles(given: Mapping[str, str | list[str]]) -> Iterator[tuple[str, str | None]]:
    for role, column in given.items():
        if isinstance(column, list):
            yield from ((one, one) for one in column)
        else:
            yield role, column if column in PRICES else None


def _setting(name: str, default: int | float, smallest: int) -> Parameter:
    if name.endswith("matype"):
        return Parameter(
            name,
            "choice",
            next(word for word, number in MOVING_AVERAGES.items() if number == default),
            description="Kind of moving average.",
            options=tuple(MOVING_AVERAGES),
        )
    if isinstance(default, int):
        return Parameter(name, "integer", default, smallest, LARGEST_PERIOD, "In bars.")
    return Parameter(name, "number", default, *_REAL_LIMITS.get(name, _OTHER_LIMITS))


def _smallest(call: Callable, inputs: int, setting: str) -> int:
    """The smallest period TA-Lib takes: 1 or 2, and only trying tells."""
    try:
        call(*[np.ones(1)] * inputs, **{setting: 1})
    except Exception as error:
        # TA-Lib raises nothing more precise; only what it says tells this from a defect.
        if "TA_BAD_PARAM" not in str(error):
            raise
        return 2
    return 1


def _computing(
    name: str, call: Callable, inputs: int, settings: tuple[str, ...], outputs: int
) -> Callable[..., tuple[np.ndarray, ...]]:
    @remembered
    def compute(*arguments):
        columns = aligned(**{f"column{i}": one for i, one in enumerate(arguments[:inputs])})
        given = dict(zip(settings, arguments[inputs:], strict=True))
        lines = tuple(np.full(len(columns[0]), np.nan) for _ in range(outputs))
        # Whole numbers have no NaN: TA-Lib says 0 where they are not defined yet.
        lead = abstract.Function(name, **given).lookback
        for start, stop in _runs(columns):
            answer = call(*(column[start:stop] for column in columns), **given)
            for line, values in zip(lines, answer if outputs > 1 else (answer,), strict=True):
                line[start + lead : stop] = values[lead:]
        for line in lines:
            line[~np.isfinite(line)] = np.nan
        return lines

    return compute


def _runs(columns: list[np.ndarray]) -> list[tuple[int, int]]:
    """Maximal runs of rows, [start, stop), in which every column is finite."""
    finite = np.isfinite(columns[0])
    for column in columns[1:]:
        finite &= np.isfinite(column)
    edges = np.flatnonzero(np.diff(finite, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _number(value: object) -> int | float:
    return MOVING_AVERAGES[value] if isinstance(value, str) else value
