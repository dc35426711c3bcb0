"""The temporal order task, with two and three bits."""

import math

import numpy as np
import pytest
import torch

from undertow import Batch
from undertow_tasks.memory.options import TemporalOrderOptions
from undertow_tasks.memory.temporal_order import TemporalOrder

TENTHS = {2: (1, 5), 3: (1, 3, 6)}

pytestmark = pytest.mark.parametrize("bits", [2, 3])


def examples(bits: int, length: int, count: int = 100) -> tuple[TemporalOrder, Batch]:
    task = TemporalOrder(TemporalOrderOptions(bits=bits), length, 0)
    return task, task.batch("train", np.arange(count))


def answer(x: list[int]) -> int:
    """The answer, from the definition: A is 0 and B is 1, and the first of them is the lowest bit."""
    return sum(letter << place for place, letter in enumerate(token for token in x if token < 2))


@pytest.mark.parametrize("length", [20, 37, 100])
def test_one_letter_is_in_each_place(bits: int, length: int) -> None:
    _, batch = examples(bits, length, 5000)
    places = (batch.input < 2).nonzero()[:, 1].view(5000, bits)
    for column, tenth in zip(places.T, TENTHS[bits], strict=True):
        allowed = [p for p in range(length) if tenth * length <= 10 * p < (tenth + 1) * length]
        assert sorted(set(column.tolist())) == allowed


def test_other_symbols_are_equally_frequent(bits: int) -> None:
    _, batch = examples(bits, 30, 20_000)
    share = torch.bincount(batch.input.flatten(), minlength=6)[2:] / (20_000 * (30 - bits))
    assert (share - 1 / 4).abs().max() < 0.005


def test_class_is_the_letters_in_order(bits: int) -> None:
    task, batch = examples(bits, 50, 300)
    assert batch.target.tolist() == [answer(x) for x in batch.input.tolist()]
    assert task.output_size == 2**bits
    assert set(batch.target.tolist()) == set(range(2**bits))


def test_predicting_by_frequency_costs_the_trivial_loss(bits: int) -> None:
    task, batch = examples(bits, 20, 20_000)
    frequency = torch.bincount(batch.target, minlength=2**bits) / 20_000
    losses = task.loss(frequency.log().expand(20_000, -1), batch.target)
    assert losses.shape == (20_000,)
    assert losses.mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == math.log(2**bits)


def test_cues_alone_determine_the_answer(bits: int) -> None:
    task, batch = examples(bits, 40)
    for x, y, cues in zip(*(part.tolist() for part in (*batch, task.cues(batch))), strict=True):
        assert len(cues) == bits
        for step in range(40):
            other = 1 - x[step] if x[step] < 2 else 2 + (x[step] - 1) % 4
            assert (answer([*x[:step], other, *x[step + 1 :]]) != y) == (step in cues)


def test_accuracy_counts_right_answers(bits: int) -> None:
    task, batch = examples(bits, 20, 4)
    wrong = batch.target.clone()
    wrong[0] = (wrong[0] + 1) % 2**bits
    metric = task.metrics()["accuracy"]
    metric.update(torch.nn.functional.one_hot(wrong, 2**bits).float(), batch.target)
    assert metric.compute().item() == 0.75
