"""How likely a Sharpe ratio is more than luck, given how many combinations were tried.

Sources: D. H. Bailey and M. López de Prado, "The Sharpe Ratio Efficient Frontier" (2012) for the
probabilistic Sharpe ratio; the same, "The Deflated Sharpe Ratio: Correcting for Selection Bias,
Backtest Overfitting and Non-Normality" (2014) for the deflated one and the expected maximum.

Sharpe ratios here are per period (mean / standard deviation of the periodic returns, not
annualised), and kurtosis is 3 for normal returns.

The trials are taken as independent. Those of a grid are not: neighbours do nearly the same. So
the expected maximum is set too high rather than too low, and the deflated ratio errs on the
side of doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

_EULER_MASCHERONI = 0.5772156649015329
_DIGITS = 12
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """What remains of the best point's Sharpe ratio.

    `trials` points had a Sharpe ratio; `variance` is that of those ratios (sample variance).
    `expected_maximum` is what the best of so many would reach by luck alone. `sharpe`,
    `skewness`, `kurtosis` and `periods` are those of the best point. `probabilistic` is the
    chance (0-1) that its true ratio is above 0, `deflated` that it is above the expected
    maximum. None where undefined.
    """

    trials: int
    variance: float | None
    expected_maximum: float | None
    sharpe: float | None
    skewness: float | None
    kurtosis: float | None
    periods: int
    probabilistic: float | None
    deflated: float | None

    def as_dict(self) -> dict[str, object]:
        """The figures by name, in declared order."""
        return asdict(self)


def deflate(
    ratios: Sequence[float | None],
    *,
    sharpe: float | None,
    skewness: float | None,
    kurtosis: float | None,
    periods: int,
) -> DeflatedSharpe:
    """The deflated Sharpe ratio of the best of many points.

    `ratios` are the Sharpe ratios of all points, None where a point has none; the others belong
    to the best point and may be None where it has none.
    """
    tried = [float(ratio) for ratio in ratios if ratio is not None]
    spread = variance(tried)
    maximum = None if spread is None else expected_maximum(len(tried), spread)
    defined = sharpe is not None and skewness is not None and kurtosis is not None
    of_best = (skewness, kurtosis, periods)
    return DeflatedSharpe(
        trials=len(tried),
        variance=spread,
        expected_maximum=maximum,
        sharpe=sharpe,
        skewness=skewness,
        kurtosis=kurtosis,
        periods=periods,
        probabilistic=probabilistic(sharpe, 0.0, *of_best) if defined else None,
        deflated=probabilistic(sharpe, maximum, *of_best)
        if defined and maximum is not None
        else None,
    )


def probabilistic(
    sharpe: float, benchmark: float, skewness: float, kurtosis: float, periods: int
) -> float | None:
    """The chance (0-1) that the true Sharpe ratio lies above `benchmark`.

    Φ((sharpe - benchmark) * √(periods - 1) / √(1 - skewness * sharpe + (kurtosis - 1) / 4 *
    sharpe²)), Φ the normal distribution. None with fewer than two periods, and where the root
    is not of a positive number.
    """
    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    if periods < 2 or spread <= 0.0:
        return None
    score = (sharpe - benchmark) * math.sqrt(periods - 1) / math.sqrt(spread)
    return _rounded(_NORMAL.cdf(score))


def expected_maximum(trials: int, variance: float) -> float:
    """The expected highest of `trials` Sharpe ratios whose true value is 0, of this variance.

    √variance * ((1 - γ) * Φ⁻¹(1 - 1 / trials) + γ * Φ⁻¹(1 - 1 / (trials * e))), γ the
    Euler-Mascheroni constant; 0 for a single trial, where nothing was chosen.
    """
    if trials < 2:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return _rounded(
        math.sqrt(variance) * ((1.0 - _EULER_MASCHERONI) * first + _EULER_MASCHERONI * second)
    )


def variance(values: Sequence[float]) -> float | None:
    """The sample variance; 0 for a single value, None for none."""
    if not values:
        return None
    if len(values) == 1:
        return 0.0
    mean = math.fsum(values) / len(values)
    away = [value - mean for value in values]
    return math.fsum(one * one for one in away) / (len(values) - 1)


def _rounded(value: float) -> float:
    """To as many digits as the mathematical libraries of all systems agree on."""
    return float(f"{value:.{_DIGITS}g}")
