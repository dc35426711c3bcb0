"""The statistics, against numbers worked out by hand."""

import numpy as np
import pytest

from undertow.report.statistics import estimate, estimates, holm, mann_whitney_p, mean_interval, smallest_p


def test_the_iqm_leaves_out_a_quarter_at_each_end() -> None:
    assert estimate([1, 2, 3, 4, 5, 6, 7, 1000]).value == pytest.approx((3 + 4 + 5 + 6) / 4)


def test_the_iqm_of_fewer_than_four_is_the_mean() -> None:
    assert estimate([1, 2, 9]).value == pytest.approx(4)


def test_a_single_value_has_no_interval() -> None:
    found = estimate([0.5])
    assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 1)


def test_the_interval_of_two_values_spans_them() -> None:
    # A resample of two is both low with probability 1/4, which is more than 2.5 %.
    found = estimate([1.0, 3.0])
    assert (found.low, found.value, found.high) == (1.0, 2.0, 3.0)


def test_the_interval_of_many_values_narrows_as_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400).tolist()
    found = estimate(values)
    assert found.low is not None
    assert found.high is not None
    # The IQM of a normal sample has 1.19 / n of variance (25 % trimmed mean), so 4 standard errors are 0.218.
    assert found.high - found.low == pytest.approx(2 * 1.96 * (1.19 / 400) ** 0.5, rel=0.15)


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = estimate([63.0, 63.0, 63.0])
    assert (found.low, found.value, found.high) == (63.0, 63.0, 63.0)


def test_an_estimate_does_not_depend_on_the_other_samples() -> None:
    alone = estimate([1.0, 2.0, 4.0])
    assert estimates([[5.0], [1.0, 2.0, 4.0], [7.0, 8.0], [0.0, 0.0, 1.0]])[1] == alone


def test_estimates_are_the_same_every_time() -> None:
    samples = [[0.1, 0.4, 0.2], [3.0, 2.0, 9.0]]
    assert estimates(samples) == estimates(samples)


def test_the_band_of_two_curves_spans_them_at_every_point() -> None:
    low, high = mean_interval(np.array([[0.0, -4.0], [1.0, -2.0]]))
    assert low.tolist() == [0.0, -4.0]
    assert high.tolist() == [1.0, -2.0]


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
