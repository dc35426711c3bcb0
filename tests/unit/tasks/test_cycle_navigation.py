"""Cycle navigation, at the end and running."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from undertow import Batch
from undertow_tasks.formal.counter import Counter
from undertow_tasks.formal.cycle_navigation import CycleNavigation
from undertow_tasks.formal.cycle_navigation_running import CycleNavigationRunning
from undertow_tasks.formal.options import FormalOptions

BLANK = 3

both = pytest.mark.parametrize("kind", [CycleNavigation, CycleNavigationRunning])


def examples(
    kind: type[Counter], length: int = 40, count: int = 200, longest: int | None = None, split: str = "train"
) -> tuple[Counter, Batch]:
    task = kind(FormalOptions(longest_trained=longest), length, 0)
    return task, task.batch(split, np.arange(count))


def place(x: list[int]) -> int:
    """The answer, from the definition: tokens 0, 1, 2 move by -1, 0, 1 on a circle of five."""
    return (x.count(2) - x.count(0)) % 5


def test_answer_is_the_place_after_the_whole_walk() -> None:
    _, batch = examples(CycleNavigation)
    assert batch.input.unique().tolist() == [0, 1, 2]
    assert batch.target.tolist() == [place(x) for x in batch.input.tolist()]
    assert set(batch.target.tolist()) == {0, 1, 2, 3, 4}


def test_examples_of_the_papers_code() -> None:
    assert place([2, 0, 1, 0, 0]) == 3
    assert place([2, 2, 2, 0]) == 2


def test_running_answer_is_the_place_after_every_move() -> None:
    _, batch = examples(CycleNavigationRunning)
    for x, y in zip(batch.input.tolist(), batch.target.tolist(), strict=True):
        assert y == [place(x[: step + 1]) for step in range(40)]


@both
def test_three_moves_are_equally_frequent_at_every_step(kind: type[Counter]) -> None:
    _, batch = examples(kind, 20, 20_000)
    share_TK = torch.nn.functional.one_hot(batch.input, 4).float().mean(0)
    assert (share_TK - torch.tensor([1 / 3, 1 / 3, 1 / 3, 0])).abs().max() < 0.015


def shares_after(moves: int) -> list[float]:
    """The share of each place, by counting every walk."""
    ends = [place(list(walk)) for walk in product(range(3), repeat=moves)]
    return [ends.count(j) / len(ends) for j in range(5)]


def entropy_after(moves: int) -> float:
    """The entropy of the place."""
    return -sum(p * math.log(p) for p in shares_after(moves) if p)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_trivial_loss_is_the_entropy_of_all_walks(length: int) -> None:
    assert examples(CycleNavigation, length)[0].trivial_loss == pytest.approx(entropy_after(length))
    each = [entropy_after(moves) for moves in range(1, length + 1)]
    assert examples(CycleNavigationRunning, length)[0].trivial_loss == pytest.approx(sum(each) / length)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_trivial_accuracy_is_the_share_of_the_most_frequent_place_of_all_walks(length: int) -> None:
    most = [max(shares_after(moves)) for moves in range(1, length + 1)]
    assert examples(CycleNavigation, length)[0].trivial_scores == {"accuracy": pytest.approx(most[-1])}
    running = examples(CycleNavigationRunning, length)[0]
    assert running.trivial_scores == {"accuracy": pytest.approx(sum(most) / length)}


def test_trivial_loss_is_ln_5_for_a_long_walk_and_a_little_less_when_running() -> None:
    assert examples(CycleNavigation, 20)[0].trivial_loss == pytest.approx(math.log(5), rel=1e-9)
    assert 0.98 * math.log(5) < examples(CycleNavigationRunning, 40)[0].trivial_loss < 0.998 * math.log(5)


@both
@pytest.mark.parametrize("longest", [None, 2])
def test_best_constant_for_each_step_costs_the_trivial_loss(kind: type[Counter], longest: int | None) -> None:
    task, batch = examples(kind, 20, 20_000, longest, "val")
    counted = task.supervised(batch)
    if counted is None:
        counted = torch.ones_like(batch.target, dtype=torch.bool)
    counts = (torch.nn.functional.one_hot(batch.target, 5) * counted.unsqueeze(-1)).sum(0)
    log_share = (counts / counts.sum(-1, keepdim=True).clamp(min=1)).log().clamp(min=-30)
    losses = task.loss(log_share.expand(*batch.target.shape, 5), batch.target)
    assert losses[counted].mean().item() == pytest.approx(task.trivial_loss, rel=0.01)


@both
@pytest.mark.parametrize("longest", [None, 10])
def test_every_move_is_a_cue_of_the_last_answer_and_no_blank_is(kind: type[Counter], longest: int | None) -> None:
    task, batch = examples(kind, 40, 100, longest, "val")
    last_B = batch.target if kind is CycleNavigation else batch.target[:, -1]
    for x, y, cues in zip(batch.input.tolist(), last_B.tolist(), task.cues(batch).tolist(), strict=True):
        assert place(x) == y
        for step in range(40):
            move = x[step] != BLANK
            assert move == (step in cues)
            if move:
                assert place([*x[:step], (x[step] + 1) % 3, *x[step + 1 :]]) != y


@both
def test_no_walk_is_in_training_and_in_validation(kind: type[Counter]) -> None:
    _, short = examples(kind, 6, 500, 3)
    _, long = examples(kind, 6, 500, 3, "val")
    assert not {tuple(x) for x in short.input.tolist()} & {tuple(x) for x in long.input.tolist()}
