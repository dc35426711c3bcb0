"""The batches of a pack: those of every replicate, in one tensor `(S, B, …)`.

Each replicate has its own task and order of examples, as alone: batch k of the pack is batch k of each of them.
"""

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from undertow.api.contract import Batch, Split, Task
from undertow.train.build import Built
from undertow.train.data import Examples, Indices, Stream, TaskData
from undertow.train.held_out import Part


class _Stacked(Dataset[Batch]):
    """One split of several tasks; an item is a batch of each: `examples[indices_of_each]`."""

    def __init__(self, tasks: Sequence[Task], split: Split) -> None:
        self.tasks = tasks
        self.split: Split = split

    def __getitem__(self, indices: Sequence[Indices]) -> Batch:
        """Return the examples with these numbers, `(S, B, …)`."""
        batches = [task.batch(self.split, each) for task, each in zip(self.tasks, indices, strict=True)]
        return Batch(torch.stack([each.input for each in batches]), torch.stack([each.target for each in batches]))


class _Several(Dataset[list[Batch]]):
    """Several datasets side by side; an item has a batch of each, as each gives it alone."""

    def __init__(self, examples: Sequence[Examples]) -> None:
        self.examples = examples

    def __getitem__(self, indices: Indices) -> list[Batch]:
        """Return the examples with these numbers of each."""
        return [each[indices] for each in self.examples]


class PackData(TaskData):
    """Lightning's view of the tasks of a pack.

    Args:
        replicates: What is trained; they differ by their seed alone.

    Attributes:
        tested_together: What each trained network is tested on, as many examples for each; set before the test.
    """

    def __init__(self, replicates: Sequence[Built]) -> None:
        config = replicates[0].loaded.config
        super().__init__(replicates[0].task, config.train, config.seed)
        self.tested_together: Sequence[Sequence[Part]] = ()
        self._tasks = [each.task for each in replicates]
        self._seeds = [each.loaded.config.seed for each in replicates]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return every training batch of every replicate, starting with the first one not yet seen."""
        streams = [
            Stream(task.size("train"), self.config.batch_size, seed, 0, 1, first=self._first)
            for task, seed in zip(self._tasks, self._seeds, strict=True)
        ]
        return self._loader(_Stacked(self._tasks, "train"), _Side(streams))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the first `val_examples` of every validation split."""
        batches = [[indices] * len(self._tasks) for indices in self._shares(self._val_examples())]
        return self._loader(_Stacked(self._tasks, "val"), batches)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Return the test examples, a loader for each part that is tested."""
        return [
            self._loader(_Several([Examples(part.task, "test") for part in parts]), self._shares(parts[0].examples))
            for parts in zip(*self.tested_together, strict=True)
        ]


class _Side:
    """Streams of example numbers, side by side."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams

    def __iter__(self):  # type: ignore[no-untyped-def]
        return zip(*self.streams, strict=True)
