"""Growth that compounds: one power, rounded the same on every machine.

The C library's `pow` differs between systems, and decimal arithmetic is slow. Whole numbers are
neither: here a number is one of them, divided by 2 ** 140. The logarithm is the series of
artanh, ln m = 2 artanh((m - 1) / (m + 1)); the exponential function the Taylor series of a
256th of its argument, squared eight times.
"""

from __future__ import annotations

_BITS = 140
_ONE = 1 << _BITS
_HALVINGS = 8


def growth_pct(numerator: float, denominator: float, part: int, whole: int) -> float:
    """((numerator / denominator) ** (part / whole) - 1) * 100, rounded once.

    All four are finite and above 0. Raises OverflowError beyond the largest float.
    """
    top, under_top = numerator.as_integer_ratio()
    bottom, under_bottom = denominator.as_integer_ratio()
    power = _log(top * under_bottom, bottom * under_top) * part // whole
    return (_exp(power) - _ONE) * 100 / _ONE


def _log(top: int, bottom: int) -> int:
    """The logarithm of top / bottom."""
    twos = top.bit_length() - bottom.bit_length()
    # Between 0.5 and 2; closer to 1 the series is shorter.
    mantissa = (top << _BITS - min(twos, 0)) // (bottom << max(twos, 0))
    if mantissa * mantissa > 2 << 2 * _BITS:
        mantissa, twos = mantissa >> 1, twos + 1
    elif mantissa * mantissa < 1 << 2 * _BITS - 1:
        mantissa, twos = mantissa << 1, twos - 1
    return 2 * _artanh(((mantissa - _ONE) << _BITS) // (mantissa + _ONE)) + twos * _LN2


def _artanh(value: int) -> int:
    square, power, odd, total = value * value >> _BITS, value, 1, 0
    # Shifting a negative number to the right ends at -1, not at 0.
    while abs(power) > 1:
        total += power // odd
        power = power * square >> _BITS
        odd += 2
    return total


_LN2 = 2 * _artanh(_ONE // 3)


def _exp(value: int) -> int:
    twos = (2 * value + _LN2) // (2 * _LN2)
    rest = value - twos * _LN2 >> _HALVINGS
    less_one, term, number = 0, rest, 1
    while abs(term) > 1:
        less_one += term
        number += 1
        term = (term * rest >> _BITS) // number
    for _ in range(_HALVINGS):
        # e ** 2x - 1 = (2 + s) * s with s = e ** x - 1
        less_one = (2 * _ONE + less_one) * less_one >> _BITS
    grown = _ONE + less_one
    return grown << twos if twos >= 0 else grown >> -twos
