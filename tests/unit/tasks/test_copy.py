"""The copy task, in the dialect of Arjovsky, Shah & Bengio."""

import math

import numpy as np
import pytest
import torch

from undertow import Batch, Options
from undertow_tasks.memory.copy import Copy

BLANK, DELIMITER = 8, 9


def examples(length: int, count: int = 100) -> tuple[Copy, Batch]:
    task = Copy(Options(), length, 0)
    return task, task.batch("train", np.arange(count))


@pytest.mark.parametrize("length", [21, 22, 120])
def test_the_layout_is_the_papers(length: int) -> None:
    _, batch = examples(length)
    T = length - 20  # the paper's letter
    for x, y in zip(batch.input.tolist(), batch.target.tolist(), strict=True):
        symbols = x[:10]
        assert x == symbols + [BLANK] * (T - 1) + [DELIMITER] + [BLANK] * 10
        assert y == [BLANK] * (T + 10) + symbols
        assert set(symbols) <= set(range(8))
        assert len(x) == len(y) == length


def test_all_symbols_are_equally_frequent_at_every_position() -> None:
    _, batch = examples(30, 20_000)
    for position in range(10):
        share = torch.bincount(batch.input[:, position], minlength=8) / 20_000
        assert (share - 1 / 8).abs().max() < 0.01


@pytest.mark.parametrize(("length", "printed"), [(120, 0.1733), (220, 0.0945), (520, 0.0400), (1020, 0.0204)])
def test_blank_then_any_symbol_costs_the_trivial_loss(length: int, printed: float) -> None:
    task, batch = examples(length)
    output = torch.zeros(100, length, 9)
    output[:, :-10, BLANK] = 100.0
    output[:, -10:, BLANK] = -100.0
    losses = task.loss(output, batch.target)
    assert losses.shape == (100, length)
    assert losses.mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == 10 * math.log(8) / length == pytest.approx(printed, abs=5e-5)


def test_the_last_symbol_is_the_cue_of_the_last_answer() -> None:
    task, batch = examples(50)
    cues = task.cues(batch)
    assert cues.shape == (100, 1)
    assert torch.equal(batch.input.gather(1, cues)[:, 0], batch.target[:, -1])
    others = [step for step in range(50) if step != cues[0, 0]]
    assert not any(torch.equal(batch.input[:, step], batch.target[:, -1]) for step in others)


def test_accuracy_counts_the_recalled_symbols_alone() -> None:
    task, batch = examples(40, 2)
    answers = torch.nn.functional.one_hot(batch.target, 9).float()
    answers[:, -5:] = torch.nn.functional.one_hot((batch.target[:, -5:] + 1) % 8, 9).float()
    answers[:, :10] = 0.0
    metric = task.metrics()["accuracy"]
    metric.update(answers.reshape(-1, 9), batch.target.reshape(-1))
    assert metric.compute().item() == 0.5


def test_every_step_is_supervised() -> None:
    task, batch = examples(40)
    assert task.supervised(batch) is None
