"""The copy task, in the dialect of Arjovsky, Shah & Bengio and in that of S4."""

import hashlib
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from undertow import Batch, RequestError
from undertow_tasks.memory.copy import Copy
from undertow_tasks.memory.options import CopyOptions

BLANK, DELIMITER = 8, 9


def examples(length: int, count: int = 100, seed: int = 0, **options: object) -> tuple[Copy, Batch]:
    task = Copy(CopyOptions(**options), length, seed)
    return task, task.batch("train", np.arange(count))


@pytest.mark.parametrize(("length", "digest"), [(21, "d2144e7fd5616f0e"), (120, "d41b7d7e610df395")])
def test_default_examples_never_change(length: int, digest: str) -> None:
    task, batch = examples(length, 40, seed=3)
    data = b"".join(part.numpy().tobytes() for part in (*batch, task.cues(batch)))
    assert hashlib.sha256(data).hexdigest()[:16] == digest


@pytest.mark.parametrize("length", [21, 22, 120])
def test_layout_is_the_papers(length: int) -> None:
    _, batch = examples(length)
    T = length - 20  # the paper's letter
    for x, y in zip(batch.input.tolist(), batch.target.tolist(), strict=True):
        symbols = x[:10]
        assert x == symbols + [BLANK] * (T - 1) + [DELIMITER] + [BLANK] * 10
        assert y == [BLANK] * (T + 10) + symbols
        assert set(symbols) <= set(range(8))
        assert len(x) == len(y) == length


@pytest.mark.parametrize("length", [21, 22, 120])
def test_s4_has_a_delimiter_at_each_of_the_last_steps_and_only_these_count(length: int) -> None:
    task, batch = examples(length, dialect="s4")
    counted_BT = task.supervised(batch)
    assert counted_BT is not None
    for x, y, counted in zip(batch.input.tolist(), batch.target.tolist(), counted_BT.tolist(), strict=True):
        assert x == x[:10] + [BLANK] * (length - 20) + [DELIMITER] * 10
        assert y[-10:] == x[:10]
        assert counted == [False] * (length - 10) + [True] * 10
        assert set(x[:10]) <= set(range(8))


def test_options_set_the_number_of_symbols_and_of_kinds() -> None:
    task, batch = examples(25, 2000, symbols=12, alphabet=5)
    assert batch.input[:, :12].unique().tolist() == [0, 1, 2, 3, 4]
    assert batch.input[:, 12].unique().tolist() == [6]
    assert batch.input[:, 13:].unique().tolist() == [5]
    assert torch.equal(batch.target[:, -12:], batch.input[:, :12])
    assert (task.inputs.vocabulary, task.output_size) == (7, 6)
    assert task.trivial_loss == pytest.approx(12 * math.log(5) / 25)


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


@pytest.mark.parametrize("length", [21, 500])
def test_trivial_loss_of_s4_does_not_depend_on_the_length(length: int) -> None:
    task, batch = examples(length, 2000, dialect="s4")
    frequency = torch.bincount(batch.target[task.supervised(batch)], minlength=8) / 20_000
    losses = task.loss(frequency.log().expand(2000, length, 8), batch.target)
    assert losses[task.supervised(batch)].mean().item() == pytest.approx(task.trivial_loss, rel=0.01)
    assert task.trivial_loss == pytest.approx(math.log(8)) == pytest.approx(2.079, abs=5e-4)


@pytest.mark.parametrize("dialect", ["arjovsky", "s4"])
def test_cue_is_the_step_of_the_last_symbol(dialect: str) -> None:
    task, batch = examples(50, dialect=dialect)
    cues = task.cues(batch)
    assert cues.shape == (100, 1)
    assert torch.equal(batch.input.gather(1, cues)[:, 0], batch.target[:, -1])
    others = [step for step in range(50) if step != cues[0, 0]]
    assert not any(torch.equal(batch.input[:, step], batch.target[:, -1]) for step in others)


def test_accuracy_counts_the_reproduced_symbols_alone() -> None:
    task, batch = examples(40, 2)
    answers = torch.nn.functional.one_hot(batch.target, 9).float()
    answers[:, -5:] = torch.nn.functional.one_hot((batch.target[:, -5:] + 1) % 8, 9).float()
    answers[:, :10] = 0.0
    metric = task.metrics()["accuracy"]
    metric.update(answers.reshape(-1, 9), batch.target.reshape(-1))
    assert metric.compute().item() == 0.5


def test_accuracy_of_s4_counts_the_supervised_steps() -> None:
    task, batch = examples(40, 2, dialect="s4")
    answers = torch.nn.functional.one_hot(batch.target, 8).float()
    answers[:, -5:] = torch.nn.functional.one_hot((batch.target[:, -5:] + 1) % 8, 8).float()
    metric = task.metrics()["accuracy"]
    metric.update(answers[task.supervised(batch)], batch.target[task.supervised(batch)])
    assert metric.compute().item() == 0.5


def test_every_step_of_arjovsky_is_supervised() -> None:
    task, batch = examples(40)
    assert task.supervised(batch) is None


@pytest.mark.parametrize("dialect", ["arjovsky", "s4"])
def test_too_many_symbols_for_the_length_are_refused_with_a_remedy(dialect: str) -> None:
    with pytest.raises(RequestError, match=r"allowed: 41 or more. Raise task.length, or lower .*symbols"):
        examples(40, symbols=20, dialect=dialect)
    assert examples(41, symbols=20, dialect=dialect)[1].input.shape == (100, 41)


def test_too_few_different_sequences_are_refused() -> None:
    with pytest.raises(ValidationError, match="3 symbols of 8 kinds make 512 sequences"):
        CopyOptions(symbols=3)
