"""The statistics, against numbers worked out by hand, and the coverage of the intervals by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from undertow.report.statistics import (
    centre_name,
    estimate,
    estimates,
    holm,
    mann_whitney_p,
    smallest_p,
    spread,
    spread_name,
    superiority,
)

DRAWS: dict[str, Callable[..., np.ndarray]] = {
    "normal": lambda random, shape: random.normal(size=shape),
    "lognormal": lambda random, shape: random.lognormal(size=shape),
    "exponential": lambda random, shape: random.exponential(size=shape),
}


def test_the_iqm_leaves_out_a_quarter_at_each_end() -> None:
    assert estimate([1, 2, 3, 4, 5, 6, 7, 1000]).value == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert centre_name(8) == "IQM"


def test_the_centre_of_fewer_than_eight_is_the_median() -> None:
    assert estimate([1, 2, 9]).value == 2
    assert estimate([1, 2, 4, 5, 6, 7, 900]).value == 5
    assert centre_name(7) == "median"


def test_a_single_value_has_no_spread() -> None:
    found = estimate([0.5])
    assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 1)
    assert spread_name(1) == ""


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_spread_of_fewer_than_ten_is_the_range_and_is_called_so(n: int) -> None:
    found = estimate([float(value) for value in range(n)])
    assert (found.low, found.high) == (0, n - 1)
    assert spread_name(n) == "range"


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [10, 20, 50])
def test_the_interval_covers_as_often_as_it_says(n: int, draw: str) -> None:
    random = np.random.default_rng(n)
    population = np.sort(DRAWS[draw](random, 2_000_000))
    truth = population[500_000:1_500_000].mean()
    centre, low, high = spread(DRAWS[draw](random, (800, n)))
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97
    assert (low <= centre).all()
    assert (centre <= high).all()
    assert spread_name(n) == "95 % interval"


def test_the_interval_of_many_values_narrows_as_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400).tolist()
    found = estimate(values)
    assert found.low is not None
    assert found.high is not None
    # The IQM of a normal sample has 1.19 / n of variance (25 % trimmed mean), so 4 standard errors are 0.218.
    assert found.high - found.low == pytest.approx(2 * 1.96 * (1.19 / 400) ** 0.5, rel=0.15)


@pytest.mark.parametrize("n", [3, 12])
def test_equal_values_have_a_spread_of_no_width(n: int) -> None:
    found = estimate([63.0] * n)
    assert (found.low, found.value, found.high) == (63.0, 63.0, 63.0)


def test_an_estimate_does_not_depend_on_the_other_samples() -> None:
    sample = np.random.default_rng(3).normal(size=12).tolist()
    alone = estimate(sample)
    assert estimates([[5.0], sample, [7.0, 8.0], [0.5 * value for value in sample]])[1] == alone


def test_estimates_are_the_same_every_time() -> None:
    samples = [[0.1, 0.4, 0.2], np.random.default_rng(4).normal(size=11).tolist()]
    assert estimates(samples) == estimates(samples)


def test_a_median_of_bounds_is_a_bound() -> None:
    found = estimate([12.0, 63.0, 63.0], [False, True, True])
    assert (found.value, found.low, found.high) == (63, 12, 63)
    assert found.censored == {"value", "high"}


def test_a_bound_that_the_centre_does_not_use_leaves_it_exact() -> None:
    found = estimate([12.0, 20.0, 63.0], [False, False, True])
    assert found.value == 20
    assert found.censored == {"high"}


def test_between_a_value_and_a_bound_the_median_is_a_bound() -> None:
    found = estimate([11.0, 63.0], [False, True])
    assert found.value == 37
    assert found.censored == {"value", "high"}


def test_the_interval_of_many_values_with_bounds_is_censored_where_it_reaches_them() -> None:
    values = [*np.linspace(20, 40, 12).tolist(), 63.0, 63.0]
    found = estimate(values, [False] * 12 + [True] * 2)
    assert found.censored == {"high"}
    assert found.value < found.high <= 63
    exact = estimate(values)
    assert (found.value, found.low, found.high) == (exact.value, exact.low, exact.high)


def test_all_bounds_are_a_bound_throughout() -> None:
    assert estimate([63.0] * 12, [True] * 12).censored == {"value", "low", "high"}


def test_three_against_three_that_do_not_overlap_have_the_smallest_p() -> None:
    assert mann_whitney_p([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)
    assert smallest_p(3, 3) == pytest.approx(0.1)


def test_ties_are_counted_over_all_rearrangements() -> None:
    # Of the 6 ways to choose 2 of (1, 1, 2, 2), one puts both ones first and one puts them last.
    assert mann_whitney_p([1, 1], [2, 2]) == pytest.approx(2 / 6)


def test_equal_groups_do_not_differ() -> None:
    assert mann_whitney_p([5.0, 5.0], [5.0, 5.0, 5.0]) == 1.0


def test_many_values_far_apart_differ() -> None:
    assert mann_whitney_p(list(range(60)), list(range(1000, 1060))) < 1e-15


def test_smallest_p_of_single_values_is_one() -> None:
    assert smallest_p(1, 1) == 1.0


def test_holm_multiplies_by_the_tests_that_are_left_and_never_decreases() -> None:
    # Sorted: 0.01 x 3, 0.03 x 2, then 0.04 x 1 would be less than the one before it.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_stops_at_one() -> None:
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


def test_superiority_is_the_share_of_pairs_that_the_first_wins() -> None:
    assert superiority([4, 5, 6], [1, 2, 3]) == 1
    assert superiority([1, 2], [2, 3]) == pytest.approx(0.5 / 4)
    assert math.isclose(superiority([1, 5], [2, 3]), 0.5)
