"""Statistics over seeds: a robust mean with its interval, and a test of whether two groups differ.

    estimate([0.81, 0.84, 0.80, 0.12])        # Estimate(value=0.805, low=…, high=…, n=4)
    holm([0.01, 0.04, 0.03])                  # [0.03, 0.06, 0.06]

The mean is the interquartile mean (IQM; Agarwal et al. 2021, arXiv:2108.13264): the quarter at each end is left out, so
a single outlier has no effect. Below four values nothing is left out, and it is the ordinary mean. Everything random is
seeded: the same results give the same report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

TRIM = 0.25
"""The share of the values that the IQM leaves out at each end."""

CONFIDENCE = 0.95

RESAMPLES = 1000

_MAX_NUMBERS = 2_000_000  # resampled numbers in memory at the same time
_MAX_REARRANGEMENTS = 9999  # of two groups with ties: up to so many the p-value is exact


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean.

    Attributes:
        value: The mean.
        low: The lower end of its bootstrap interval; None for a single value.
        high: The upper end.
        n: The number of values.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The IQM of at least one value, with its interval."""
    return estimates([values])[0]


def estimates(samples: Sequence[Sequence[float]]) -> list[Estimate]:
    """The IQM of each sample with its percentile bootstrap interval; samples of one size are resampled together.

    Args:
        samples: At least one value each.
    """
    found: dict[int, Estimate] = {}
    for size in sorted({len(values) for values in samples}):
        places = [place for place, values in enumerate(samples) if len(values) == size]
        at_once = max(1, _MAX_NUMBERS // (RESAMPLES * size))
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            found |= dict(zip(some, _estimates_of_one_size([samples[place] for place in some]), strict=True))
    return [found[place] for place in range(len(samples))]


def mean_interval(curves: Any) -> tuple[Any, Any]:
    """The bootstrap interval of the mean of some curves, at every point; whole curves are resampled.

    Args:
        curves: Shape `(n, points)`, n >= 2.

    Returns:
        Lower and upper end, shape `(points,)` each.
    """
    import numpy as np

    n = len(curves)
    weights = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=RESAMPLES) / n
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(weights @ curves, [tail, 100 - tail], axis=0)
    return low, high


def mann_whitney_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of the Mann-Whitney U test that two groups differ.

    Exact for up to 50 values a group. With ties it is exact over all rearrangements of the ranks when there are fewer
    than ten thousand of these, and otherwise the normal approximation.

    Args:
        first: At least one value.
        second: At least one value.
    """
    from scipy.stats import PermutationMethod, mannwhitneyu

    together = [*first, *second]
    if len(set(together)) == 1:
        return 1.0
    ties = len(set(together)) < len(together)
    few = comb(len(together), len(first)) <= _MAX_REARRANGEMENTS
    if ties:
        method: Any = PermutationMethod(n_resamples=_MAX_REARRANGEMENTS) if few else "asymptotic"
    else:
        method = "exact" if max(len(first), len(second)) <= 50 else "asymptotic"
    return float(mannwhitneyu(first, second, method=method).pvalue)


def smallest_p(first: int, second: int) -> float:
    """The smallest two-sided p-value that groups of these sizes can have."""
    return min(1.0, 2 / comb(first + second, first))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for multiple tests (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _estimates_of_one_size(samples: Sequence[Sequence[float]]) -> list[Estimate]:
    import numpy as np
    from scipy.stats import bootstrap, trim_mean

    values = np.asarray(samples, dtype=float)
    n = values.shape[1]
    means = trim_mean(values, TRIM, axis=1).tolist()
    if n == 1:
        return [Estimate(mean, None, None, n) for mean in means]
    interval = bootstrap(
        (values,),
        lambda resampled, axis: trim_mean(resampled, TRIM, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",  # BCa, the default, is undefined where all of a few values are equal
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(0),
    ).confidence_interval
    lows, highs = interval.low.tolist(), interval.high.tolist()
    return [Estimate(*each, n) for each in zip(means, lows, highs, strict=True)]
