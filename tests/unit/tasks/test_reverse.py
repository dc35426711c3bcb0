"""Reverse."""

import numpy as np
import torch

from undertow_tasks.formal.options import ReverseOptions
from undertow_tasks.formal.reverse import Reverse


def task(length: int = 10, alphabet: int = 8) -> Reverse:
    return Reverse(ReverseOptions(alphabet=alphabet), length, 0)


def test_target_is_the_reversed_input() -> None:
    batch = task().batch("train", np.arange(100))
    assert batch.input.unique().tolist() == list(range(8))
    assert batch.target.tolist() == [x[::-1] for x in batch.input.tolist()]


def test_as_many_symbols_are_written_as_are_read() -> None:
    for length in (4, 11):
        assert task(length).writes == length
        assert task(length).batch("val", np.arange(3)).target.shape == (3, length)


def test_last_answer_depends_on_the_first_symbol_alone() -> None:
    of = task()
    batch = of.batch("val", np.arange(50))
    assert of.cues(batch).tolist() == [[0]] * 50
    changed = batch.input.clone()
    changed[:, 1:] = 0
    assert torch.equal(of.answer(changed)[:, -1], batch.target[:, -1])
    changed[:, 0] = (changed[:, 0] + 1) % 8
    assert (of.answer(changed)[:, -1] != batch.target[:, -1]).all()
