"""What the checks of a task share: a new task, and numbers of examples that each split has."""

from typing import Any, cast

import numpy as np
import torch

from undertow.api.contract import Batch, Split, Task
from undertow.api.spec import TaskSpec
from undertow.testing.conformance import Conformance


class TaskChecks(Conformance):
    """Base of the groups of checks.

    Attributes:
        length: The time steps at which it is checked; the default of its spec when None.
    """

    kind = "task"
    length: int | None = None

    @property
    def spec(self) -> TaskSpec:
        """The spec of the task."""
        return cast(TaskSpec, self.entry.spec)

    @property
    def steps(self) -> int:
        """The length under test."""
        return self.length or self.spec.lengths.default

    def build(self, seed: int = 0) -> Task:
        """Make a task."""
        task: Task = self.registry.factory(self.spec)(self.made_options(), self.steps, seed)
        return task


def indices_of(task: Task, split: Split, wanted: int | tuple[int, ...]) -> Any:
    """The first `wanted` examples, or those listed; of a split that has fewer, those that it has."""
    size = task.size(split)
    if isinstance(wanted, int):
        return np.arange(wanted if size is None else min(size, wanted))
    return np.array([index if size is None else index % size for index in wanted])


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal to the bit."""
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(one, other, strict=True))
