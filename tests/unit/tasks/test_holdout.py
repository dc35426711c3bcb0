"""Examples held out where the data have no split."""

import numpy as np
import pytest

from undertow import RequestError
from undertow_tasks.holdout import blocks, held_out


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


def test_blocks_of_every_class_are_contiguous_and_the_classes_take_turns() -> None:
    labels_N = np.array([0, 0, 1, 0, 1, 1, 0, 1, 2, 2, 2, 2, 2, 0, 1])
    train, val, test = blocks("data", labels_N, 1)
    assert labels_N[test].tolist() == labels_N[val].tolist() == [0, 1, 2]
    assert test.tolist() == [13, 14, 12]
    assert val.tolist() == [6, 7, 11]
    assert train.tolist() == [0, 2, 8, 1, 4, 9, 3, 5, 10]
    assert sorted([*train, *val, *test]) == list(range(15))


def test_a_block_split_without_enough_examples_of_a_class_is_refused() -> None:
    labels_N = np.repeat([0, 7], [30, 4])
    with pytest.raises(RequestError, match=r"x\.csv: 4 examples of class 7 are too few to hold out 2 for validation"):
        blocks("x.csv", labels_N, 2)
    assert [len(part) for part in blocks("x.csv", np.repeat([0, 7], [30, 5]), 2)] == [27, 4, 4]
