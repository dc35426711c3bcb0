"""Parity, at the end and running."""

import math

import numpy as np
import pytest
import torch

from undertow import Batch, RequestError
from undertow_tasks.formal.counter import Counter
from undertow_tasks.formal.options import FormalOptions
from undertow_tasks.formal.parity import Parity
from undertow_tasks.formal.parity_running import ParityRunning

BLANK = 2

both = pytest.mark.parametrize("kind", [Parity, ParityRunning])


def examples(
    kind: type[Counter], length: int = 40, count: int = 200, longest: int | None = None, split: str = "train"
) -> tuple[Counter, Batch]:
    task = kind(FormalOptions(longest_trained=longest), length, 0)
    return task, task.batch(split, np.arange(count))


def parity(x: list[int]) -> int:
    """The answer, from the definition."""
    return x.count(1) % 2


def test_answer_is_the_parity_of_the_whole_string() -> None:
    _, batch = examples(Parity)
    assert batch.input.unique().tolist() == [0, 1]
    assert batch.target.tolist() == [parity(x) for x in batch.input.tolist()]


def test_running_answer_is_the_parity_of_every_prefix() -> None:
    _, batch = examples(ParityRunning)
    for x, y in zip(batch.input.tolist(), batch.target.tolist(), strict=True):
        assert y == [parity(x[: step + 1]) for step in range(40)]


@both
def test_zeros_and_ones_are_equally_frequent_at_every_step(kind: type[Counter]) -> None:
    _, batch = examples(kind, 32, 20_000)
    assert (batch.input.float().mean(0) - 1 / 2).abs().max() < 0.015


@both
@pytest.mark.parametrize("longest", [None, 3])
def test_predicting_by_frequency_costs_the_trivial_loss(kind: type[Counter], longest: int | None) -> None:
    task, batch = examples(kind, 32, 5000, longest, "val")
    counted = task.supervised(batch)
    if counted is None:
        counted = torch.ones_like(batch.target, dtype=torch.bool)
    frequency = torch.bincount(batch.target[counted]) / counted.sum()
    losses = task.loss(frequency.log().expand(*batch.target.shape, 2), batch.target)
    assert losses.shape == batch.target.shape
    assert losses[counted].mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == pytest.approx(math.log(2))
    assert task.trivial_scores["accuracy"] == pytest.approx(1 / 2)


@both
@pytest.mark.parametrize("longest", [None, 10])
def test_every_symbol_is_a_cue_of_the_last_answer_and_no_blank_is(kind: type[Counter], longest: int | None) -> None:
    task, batch = examples(kind, 40, 100, longest, "val")
    last_B = batch.target if kind is Parity else batch.target[:, -1]
    for x, y, cues in zip(batch.input.tolist(), last_B.tolist(), task.cues(batch).tolist(), strict=True):
        for step in range(40):
            symbol = x[step] != BLANK
            assert symbol == (step in cues)
            if symbol:
                assert parity([*x[:step], 1 - x[step], *x[step + 1 :]]) != y


@both
def test_training_has_short_strings_and_the_other_splits_longer_ones_with_blanks_in_front(kind: type[Counter]) -> None:
    for split, lengths in (("train", range(1, 9)), ("val", range(9, 13)), ("test", range(9, 13))):
        task, batch = examples(kind, 12, 4000, 8, split)
        blank_BT = batch.input == BLANK
        assert (blank_BT[:, :-1] >= blank_BT[:, 1:]).all()
        counts = torch.bincount((~blank_BT).sum(1), minlength=13)
        assert [length for length in range(13) if counts[length]] == list(lengths)
        assert (counts[list(lengths)] / 4000 - 1 / len(lengths)).abs().max() < 0.03
        counted = task.supervised(batch)
        assert counted is None if kind is Parity else torch.equal(counted, ~blank_BT)


@both
def test_blanks_move_nothing(kind: type[Counter]) -> None:
    _, batch = examples(kind, 40, 200, 5)
    last_B = batch.target if kind is Parity else batch.target[:, -1]
    assert last_B.tolist() == [parity(x) for x in batch.input.tolist()]


@both
def test_without_the_option_every_string_fills_the_length(kind: type[Counter]) -> None:
    task, batch = examples(kind)
    assert not (batch.input == BLANK).any()
    assert task.supervised(batch) is None


def test_training_strings_as_long_as_the_sequence_are_refused_with_a_remedy() -> None:
    with pytest.raises(
        RequestError, match=r"allowed: 41 or more. Raise task.length, or lower .*parity-running\.longest"
    ):
        examples(ParityRunning, 40, longest=40)
    examples(ParityRunning, 41, longest=40)


@both
def test_accuracy_counts_right_answers(kind: type[Counter]) -> None:
    task, batch = examples(kind, 32, 4)
    wrong = batch.target.clone()
    wrong[0] = 1 - wrong[0]
    metric = task.metrics()["accuracy"]
    metric.update(torch.nn.functional.one_hot(wrong, 2).float().reshape(-1, 2), batch.target.reshape(-1))
    assert metric.compute().item() == 0.75
