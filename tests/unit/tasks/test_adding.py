"""The adding task, in the dialect with a marker in each half."""

import numpy as np
import pytest
import torch

from undertow import Batch, Options
from undertow_tasks.memory.adding import Adding


def examples(length: int, count: int, seed: int = 0) -> tuple[Adding, Batch]:
    task = Adding(Options(), length, seed)
    return task, task.batch("train", np.arange(count))


def answer(x_BT2: torch.Tensor) -> torch.Tensor:
    """What the task asks for, from its definition: the sum of the marked values."""
    return (x_BT2[:, :, 0] * x_BT2[:, :, 1]).sum(1, keepdim=True)


@pytest.mark.parametrize("length", [2, 3, 10, 101])
def test_one_step_of_each_half_is_marked(length: int) -> None:
    _, batch = examples(length, 500)
    marker_BT = batch.input[:, :, 1]
    assert set(marker_BT.unique().tolist()) <= {0, 1}
    assert marker_BT[:, : length // 2].sum(1).unique().tolist() == [1]
    assert marker_BT[:, length // 2 :].sum(1).unique().tolist() == [1]


def test_every_step_is_marked_sometimes_and_about_equally_often() -> None:
    _, batch = examples(10, 20_000)
    share_T = batch.input[:, :, 1].mean(0)
    assert share_T.min() > 0.19
    assert share_T.max() < 0.21


def test_values_are_uniform_between_zero_and_one() -> None:
    _, batch = examples(10, 20_000)
    values = batch.input[:, :, 0]
    assert 0 <= values.min() < 0.001
    assert 0.999 < values.max() <= 1
    assert values.mean().item() == pytest.approx(1 / 2, rel=0.01)
    assert values.var().item() == pytest.approx(1 / 12, rel=0.01)


def test_the_target_is_the_sum_of_the_marked_values() -> None:
    _, batch = examples(50, 300)
    assert batch.target.shape == (300, 1)
    assert torch.allclose(batch.target, answer(batch.input), atol=1e-6)


def test_the_cues_decide_the_answer_and_nothing_else_does() -> None:
    task, batch = examples(40, 200)
    cues = task.cues(batch)
    assert cues.shape == (200, 2)
    assert (cues[:, 0] < cues[:, 1]).all()
    is_cue = torch.zeros(200, 40, dtype=torch.bool).scatter_(1, cues, True)
    noise = torch.rand(200, 40)
    elsewhere, at_cues = batch.input.clone(), batch.input.clone()
    elsewhere[:, :, 0] = torch.where(is_cue, elsewhere[:, :, 0], noise)
    at_cues[:, :, 0] = torch.where(is_cue, noise, at_cues[:, :, 0])
    assert torch.allclose(answer(elsewhere), batch.target, atol=1e-6)
    assert not torch.isclose(answer(at_cues), batch.target, atol=1e-6).any()


def test_answering_one_costs_the_trivial_loss() -> None:
    task, batch = examples(4, 200_000)
    losses = task.loss(torch.ones(200_000, 1), batch.target)
    assert losses.shape == (200_000,)
    assert losses.mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == 1 / 6


def test_no_other_constant_is_better_than_one() -> None:
    task, batch = examples(4, 50_000)
    by_guess = {guess: task.loss(torch.full((50_000, 1), guess), batch.target).mean() for guess in (0.9, 1.0, 1.1)}
    assert min(by_guess, key=by_guess.get) == 1.0
