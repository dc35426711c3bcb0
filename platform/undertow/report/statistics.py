"""What a few seeds allow to say: a robust mean with its interval, and whether two groups differ.

    estimate([0.81, 0.84, 0.80, 0.12])        # Estimate(value=0.805, low=…, high=…, n=4)
    holm([0.01, 0.04, 0.03])                  # [0.03, 0.06, 0.06]

The mean is the interquartile mean (IQM; Agarwal et al. 2021, arXiv:2108.13264): the quarter at each end is left out, so
one broken seed does not decide. Below four values nothing is left out, and it is the ordinary mean. Everything random
is seeded: the same results give the same report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

TRIM = 0.25
"""The share that the IQM leaves out at each end."""

CONFIDENCE = 0.95

RESAMPLES = 1000

_NUMBERS_AT_ONCE = 2_000_000  # resampled numbers in memory
_RANKINGS = 9999  # rearrangements of two groups that are all looked at, rather than approximated


@dataclass(frozen=True)
class Estimate:
    """An interquartile mean.

    Attributes:
        value: The mean.
        low: The lower end of its bootstrap interval; None for a single value.
        high: The upper end.
        n: How many values there were.
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
        samples: Of at least one value each.
    """
    found: dict[int, Estimate] = {}
    for size in sorted({len(values) for values in samples}):
        places = [place for place, values in enumerate(samples) if len(values) == size]
        at_once = max(1, _NUMBERS_AT_ONCE // (RESAMPLES * size))
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            found |= dict(zip(some, _of_one_size([samples[place] for place in some]), strict=True))
    return [found[place] for place in range(len(samples))]


def mean_band(curves: Any) -> tuple[Any, Any]:
    """The bootstrap interval of the mean of some curves, at every point; whole curves are drawn.

    Args:
        curves: Shape `(n, points)`, n >= 2.

    Returns:
        Lower and upper end, shape `(points,)` each.
    """
    import numpy as np

    n = len(curves)
    drawn = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=RESAMPLES) / n
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn @ curves, [tail, 100 - tail], axis=0)
    return low, high


def difference(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of the Mann-Whitney U test that two groups differ.

    Exact wherever it can be counted; with ties over all rearrangements of the ranks, or by the normal approximation
    when there are more than ten thousand of these.

    Args:
        first: At least one value.
        second: At least one value.
    """
    from scipy.stats import PermutationMethod, mannwhitneyu

    together = [*first, *second]
    if len(set(together)) == 1:
        return 1.0
    ties = len(set(together)) < len(together)
    few = comb(len(together), len(first)) <= _RANKINGS
    if ties:
        method: Any = PermutationMethod(n_resamples=_RANKINGS) if few else "asymptotic"
    else:
        method = "exact" if max(len(first), len(second)) <= 50 else "asymptotic"
    return float(mannwhitneyu(first, second, method=method).pvalue)


def smallest_p(first: int, second: int) -> float:
    """The smallest two-sided p-value that groups of these sizes can have."""
    return min(1.0, 2 / comb(first + second, first))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for having made several tests (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _of_one_size(samples: Sequence[Sequence[float]]) -> list[Estimate]:
    import numpy as np
    from scipy.stats import bootstrap, trim_mean

    values = np.asarray(samples, dtype=float)
    n = values.shape[1]
    means = trim_mean(values, TRIM, axis=1).tolist()
    if n == 1:
        return [Estimate(mean, None, None, n) for mean in means]
    found = bootstrap(
        (values,),
        lambda drawn, axis: trim_mean(drawn, TRIM, axis=axis),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",  # BCa, the default, has no answer where all of a few values are equal
        vectorized=True,
        axis=-1,
        rng=np.random.default_rng(0),
    ).confidence_interval
    lows, highs = found.low.tolist(), found.high.tolist()
    return [Estimate(*each, n) for each in zip(means, lows, highs, strict=True)]
