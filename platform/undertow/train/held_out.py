"""What the trained network is tested on: the split `test`, at the trained length and at those of `evaluate.lengths`.

    parts, problems = held_out_parts(config, task, {}, ranks=1, traceback=record.traceback)

The test split is read once, after training. Checkpoints, early stopping, objectives and pruning use the validation
split alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from undertow.api.contract import Task
from undertow.config.schema import ExperimentConfig

_COMPARED = 32
"""Examples of the splits `test` and `val` that are compared, to find a task that has one split under two names."""


@dataclass(frozen=True)
class Part:
    """Examples that the trained network is tested on.

    Attributes:
        task: Whose test split.
        examples: How many of it, from the first.
        length: The length in time steps, one of `evaluate.lengths`; None for the test itself.
    """

    task: Task
    examples: int
    length: int | None = None


def held_out_parts(
    config: ExperimentConfig,
    task: Task,
    other_lengths: Mapping[int, Task],
    *,
    ranks: int,
    traceback: Callable[[BaseException, str], str],
) -> tuple[list[Part], list[str]]:
    """Find what there is to test on.

    Args:
        config: The experiment.
        task: Its task.
        other_lengths: The task at each length of `evaluate.lengths`.
        ranks: Processes that the examples are divided over.
        traceback: Keeps the traceback of a task that raises, and returns where.

    Returns:
        The parts, and each reason why one that was asked for is missing.
    """
    wanted: list[tuple[int | None, Task]] = [(None, task)] if config.evaluate.test else []
    parts, problems = [], []
    for length, each in [*wanted, *other_lengths.items()]:
        try:
            found = _examples(each, config, ranks)
        except Exception as error:  # noqa: BLE001  (a plugin's code may raise anything; training has already succeeded)
            what = f"the test split of task `{config.task.name}` cannot be read"
            found = f"{what} ({type(error).__name__}: {error}){traceback(error, what)}"
        if isinstance(found, int):
            parts.append(Part(each, found, length))
        else:
            problems.append(found)
    return parts, list(dict.fromkeys(problems))


def _examples(task: Task, config: ExperimentConfig, ranks: int) -> int | str:
    """How many examples to test on, or why there are none."""
    name, size = config.task.name, task.size("test")
    count = config.evaluate.examples or (config.train.val_examples if size is None else size)
    count = count if size is None else min(size, count)
    if count == 0:
        return f"task `{name}` has no test split"
    if count < ranks:
        return f"{count} test examples cannot be divided over {ranks} processes"
    if size == task.size("val"):
        indices = np.arange(min(count, _COMPARED))
        if all(map(torch.equal, task.batch("test", indices), task.batch("val", indices))):
            return f"the test split of task `{name}` is its validation split"
    return count
