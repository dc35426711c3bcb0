"""UCR and UEA: of which class is a series of measurements? N series, B batch, T time, I channels.

The archives are the common benchmarks of time series classification: Dau et al. 2018, arXiv 1810.07758 (one channel),
and Bagnall et al. 2018, arXiv 1811.00075 (several).
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from undertow import Batch, RequestError, Split, Task, Vector
from undertow_tasks.series.archive import KEY, Labelled, archive
from undertow_tasks.series.options import UcrOptions


class Ucr(Task):
    """The steps of a series, each channel with mean 0 and variance 1; zeros after its end; the answer at the last step.

    A longer sequence moves the series into the past, as in `digits-by-pixel`. With `resample` there are no blank steps:
    each series is stretched or shrunk to all T.

    Attributes:
        trivial_loss: The entropy of the training classes in nats: ln(classes) where all are equally frequent.
        trivial_scores: The share of the most frequent class of the training series.
        classes: The names of the classes, by number.
    """

    shape = "many-to-one"

    def __init__(self, options: UcrOptions, length: int, seed: int) -> None:
        data = archive(options)
        longest = max(len(series) for all_series, _ in data.splits.values() for series in all_series)
        if length < longest and not options.resample:
            raise RequestError(
                f"{data.source}: a series has {longest} steps, and task.length is {length}; set it to {longest} or "
                f"more, or {KEY}.resample to true"
            )
        self.length = length
        self.classes = data.classes
        self.output_size = len(data.classes)
        self._splits = packed(options, length if options.resample else None)
        self.inputs = Vector(self._splits["train"][0].shape[-1])
        share = torch.bincount(self._splits["train"][1]).double() / len(self._splits["train"][1])
        self.trivial_loss = -sum(each * math.log(each) for each in share.tolist() if each)
        self.trivial_scores = {"accuracy": float(share.max())}

    def size(self, split: Split) -> int | None:
        """The number of series of the split."""
        return len(self._splits[split][1])

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Series `(B, T, I)`, blank steps at the end; classes `(B,)`."""
        series_NTI, labels_N = self._splits[split]
        chosen_B = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        x_BTI = series_NTI[chosen_B]
        return Batch(functional.pad(x_BTI, (0, 0, 0, self.length - x_BTI.shape[1])), labels_N[chosen_B])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy in nats, `(B,)`."""
        return functional.cross_entropy(output, target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the series whose class is the most likely answer."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """Every step of the series, `(B, T)`, since it is not known which of them decide; for a blank, the last one.

        The last step of a series is the last at which a channel is not 0.
        """
        step_T = torch.arange(self.length, device=batch.input.device)
        nonzero_BT = batch.input.ne(0).any(-1)
        last_B1 = (nonzero_BT * step_T).amax(1, keepdim=True)
        return step_T.minimum(last_B1)


@cache
def packed(options: UcrOptions, length: int | None) -> dict[Split, tuple[Tensor, Tensor]]:
    """The series of each split in one tensor `(N, T, I)` and their classes `(N,)`.

    Args:
        options: The task's options, which name the source.
        length: The length to stretch or shrink each series to; None to keep each length, with zeros after the end.
    """
    return {split: _pack(labelled, length) for split, labelled in archive(options).splits.items()}


def _pack(labelled: Labelled, length: int | None) -> tuple[Tensor, Tensor]:
    all_series, labels_N = labelled
    steps = length or max(map(len, all_series))
    series_NTI = np.zeros((len(all_series), steps, all_series[0].shape[1]), dtype=np.float32)
    for row_TI, series_TI in zip(series_NTI, all_series, strict=True):
        row_TI[: length or len(series_TI)] = series_TI if length is None else _resampled(series_TI, length)
    return torch.from_numpy(series_NTI), torch.from_numpy(labels_N)


def _resampled(series_TI: NDArray[np.float32], length: int) -> NDArray[np.float64]:
    at_T = np.linspace(0, len(series_TI) - 1, length)
    steps = np.arange(len(series_TI))
    return np.stack([np.interp(at_T, steps, channel_T) for channel_T in series_TI.T], axis=1)
