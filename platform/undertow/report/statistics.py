"""Statistics over replicates: a robust centre with its range or interval, and a test of whether two groups differ.

    estimate([0.81, 0.84, 0.80, 0.12])        # Estimate(value=0.805, low=0.12, high=0.84, n=4): median and range
    holm([0.01, 0.04, 0.03])                  # [0.03, 0.06, 0.06]

How much is said depends on the number n of replicates:

- the centre is the median, and from n = 8 the interquartile mean (IQM; Agarwal et al. 2021, arXiv 2108.13264): the
  mean without the quarter at each end, so that a single outlier has no effect;
- below n = 10 the spread is the range, from the smallest to the largest value, and is called so: intervals of so few
  values cover far less than they claim;
- from n = 10 it is the 95 % bootstrap interval of the centre, bias-corrected and accelerated (BCa; Efron 1987, doi
  10.1080/01621459.1987.10478410), with the quantiles of Student's t with n - 1 degrees of freedom in the place of the
  normal ones, since the bootstrap distribution of few values is too narrow (Hesterberg 2015, doi
  10.1080/00031305.2015.1089789). Its coverage is simulated in a test.

A value may be *censored*: known to be larger than a bound. A centre or an end that depends on it is censored, too.
Everything random is seeded: the same results give the same report.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, inf
from typing import Any

TRIM = 0.25
"""The share of the values that the IQM leaves out at each end."""

IQM_FROM = 8
"""Values from which on the centre is the IQM; below, it is the median."""

INTERVAL_FROM = 10
"""Values from which on there is an interval; below, there is the range."""

CONFIDENCE = 0.95

RESAMPLES = 2000

_MAX_NUMBERS = 2_000_000  # resampled numbers in memory at the same time
_MAX_REARRANGEMENTS = 9999  # of two groups with ties: up to so many the p-value is exact


@dataclass(frozen=True)
class Estimate:
    """The centre of some values, and how far they or it may spread.

    Attributes:
        value: The median, or from `IQM_FROM` values on the IQM.
        low: The smallest value, or from `INTERVAL_FROM` values on the lower end of the interval; None for a single one.
        high: The largest value, or the upper end.
        n: The number of values.
        censored: Which of ``value``, ``low`` and ``high`` are lower bounds.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    censored: frozenset[str] = frozenset()


def centre_name(n: int) -> str:
    """What the centre of n values is called."""
    return "IQM" if n >= IQM_FROM else "median"


def spread_name(n: int) -> str:
    """What the spread of n values is called; empty for a single value."""
    if n >= INTERVAL_FROM:
        return f"{CONFIDENCE:.0%} interval".replace("%", " %")
    return "range" if n > 1 else ""


def estimate(values: Sequence[float], censored: Sequence[bool] = ()) -> Estimate:
    """The estimate of at least one value.

    Args:
        values: Finite numbers.
        censored: Whether each is a lower bound; none is, when empty.
    """
    return estimates([values], [censored])[0]


def estimates(samples: Sequence[Sequence[float]], censored: Sequence[Sequence[bool]] = ()) -> list[Estimate]:
    """The estimate of each sample; samples of one size are resampled together.

    Args:
        samples: At least one finite value each.
        censored: For each sample, as for `estimate`.
    """
    import numpy as np

    found: dict[int, Estimate] = {}
    for size in sorted({len(values) for values in samples}):
        places = [place for place, values in enumerate(samples) if len(values) == size]
        values = np.array([samples[place] for place in places], dtype=float)
        flags = [censored[place] if censored and len(censored[place]) else [False] * size for place in places]
        found |= dict(zip(places, _estimates_of_one_size(values, np.array(flags, dtype=bool)), strict=True))
    return [found[place] for place in range(len(samples))]


def spread(values: Any) -> tuple[Any, Any, Any]:
    """Centre, low and high of many samples of one size, as in `Estimate`.

    Args:
        values: Array `(samples, n)` of finite numbers, n >= 2.

    Returns:
        Arrays `(samples,)`.
    """
    n = values.shape[1]
    if n < INTERVAL_FROM:
        return centre(values), values.min(1), values.max(1)
    low, high, _, _ = _interval(values, values)
    return centre(values), low, high


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


def superiority(first: Sequence[float], second: Sequence[float]) -> float:
    """The probability of superiority: that a random value of the first is larger than one of the second; ties count ½.

    The effect size that belongs to the Mann-Whitney test, U / (n m) (Vargha & Delaney 2000, doi
    10.3102/10769986025002101).
    """
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return wins / (len(first) * len(second))


def _estimates_of_one_size(values: Any, censored: Any) -> list[Estimate]:
    """Of samples `(samples, n)`, with a flag for each value."""
    import numpy as np

    n = values.shape[1]
    beyond = np.where(censored, inf, values)
    middle, middle_beyond = centre(values), centre(beyond)
    if n == 1:
        low = high = low_beyond = high_beyond = None
    elif n < INTERVAL_FROM:
        low, high, low_beyond, high_beyond = values.min(1), values.max(1), beyond.min(1), beyond.max(1)
    else:
        low, high, low_beyond, high_beyond = _interval(values, beyond)
    found = []
    for place in range(len(values)):
        ends = {"value": middle_beyond, "low": low_beyond, "high": high_beyond}
        flags = frozenset(name for name, numbers in ends.items() if numbers is not None and numbers[place] == inf)
        first, last = (None if each is None else float(each[place]) for each in (low, high))
        found.append(Estimate(float(middle[place]), first, last, n, flags))
    return found


def centre(values: Any) -> Any:
    """Median or IQM along the last axis of an array, by its size."""
    import numpy as np

    n = values.shape[-1]
    if n < IQM_FROM:
        return np.median(values, axis=-1)
    cut = int(TRIM * n)
    return np.sort(values, axis=-1)[..., cut : n - cut].mean(-1)


def _interval(values: Any, beyond: Any) -> tuple[Any, Any, Any, Any]:
    """Lower and upper end of the interval of each sample, and the same ends of samples with infinite values.

    Args:
        values: `(samples, n)`.
        beyond: The same, with the censored values infinite.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri, stdtrit

    n = values.shape[1]
    index = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    z = stdtrit(n - 1, (1 - CONFIDENCE) / 2)
    chunk = max(1, _MAX_NUMBERS // index.size)
    ends = []
    for start in range(0, len(values), chunk):
        some, some_beyond = values[start : start + chunk], beyond[start : start + chunk]
        centres = np.sort(centre(some[:, index]), axis=1)
        observed = centre(some)[:, None]
        share = ((centres < observed).mean(1) + (centres <= observed).mean(1)) / 2
        bias = ndtri(np.clip(share, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
        left_out = np.stack([centre(np.delete(some, place, axis=1)) for place in range(n)], axis=1)
        influence = left_out.mean(1, keepdims=True) - left_out
        squares = (influence**2).sum(1)
        acceleration = np.divide((influence**3).sum(1), 6 * squares**1.5, out=np.zeros(len(some)), where=squares > 0)
        ranks = []
        for quantile in (z, -z):
            shifted = bias + quantile
            level = ndtr(bias + shifted / (1 - acceleration * shifted))
            ranks.append(np.clip(level * (RESAMPLES - 1), 0, RESAMPLES - 1))
        rows = np.arange(len(some))
        at = np.floor(ranks[0]).astype(int), np.ceil(ranks[1]).astype(int)
        same = some is some_beyond or not np.isinf(some_beyond).any()
        centres_beyond = centres if same else np.sort(centre(some_beyond[:, index]), axis=1)
        ends.append([sorted_centres[rows, rank] for sorted_centres in (centres, centres_beyond) for rank in at])
    low, high, low_beyond, high_beyond = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    return low, high, low_beyond, high_beyond
