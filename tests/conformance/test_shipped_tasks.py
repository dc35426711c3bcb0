"""Every shipped task against the contract, at its default length and at a longer one where it has one. B batch."""

import random
import sys
from collections.abc import Iterator
from itertools import combinations
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from undertow.contract import Batch, Task, Tokens
from undertow.plugins import load_plugins
from undertow.spec import TaskSpec

REGISTRY = load_plugins()
SPLITS = ("train", "val", "test")


def cases() -> Iterator[Any]:
    for entry in REGISTRY.tasks.values():
        if entry.plugin.distribution == "undertow-tasks":
            lengths = entry.spec.lengths
            for length in sorted({lengths.minimum, lengths.default, lengths.default + 37}):
                if length in lengths:
                    yield pytest.param(entry.spec, length, id=f"{entry.spec.name}-T{length}")


pytestmark = pytest.mark.parametrize(("spec", "length"), list(cases()))


def build(spec: TaskSpec, length: int, seed: int = 0) -> Task:
    return REGISTRY.factory(spec)(spec.options(), length, seed)


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.input, other.input) and torch.equal(one.target, other.target)


def test_it_is_what_its_spec_says(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    assert task.shape == spec.shape
    assert task.length == length
    assert set(task.metrics()) == set(spec.metrics)
    assert task.metrics() is not task.metrics()
    assert task.trivial_loss is not None
    assert task.trivial_loss > 0


def test_a_batch_has_the_shapes_of_its_kind(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    batch = task.batch("train", np.arange(5))
    assert isinstance(batch, Batch)
    assert batch.input.shape[:2] == (5, length)
    if isinstance(task.inputs, Tokens):
        assert batch.input.dtype == torch.int64
        assert 0 <= batch.input.min() <= batch.input.max() < task.inputs.vocabulary
    else:
        assert batch.input.dtype == torch.float32
        assert batch.input.shape[2:] == (task.inputs.width,)
    answers = (5, length) if spec.shape == "aligned" else (5,)
    if batch.target.dtype == torch.int64:
        assert batch.target.shape == answers
        assert 0 <= batch.target.min() <= batch.target.max() < task.output_size
    else:
        assert batch.target.shape == (*answers, task.output_size)
    losses = task.loss(torch.zeros(*answers, task.output_size), batch.target)
    assert losses.shape == answers
    for metric in task.metrics().values():
        metric.update(torch.rand(*answers, task.output_size).flatten(0, -2), batch.target.flatten())
        assert torch.isfinite(metric.compute())


def test_an_example_is_the_same_in_whatever_batch_and_order(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    for split in SPLITS:
        together = task.batch(split, np.array([4, 0, 7, 7]))
        for position, index in enumerate([4, 0, 7, 7]):
            alone = build(spec, length).batch(split, np.array([index]))
            assert same(alone, Batch(*(part[position : position + 1] for part in together)))


def test_examples_and_splits_differ(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    seen: dict[str, set[bytes]] = {}
    for split in SPLITS:
        batch = task.batch(split, np.arange(200))
        seen[split] = {x.numpy().tobytes() + y.numpy().tobytes() for x, y in zip(*batch, strict=True)}
        assert len(seen[split]) == 200
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]


def test_only_what_is_drawn_depends_on_the_seed(spec: TaskSpec, length: int) -> None:
    one, same_seed, other = (build(spec, length, seed).batch("val", np.arange(5)) for seed in (0, 0, 1))
    drawn = build(spec, length).size("train") is None
    assert same(one, same_seed)
    assert same(one, other) != drawn


def test_a_split_holds_what_it_says(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    for split in SPLITS:
        size = task.size(split)
        last = 10**9 if size is None else size - 1
        assert len(task.batch(split, np.array([last])).target) == 1


def test_making_a_batch_leaves_every_random_state_alone(spec: TaskSpec, length: int) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    build(spec, length).batch("train", np.arange(5))
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_cues_are_steps_of_the_sequence(spec: TaskSpec, length: int) -> None:
    task = build(spec, length)
    cues = task.cues(task.batch("val", np.arange(5)))
    assert cues.dtype == torch.int64
    assert cues.shape[0] == 5
    assert cues.shape[1] >= 1
    assert 0 <= cues.min() <= cues.max() < length


def test_a_batch_is_made_at_once_and_not_example_by_example(spec: TaskSpec, length: int) -> None:
    """Python executes as many lines for 300 examples as for 3."""
    task = build(spec, length)
    task.batch("val", np.arange(300))  # what is loaded once is loaded now

    def lines(count: int) -> int:
        executed = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal executed
            executed += event == "line"
            return trace

        outer = sys.gettrace()
        sys.settrace(trace)
        try:
            task.batch("val", np.arange(count))
        finally:
            sys.settrace(outer)
        return executed

    assert 0 < lines(300) == lines(3)
