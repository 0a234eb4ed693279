"""TA-Lib's functions as rules use them: no look into the future, the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import talib
from talib import abstract

from candlevault import paths
from candlevault.backtest.indicators import remembering
from candlevault.backtest.rules.functions import (
    EXCLUDED,
    LARGEST_PERIOD,
    MOVING_AVERAGES,
    catalogue,
)
from candlevault.errors import InvalidRequest
from tests.support.rules import same, ticks, walk

NAN = float("nan")
CUTS = (1, 2, 3, 5, 8, 13, 21, 30, 34, 55, 89, 120, 144, 199)


def defaults(function) -> dict:
    return {setting.name: setting.default for setting in function.settings}


def short(function) -> dict:
    """The smallest settings there are, choices and numbers as by default."""
    return {
        setting.name: setting.minimum if setting.kind == "integer" else setting.default
        for setting in function.settings
    }


def variants(function) -> list[dict]:
    found = [defaults(function), short(function)]
    choices = [setting.name for setting in function.settings if setting.kind == "choice"]
    if choices:
        found += [found[0] | dict.fromkeys(choices, kind) for kind in MOVING_AVERAGES]
    return found


def columns(function, bars, seed=3) -> list[np.ndarray]:
    """What the function reads by default; a column without default holds 1 to 12."""
    random = np.random.default_rng(seed)
    return [
        random.integers(1, 13, len(bars.close)).astype(float)
        if source is None
        else getattr(bars, source)
        for _, source in function.inputs
    ]


def holes(given: list[np.ndarray], seed=5) -> list[np.ndarray]:
    """The columns with NaN, infinities and extreme numbers here and there."""
    random = np.random.default_rng(seed)
    odd = np.array([NAN, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 1e22, -3.0])
    spoiled = []
    for column in given:
        copy = column.copy()
        rows = random.random(len(copy)) < 0.08
        copy[rows] = random.choice(odd, rows.sum())
        spoiled.append(copy)
    return spoiled


EVERY = pytest.mark.parametrize("name", list(catalogue()))


def test_every_function_of_the_library_is_offered_or_excluded_with_a_reason():
    assert set(catalogue()) | set(EXCLUDED) == set(talib.get_functions())
    assert not set(catalogue()) & set(EXCLUDED)
    assert all(len(reason) > 20 for reason in EXCLUDED.values())
    assert list(catalogue()) == sorted(catalogue())


def test_names_settings_defaults_and_outputs_are_the_library_s_own():
    for name, function in catalogue().items():
        info = abstract.Function(name).info
        own = dict(info["parameters"])
        assert [setting.name for setting in function.settings] == list(own)
        for setting in function.settings:
            default = setting.default
            if setting.kind == "choice":
                default = MOVING_AVERAGES[default]
            assert default == own[setting.name], (name, setting.name)
        assert list(function.outputs) == info["output_names"]


def test_moving_averages_are_the_library_s_but_those_that_cannot_be_used():
    kinds = {
        name: number
        for name, number in vars(type(talib.MA_Type)).items()
        if name.isupper() and isinstance(number, int)
    }
    assert MOVING_AVERAGES.items() <= kinds.items()
    assert set(kinds) - set(MOVING_AVERAGES) == {"MAMA", "DISABLED", "DEFAULT"}


@EVERY
def test_values_are_the_library_s_own(name):
    function, bars = catalogue()[name], walk(200)
    given = columns(function, bars)
    own = vars(talib)[name](*given)
    for line, values in zip(
        function.lines(given, defaults(function)),
        own if isinstance(own, tuple) else (own,),
        strict=True,
    ):
        values = values.astype(float)
        defined = np.isfinite(line)
        assert defined.any()
        np.testing.assert_array_equal(line[defined], values[defined])
        lead = abstract.Function(name).lookback
        assert not defined[:lead].any()
        assert not np.isfinite(values[lead:][~defined[lead:]]).any()


@EVERY
def test_cutting_off_the_future_never_changes_a_value(name):
    function = catalogue()[name]
    for bars in (walk(200), ticks(200)):
        whole = columns(function, bars)
        for given in (whole, holes(whole)):
            for settings in variants(function):
                lines = function.lines(given, settings)
                for cut in CUTS:
                    past = function.lines([column[:cut] for column in given], settings)
                    for line, shorter in zip(lines, past, strict=True):
                        assert same(line[:cut], shorter), (settings, cut)


def test_the_same_check_sees_a_function_that_looks_ahead():
    """A planted centred average: the check above would fail on it."""
    close = walk(50).close
    centred = np.convolve(close, np.ones(3) / 3, mode="same")
    shorter = np.convolve(close[:20], np.ones(3) / 3, mode="same")
    assert not same(centred[:20], shorter)


def counts_rows(values: np.ndarray, later: np.ndarray) -> bool:
    """Whether values are larger by the ten rows that are missing before the later ones."""
    difference = values[10:] - later
    return bool(np.all(difference[~np.isnan(difference)] == 10.0))


@EVERY
def test_no_function_counts_rows_from_the_first_bar(name):
    function = catalogue()[name]
    given = columns(function, walk(120))
    whole = function.lines(given, defaults(function))
    later = function.lines([column[10:] for column in given], defaults(function))
    assert not any(map(counts_rows, whole, later))


def test_the_functions_left_out_for_it_do_count_rows():
    close = walk(120).close
    for name in ("MAXINDEX", "MININDEX"):
        whole, later = (vars(talib)[name](values).astype(float) for values in (close, close[10:]))
        assert counts_rows(whole[40:], later[40:])
        assert name in EXCLUDED


@EVERY
def test_nothing_is_defined_where_no_input_is(name):
    function = catalogue()[name]
    nothing = [np.full(30, NAN)] * len(function.inputs)
    for line in function.lines(nothing, defaults(function)):
        assert np.isnan(line).all()
    for line in function.lines([np.empty(0)] * len(function.inputs), defaults(function)):
        assert len(line) == 0


def test_a_function_starts_anew_after_a_hole():
    values = np.array([1.0, 2.0, 5.0, NAN, 2.0, 1.0, 0.5, np.inf, 3.0, 4.0, 7.0])
    (momentum,) = catalogue()["MOM"].lines([values], {"timeperiod": 2})
    np.testing.assert_array_equal(
        momentum, [NAN, NAN, 4.0, NAN, NAN, NAN, -1.5, NAN, NAN, NAN, 4.0]
    )


def test_an_infinite_result_is_undefined():
    (ratio,) = catalogue()["DIV"].lines([np.array([1.0, 2.0, 0.0]), np.array([0.0, 4.0, 0.0])], {})
    np.testing.assert_array_equal(ratio, [NAN, 0.5, NAN])


def test_a_pattern_is_undefined_before_it_can_be_told_and_0_afterwards():
    bars = walk(60)
    function = catalogue()["CDLDOJI"]
    (line,) = function.lines(columns(function, bars), {})
    assert np.isnan(line[:10]).all()
    assert set(line[10:].tolist()) <= {0.0, 100.0}


def test_a_fractal_is_told_when_it_is_confirmed_not_where_it_lies():
    high = np.array([1.0, 2.0, 5.0, 3.0, 2.0, 1.0, 0.5])
    swing, _ = catalogue()["FRACTAL"].lines([high, high], {"leftbars": 2, "rightbars": 2})
    np.testing.assert_array_equal(swing, [NAN, NAN, NAN, NAN, 100.0, 0.0, 0.0])


@EVERY
def test_limits_of_settings_are_inside_the_library_s(name):
    function = catalogue()[name]
    given = columns(function, walk(4))
    call = vars(talib)[name]
    settings = {
        setting.name: MOVING_AVERAGES.get(setting.default, setting.default)
        for setting in function.settings
    }
    for setting in function.settings:
        if setting.kind == "choice":
            continue
        # The periods of MAVP also need an order: 1 and LARGEST_PERIOD go together with all.
        others = settings
        if name == "MAVP":
            others = settings | {"minperiod": 1, "maxperiod": LARGEST_PERIOD}
        for limit in (setting.minimum, setting.maximum):
            call(*given, **others | {setting.name: limit})
        below = setting.minimum - 1
        if setting.kind == "integer" or setting.minimum == 0.0:
            with pytest.raises(Exception, match="Bad Parameter"):
                call(*given, **settings | {setting.name: below})


def test_settings_that_do_not_fit_each_other_are_refused_by_name():
    function = catalogue()["MAVP"]
    settings = {"minperiod": 30, "maxperiod": 3, "matype": "SMA"}
    with pytest.raises(InvalidRequest, match="settings of MAVP do not fit each other") as caught:
        function.require_accepted(settings, "here")
    assert caught.value.field == "here"
    function.require_accepted(settings | {"minperiod": 2}, "here")


def test_lines_are_read_only_and_computed_once_while_remembering():
    function, close = catalogue()["EMA"], walk(100).close
    close.flags.writeable = False
    assert not function.lines([close], {"timeperiod": 5})[0].flags.writeable
    with remembering():
        first, again, other = (
            function.lines([close], {"timeperiod": period})[0] for period in (5, 5, 6)
        )
    assert first is again
    assert not same(first, other)


PRINT_HASHES = """
import hashlib
import numpy as np
import talib
from talib import abstract
from tests.support.rules import walk
bars = walk(20_000)
angles = bars.close / 50.0 - 2.0
for name in talib.get_functions():
    info = abstract.Function(name).info
    given = []
    for source in info["input_names"].values():
        for column in source if isinstance(source, list) else [source]:
            given.append(bars._asdict().get(column, np.arange(20_000.0) % 11 + 1))
    if info["group"] == "Math Transform":
        given = [np.clip(angles, -1.0, 1.0) if name in ("ACOS", "ASIN") else abs(angles)]
    lines = vars(talib)[name](*given)
    lines = lines if isinstance(lines, tuple) else (lines,)
    print(name, hashlib.sha256(b"".join(line.tobytes() for line in lines)).hexdigest())
"""


def hashes(**environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_HASHES],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        cwd=paths.PLUGINS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in done.stdout.splitlines())


def test_no_function_depends_on_the_processor_s_mathematics_library():
    """The C library of Linux chooses its formulas by the processor; here it is told to choose
    as on an old one."""
    usual = hashes()
    old = hashes(GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F")
    differing = {name for name in usual if usual[name] != old[name]}
    if not differing:
        pytest.skip("this machine's mathematics library has one set of formulas only")
    assert differing <= set(EXCLUDED)
    assert {"ATAN", "LN", "MAMA"} <= differing
