"""Sort."""

import math
from itertools import product

import numpy as np
import pytest

from undertow_tasks.formal.options import SortOptions
from undertow_tasks.formal.sort import Sort, cost_of_guessing


def test_target_is_the_sorted_input() -> None:
    batch = Sort(SortOptions(), 10, 0).batch("train", np.arange(100))
    assert batch.input.unique().tolist() == list(range(8))
    assert batch.target.tolist() == [sorted(x) for x in batch.input.tolist()]


@pytest.mark.parametrize(("length", "alphabet"), [(1, 4), (3, 2), (4, 3), (3, 5)])
def test_cost_of_guessing_equals_the_count_over_all_strings(length: int, alphabet: int) -> None:
    strings = [sorted(string) for string in product(range(alphabet), repeat=length)]
    nats = 0.0
    for rank in range(length):
        shares = [sum(string[rank] == symbol for string in strings) / len(strings) for symbol in range(alphabet)]
        nats -= sum(share * math.log(share) for share in shares if share)
    assert cost_of_guessing(length, alphabet) == pytest.approx(nats / length)


def test_cost_of_guessing_is_finite_and_falls_with_the_length() -> None:
    costs = [cost_of_guessing(length, 8) for length in (10, 100, 1000, 5000)]
    assert costs == sorted(costs, reverse=True)
    assert 0 < costs[-1] < 0.1


def test_every_symbol_can_be_the_last_one_written() -> None:
    task = Sort(SortOptions(), 10, 0)
    batch = task.batch("val", np.arange(50))
    assert task.cues(batch).tolist() == [list(range(10))] * 50
    for step in range(10):
        changed = batch.input.clone()
        changed[:, step] = 9
        assert (task.rewritten(changed)[:, -1] == 9).all()
