"""Batches: the examples of every training step, on every rank.

The examples of step k are a pure function of (seed, k), and each rank takes its slice of them. So two devices see the
same examples as one, ranks need not agree on a shuffle, and a resumed run starts at step k without repeating the first
k - 1.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from undertow._system.stopping import leave_signals_to_parent, signals_blocked
from undertow.api.contract import Batch, Split, Task
from undertow.config.schema import TrainConfig
from undertow.draws import permutation
from undertow.errors import UndertowError
from undertow.train.held_out import Part

if TYPE_CHECKING:
    from torch.utils.data.dataloader import _BaseDataLoaderIter

Indices = NDArray[np.int64]


class Stream:
    """Example numbers of every training batch, without end: this rank's share, starting with batch `first`.

    A split of n examples is read in passes, each in another order; a batch may span any number of passes.
    """

    def __init__(self, size: int | None, batch_size: int, seed: int, rank: int, ranks: int, first: int = 0) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.first = first

    def __iter__(self) -> Iterator[Indices]:
        """Yield arrays of `batch_size / ranks` numbers."""
        share = self.batch_size // self.ranks
        order_of_pass: dict[int, Indices] = {}
        start = self.first * self.batch_size + self.rank * share
        while True:
            positions = np.arange(start, start + share)
            start += self.batch_size
            if self.size is None:
                yield positions
                continue
            passes, places = np.divmod(positions, self.size)
            numbers = [int(number) for number in np.unique(passes)]
            order_of_pass = {
                k: order_of_pass[k] if k in order_of_pass else permutation(self.seed, f"order/{k}", self.size)
                for k in numbers
            }
            yield np.concatenate([order_of_pass[k][places[passes == k]] for k in numbers])


class Examples(Dataset[Batch]):
    """A split as a torch dataset whose items are whole batches: `examples[indices]`."""

    def __init__(self, task: Task, split: Split) -> None:
        self.task = task
        self.split: Split = split

    def __getitem__(self, indices: Indices) -> Batch:
        """Return the examples with these numbers as one batch."""
        return self.task.batch(self.split, indices)


class _Loader(DataLoader[Batch]):
    """Starts its workers so that no signal ends one before it leaves the signals to this process."""

    def __iter__(self) -> "_BaseDataLoaderIter":
        with signals_blocked():
            return super().__iter__()


class TaskData(pl.LightningDataModule):
    """Lightning's view of a task.

    Args:
        task: Where examples come from.
        config: Batch size, number of validation examples and of worker processes.
        seed: Determines the order of the training examples.

    Attributes:
        tested: What the trained network is tested on; set before the test.
    """

    def __init__(self, task: Task, config: TrainConfig, seed: int) -> None:
        super().__init__()
        self.task = task
        self.config = config
        self.seed = seed
        self.tested: Sequence[Part] = ()
        self._first = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return this rank's share of every training batch, starting with the first one not yet seen."""
        stream = Stream(self.task.size("train"), self.config.batch_size, self.seed, *self._rank_of(), first=self._first)
        return self._loader(Examples(self.task, "train"), stream)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return this rank's share of the first `val_examples` of the validation split."""
        return self._loader(Examples(self.task, "val"), self._shares(self._val_examples()))

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Return this rank's share of the test examples, a loader for each part of `tested`."""
        return [self._loader(Examples(part.task, "test"), self._shares(part.examples)) for part in self.tested]

    def state_dict(self) -> dict[str, int]:
        """Return how many training batches were seen."""
        assert self.trainer is not None
        return {"batches": self.trainer.global_step * self.config.accumulate}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the batches that were seen."""
        self._first = state_dict["batches"]

    def _val_examples(self) -> int:
        available = self.task.size("val")
        return self.config.val_examples if available is None else min(available, self.config.val_examples)

    def _rank_of(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _shares(self, count: int) -> list[Indices]:
        """This rank's share of the first `count` examples, in batches.

        Raises:
            UndertowError: A rank would have none: it would not take part in the mean over all ranks.
        """
        rank, ranks = self._rank_of()
        if count < ranks:
            raise UndertowError(f"{count} examples cannot be divided over {ranks} processes")
        starts = range(0, count, self.config.batch_size)
        chunks = [np.arange(start, min(start + self.config.batch_size, count)) for start in starts]
        return [part for chunk in chunks if len(part := np.array_split(chunk, ranks)[rank])]

    def _loader(self, examples: Dataset[Any], batches: Iterable[object]) -> DataLoader[Batch]:
        return _Loader(
            examples,
            sampler=batches,  # with batch_size=None each of its items indexes a whole batch
            batch_size=None,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            worker_init_fn=leave_signals_to_parent,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator(),  # the default would draw from the random state that dropout uses
        )


def digest(task: Task, examples: int = 256) -> str:
    """Compute a digest of the data: SHA-256 over the first examples of the splits `train` and `val`."""
    sha = hashlib.sha256()
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        available = task.size(split)
        batch = task.batch(split, np.arange(examples if available is None else min(available, examples)))
        for tensor in batch:
            sha.update(tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]
