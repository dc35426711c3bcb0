"""The mean loss and the metrics over some batches."""

import numpy as np
import torch

from undertow.train.scores import Scores
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions


def test_the_loss_is_the_mean_over_all_examples_since_the_last_compute() -> None:
    task = Adding(AddingOptions(), 20, 0)
    scores = Scores(task)
    for examples in (np.arange(6), np.arange(6, 8)):
        batch = task.batch("val", examples)
        scores.update(batch.target + 2.0, batch)
    assert scores.compute()["loss"] == 4.0
    batch = task.batch("val", np.arange(3))
    scores.update(batch.target, batch)
    assert scores.compute()["loss"] == 0.0


def test_one_nan_makes_the_mean_loss_nan() -> None:
    task = Adding(AddingOptions(), 20, 0)
    scores = Scores(task)
    batch = task.batch("val", np.arange(4))
    output = batch.target.clone()
    output[2] = torch.nan
    scores.update(output, batch)
    assert scores.compute()["loss"].isnan()
