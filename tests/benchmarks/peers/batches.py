"""A task's batches as a torch dataset, for the peers that train with Lightning.

DataLoader(Batches(Adding(AddingOptions(), 50, 0), "train", count=100, batch_size=32), batch_size=None)
"""

import numpy as np
from torch.utils.data import Dataset

from undertow import Batch, Split, Task


class Batches(Dataset[Batch]):
    """The first batches of a split that never runs out.

    Args:
        task: Where they come from.
        split: `train` or `val`.
        count: How many there are.
        batch_size: Examples of one batch.
    """

    def __init__(self, task: Task, split: Split, count: int, batch_size: int) -> None:
        self.task = task
        self.split: Split = split
        self.count = count
        self.batch_size = batch_size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Batch:
        first = number * self.batch_size
        return self.task.batch(self.split, np.arange(first, first + self.batch_size))
