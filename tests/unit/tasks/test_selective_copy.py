"""The selective copy task."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from undertow import Batch, RequestError
from undertow_tasks.memory.options import SelectiveCopyOptions
from undertow_tasks.memory.selective_copy import SelectiveCopy

BLANK, DELIMITER = 8, 9


def examples(length: int, count: int = 100, **options: object) -> tuple[SelectiveCopy, Batch]:
    task = SelectiveCopy(SelectiveCopyOptions(**options), length, 0)
    return task, task.batch("train", np.arange(count))


def answer(x: list[int]) -> list[int]:
    """The answer, from the definition: the symbols in their order."""
    return [token for token in x if token < BLANK]


@pytest.mark.parametrize("length", [20, 21, 120])
def test_symbols_are_scattered_and_are_the_targets_in_order_at_the_end(length: int) -> None:
    task, batch = examples(length)
    for x, y, counted in zip(*(part.tolist() for part in (*batch, task.supervised(batch))), strict=True):
        assert len(answer(x)) == 10
        assert x[-10:] == [DELIMITER] * 10
        assert set(x[:-10]) <= set(range(9))
        assert y[-10:] == answer(x)
        assert counted == [False] * (length - 10) + [True] * 10


def test_every_place_has_a_symbol_equally_often_and_all_symbols_are_equally_frequent() -> None:
    _, batch = examples(50, 20_000)
    share_T = (batch.input[:, :40] < BLANK).float().mean(0)
    assert (share_T - 10 / 40).abs().max() < 0.015
    share = torch.bincount(batch.target[:, -10:].flatten(), minlength=8) / 200_000
    assert (share - 1 / 8).abs().max() < 0.005


def test_options_set_the_number_of_symbols_and_of_kinds() -> None:
    task, batch = examples(60, 2000, symbols=24, alphabet=2)
    assert (batch.input < 2).sum(1).unique().tolist() == [24]
    assert batch.input[:, :36].unique().tolist() == [0, 1, 2]
    assert (task.inputs.vocabulary, task.output_size) == (4, 2)
    assert task.trivial_loss == math.log(2)


@pytest.mark.parametrize("length", [20, 300])
def test_predicting_by_frequency_costs_the_trivial_loss(length: int) -> None:
    task, batch = examples(length, 2000)
    counted_BT = task.supervised(batch)
    frequency = torch.bincount(batch.target[counted_BT], minlength=8) / 20_000
    losses = task.loss(frequency.log().expand(2000, length, 8), batch.target)
    assert losses.shape == (2000, length)
    assert losses[counted_BT].mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == math.log(8)


def test_cue_alone_determines_the_last_answer() -> None:
    task, batch = examples(40)
    for x, y, (cue,) in zip(*(part.tolist() for part in (*batch, task.cues(batch))), strict=True):
        for step in range(30):
            if x[step] != BLANK:
                changed = [*x[:step], (x[step] + 1) % 8, *x[step + 1 :]]
                assert (answer(changed)[-1] != y[-1]) == (step == cue)
        assert x[cue] == y[-1]


def test_cue_differs_between_examples() -> None:
    task, batch = examples(120, 2000)
    assert len(task.cues(batch).unique()) > 20


def test_accuracy_counts_right_symbols() -> None:
    task, batch = examples(40, 2)
    answers = torch.nn.functional.one_hot(batch.target, 8).float()
    answers[:, -5:] = torch.nn.functional.one_hot((batch.target[:, -5:] + 1) % 8, 8).float()
    metric = task.metrics()["accuracy"]
    metric.update(answers[task.supervised(batch)], batch.target[task.supervised(batch)])
    assert metric.compute().item() == 0.5


def test_too_many_symbols_for_the_length_are_refused_with_a_remedy() -> None:
    with pytest.raises(RequestError, match=r"allowed: 40 or more. Raise task.length, or lower .*symbols"):
        examples(39, symbols=20)


def test_too_few_different_sequences_are_refused() -> None:
    with pytest.raises(ValidationError, match="10 symbols of 2 kinds make 1024 sequences"):
        SelectiveCopyOptions(alphabet=2)
