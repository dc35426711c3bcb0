"""Checks of the examples of a task: a function of seed, split and index, made a batch at a time."""

import random
import sys
from itertools import combinations
from types import FrameType
from typing import Any

import numpy as np
import torch

from undertow.api.contract import Batch, Task
from undertow.testing.asserts import expect
from undertow.testing.other_process import SPLITS, digest, other_process
from undertow.testing.task._base import TaskChecks, indices_of, same

_SOME = (4, 0, 7, 7)
"""Numbers of examples, out of order and one twice."""
_MANY = 200


class ExampleChecks(TaskChecks):
    """Which examples there are."""

    def test_example_is_the_same_in_every_batch(self) -> None:
        """Is an example the same in every batch, at every position, and in a new task of the same seed?"""
        task = self.build()
        for split in SPLITS:
            indices = indices_of(task, split, _SOME)
            together = task.batch(split, indices)
            for position, index in enumerate(indices):
                alone = self.build().batch(split, np.array([index]))
                row = Batch(*(part[position : position + 1] for part in together))
                expect(
                    same(alone, row),
                    f"example {index} of {split} differs alone and in the batch {indices.tolist()}. Draw it from "
                    "(seed, split, index) alone, as `undertow.draws` does: devices split batches differently.",
                )

    def test_example_is_the_same_in_every_process(self) -> None:
        """Does another process, such as a second device or a resumed run, make the same examples?"""
        task = self.build()
        indices = {split: indices_of(task, split, _SOME).tolist() for split in SPLITS}
        request = {
            "path": [folder for folder in sys.path if folder],
            "files": [str(file) for file in self.plugins],
            "name": self.name,
            "options": self.made_options().model_dump_json(),
            "length": self.steps,
            "seed": 0,
            "indices": indices,
        }
        expect(
            other_process().digest(request) == digest(task, indices),
            "another process makes other examples from the same seed. Look for `hash`, the order of a set, the time, "
            "or an unsorted list of files.",
        )

    def test_splits_are_disjoint(self) -> None:
        """Do examples differ from each other, and is none in two splits?"""
        task = self.build()
        made = {split: _bytes(task.batch(split, indices_of(task, split, _MANY))) for split in SPLITS}
        drawn = task.size("train") is None
        few_possible = drawn and len(set(made["train"])) < 0.98 * _MANY
        for split, examples in made.items():
            expect(len(set(examples)) > 1, f"all examples of {split} are equal.")
            expect(
                len(set(examples)) >= 0.5 * len(examples) or not drawn or self.steps < self.spec.lengths.default,
                f"only {len(set(examples))} of {len(examples)} examples of {split} are different. At its default "
                "length a task must have more different examples.",
            )
        for one, other in combinations(SPLITS, 2):
            if few_possible:  # splits share examples by chance, but not in the same order
                equal = [x == y for x, y in zip(made[one], made[other], strict=False)]
                expect(
                    sum(equal) < 0.9 * len(equal),
                    f"{one} and {other} are the same examples. Draw from a stream for each split.",
                )
            else:
                common = len(set(made[one]) & set(made[other]))
                expect(not common, f"{common} examples are in both {one} and {other}, out of {_MANY} of each.")

    def test_seed_draws_and_data_stay(self) -> None:
        """Does another seed give other examples if they are drawn, and the same if they are data?"""
        one, again, other = (self.build(seed) for seed in (0, 0, 1))
        indices = indices_of(one, "val", 5)
        first = one.batch("val", indices)
        expect(same(first, again.batch("val", indices)), "two tasks made with one seed give different examples.")
        changed = not same(first, other.batch("val", indices))
        if one.size("train") is None:
            expect(
                changed, "examples do not depend on the seed. Draw them from it: a study's seeds are its replicates."
            )
        else:
            expect(
                not changed,
                "the examples of a finite set depend on the seed. Split data the same way for every seed, so that runs "
                "can be compared; the platform shuffles.",
            )

    def test_split_holds_what_it_says(self) -> None:
        """Is there a last example of every finite split, and one of any number in every infinite split?"""
        task = self.build()
        for split in SPLITS:
            size = task.size(split)
            expect(size is None or size >= 1, f"size({split!r}) is {size}; expected at least 1, or None.")
            last = 10**9 if size is None else size - 1
            found = len(task.batch(split, np.array([last])).target)
            expect(found == 1, f"the batch of example {last} of {split} has {found} examples.")

    def test_random_states_are_left_alone(self) -> None:
        """Are the random states of torch, NumPy and Python the same after a batch was made?"""
        before = _random_states()
        task = self.build()
        task.cues(task.batch("train", indices_of(task, "train", 5)))
        for name, one, other in zip(("torch", "NumPy", "Python"), before, _random_states(), strict=True):
            expect(one == other, f"making a batch draws from {name}'s random state. Draw with `undertow.draws`.")

    def test_batch_is_made_at_once(self) -> None:
        """Does a batch of 300 examples execute as many lines of Python as a batch of 3?"""
        task = self.build()
        many, few = indices_of(task, "val", 300), indices_of(task, "val", 3)
        if len(many) <= 2 * len(few):
            self.skip(f"its validation split has {len(many)} examples, too few to compare")
        task.batch("val", many)  # what is loaded once is loaded now
        lines = [_lines(task, indices) for indices in (few, many)]
        expect(
            lines[1] - lines[0] < len(many) - len(few),
            f"{len(few)} examples take {lines[0]} lines of Python, {len(many)} take {lines[1]}. Make a batch with "
            "array operations, not example by example: training waits for it.",
        )


def _bytes(batch: Batch) -> list[bytes]:
    """Each example as bytes."""
    return [x.numpy().tobytes() + y.numpy().tobytes() for x, y in zip(batch.input, batch.target, strict=True)]


def _random_states() -> tuple[object, object, object]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


def _lines(task: Task, indices: Any) -> int:
    """The number of lines of Python that making a batch executes."""
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        executed += event == "line"
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        task.batch("val", indices)
    finally:
        sys.settrace(outer)
    return executed
