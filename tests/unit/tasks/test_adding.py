"""The adding task, in each of its dialects."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow import Batch, RequestError
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions

DIALECTS = ("halves", "anywhere", "pascanu", "hs97")

ANSWERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "halves": lambda sums: sums,
    "anywhere": lambda sums: sums,
    "pascanu": lambda sums: sums / 2,
    "hs97": lambda sums: 0.5 + sums / 4,
}
"""The answer in each dialect, from the sum of the marked values."""


def examples(length: int, count: int, seed: int = 0, dialect: str = "halves") -> tuple[Adding, Batch]:
    task = Adding(AddingOptions(dialect=dialect), length, seed)
    return task, task.batch("train", np.arange(count))


def answer(x_BT2: torch.Tensor, dialect: str) -> torch.Tensor:
    return ANSWERS[dialect]((x_BT2[:, :, 0] * (x_BT2[:, :, 1] == 1)).sum(1, keepdim=True))


def marked(batch: Batch) -> torch.Tensor:
    """Steps with marker 1, `(B, 2)`, the earlier first."""
    steps = (batch.input[:, :, 1] == 1).nonzero()[:, 1]
    assert len(steps) == 2 * len(batch.input)
    return steps.view(-1, 2)


@pytest.mark.parametrize(
    ("length", "digest"), [(2, "ea2d8f055dfc1cf7"), (50, "3bf5f6968eb6bd94"), (101, "ed3134c711764065")]
)
def test_default_examples_never_change(length: int, digest: str) -> None:
    task, batch = examples(length, 40, seed=3)
    data = b"".join(part.numpy().tobytes() for part in (*batch, task.cues(batch)))
    assert hashlib.sha256(data).hexdigest()[:16] == digest


@pytest.mark.parametrize("length", [2, 3, 10, 101])
def test_one_step_of_each_half_is_marked(length: int) -> None:
    _, batch = examples(length, 500)
    marker_BT = batch.input[:, :, 1]
    assert set(marker_BT.unique().tolist()) <= {0, 1}
    assert marker_BT[:, : length // 2].sum(1).unique().tolist() == [1]
    assert marker_BT[:, length // 2 :].sum(1).unique().tolist() == [1]


def test_every_step_is_marked_about_equally_often() -> None:
    _, batch = examples(10, 20_000)
    share_T = batch.input[:, :, 1].mean(0)
    assert share_T.min() > 0.19
    assert share_T.max() < 0.21


def test_anywhere_marks_every_pair_of_steps_about_equally_often() -> None:
    _, batch = examples(6, 30_000, dialect="anywhere")
    pairs, counts = marked(batch).unique(dim=0, return_counts=True)
    assert len(pairs) == 6 * 5 / 2
    assert counts.min() > 1800
    assert counts.max() < 2200


@pytest.mark.parametrize("length", [10, 37, 100])
def test_pascanu_marks_one_step_in_the_first_tenth_and_one_from_there_to_the_middle(length: int) -> None:
    _, batch = examples(length, 20_000, dialect="pascanu")
    first_B, second_B = marked(batch).T
    assert set(first_B.tolist()) == {p for p in range(length) if p < 0.1 * length}
    assert set(second_B.tolist()) == {p for p in range(length) if 0.1 * length <= p < 0.5 * length}


@pytest.mark.parametrize("length", [20, 21, 100])
def test_hs97_marks_one_of_the_first_ten_and_another_of_the_first_half(length: int) -> None:
    _, batch = examples(length, 40_000, dialect="hs97")
    earlier_B, later_B = marked(batch).T
    assert set(earlier_B.tolist()) == set(range(1, 10 if length > 21 else 9))
    assert set(later_B.tolist()) == set(range(2, length // 2))
    assert batch.input[:, [0, -1], 1].unique().tolist() == [-1]
    assert set(batch.input[:, 1:-1, 1].unique().tolist()) == {0, 1}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_values_are_uniform_over_the_range_of_the_dialect(dialect: str) -> None:
    _, batch = examples(20, 20_000, dialect=dialect)
    low, high = (-1, 1) if dialect == "hs97" else (0, 1)
    values = batch.input[:, :, 0]
    assert low <= values.min() < low + 0.001
    assert high - 0.001 < values.max() <= high
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.01)
    assert values.var().item() == pytest.approx((high - low) ** 2 / 12, rel=0.01)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_target_is_the_dialects_function_of_the_marked_values(dialect: str) -> None:
    _, batch = examples(50, 300, dialect=dialect)
    assert batch.target.shape == (300, 1)
    assert batch.target.dtype == torch.float32
    assert torch.allclose(batch.target, answer(batch.input, dialect), atol=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answer_is_the_same_function_for_any_input(dialect: str) -> None:
    task, batch = examples(20, 100, dialect=dialect)
    assert torch.allclose(task.answer(batch.input), batch.target, atol=1e-6)
    noise = torch.stack([torch.rand(100, 20), torch.randint(-1, 2, (100, 20))], -1)
    assert torch.allclose(task.answer(noise), answer(noise, dialect), atol=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_cues_alone_determine_the_answer(dialect: str) -> None:
    task, batch = examples(40, 200, dialect=dialect)
    cues = task.cues(batch)
    assert cues.shape == (200, 2)
    assert (cues[:, 0] < cues[:, 1]).all()
    is_cue = torch.zeros(200, 40, dtype=torch.bool).scatter_(1, cues, True)
    noise = torch.rand(200, 40)
    other_steps, at_cues = batch.input.clone(), batch.input.clone()
    other_steps[:, :, 0] = torch.where(is_cue, other_steps[:, :, 0], noise)
    at_cues[:, :, 0] = torch.where(is_cue, noise, at_cues[:, :, 0])
    assert torch.allclose(answer(other_steps, dialect), batch.target, atol=1e-6)
    assert not torch.isclose(answer(at_cues, dialect), batch.target, atol=1e-6).any()


@pytest.mark.parametrize(
    ("dialect", "guess", "trivial"),
    [("halves", 1, 1 / 6), ("anywhere", 1, 1 / 6), ("pascanu", 1 / 2, 1 / 24), ("hs97", 1 / 2, 1 / 24)],
)
def test_mean_answer_costs_the_trivial_loss(dialect: str, guess: float, trivial: float) -> None:
    task, batch = examples(20, 200_000, dialect=dialect)
    losses = task.loss(torch.full((200_000, 1), guess), batch.target)
    assert losses.shape == (200_000,)
    assert losses.mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == trivial


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_other_constant_is_better_than_the_mean(dialect: str) -> None:
    task, batch = examples(20, 50_000, dialect=dialect)
    mean = 0.5 if dialect in ("pascanu", "hs97") else 1.0
    guesses = (mean - 0.05, mean, mean + 0.05)
    by_guess = {guess: task.loss(torch.full((50_000, 1), guess), batch.target).mean() for guess in guesses}
    assert min(by_guess, key=by_guess.get) == mean


@pytest.mark.parametrize(
    ("dialect", "bound"), [("halves", "0.05"), ("anywhere", "0.05"), ("pascanu", "0.0125"), ("hs97", "0.0125")]
)
def test_three_tenths_of_the_trivial_loss_count_as_solved(dialect: str, bound: str) -> None:
    assert examples(20, 1, dialect=dialect)[0].solved == f"val/loss < {bound}"


@pytest.mark.parametrize(("dialect", "least"), [("pascanu", 10), ("hs97", 20)])
def test_length_too_short_for_the_dialect_is_refused_with_a_remedy(dialect: str, least: int) -> None:
    with pytest.raises(RequestError, match=f"allowed: {least} or more. Raise task.length"):
        examples(least - 1, 1, dialect=dialect)
