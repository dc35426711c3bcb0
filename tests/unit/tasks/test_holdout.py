"""Examples held out where the data have no split."""

import numpy as np
import pytest

from undertow import RequestError
from undertow_tasks.holdout import held_out


def test_every_example_is_kept_or_held_out_and_classes_keep_their_shares() -> None:
    labels_N = np.repeat([0, 1, 2], [500, 300, 200])
    stay_N, held_N = held_out("data", labels_N, 0.1)
    assert sorted([*stay_N, *held_N]) == list(range(1000))
    assert np.bincount(labels_N[held_N]).tolist() == [50, 30, 20]
    assert np.diff(held_N).max() > 12  # not every tenth example


def test_at_least_two_examples_are_held_out() -> None:
    stay_N, held_N = held_out("data", np.array([0, 1, 0, 1]), 0.1)
    assert (len(stay_N), len(held_N)) == (2, 2)


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(RequestError, match=r"a\.csv: 3 examples are too few to hold 2 out"):
        held_out("a.csv", np.array([0, 1, 0]), 0.1)
