"""Scanned digits: 1797 real images of 8x8 pixels that come with scikit-learn, so that no network is needed.

    images_N64, labels_N = scans("val")

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (doi 10.24432/C50P49): 43 people wrote
them, and each pixel counts the ink of a 4x4 block of the scan, 0 to 16. N images, B batch.
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

from undertow import Batch, Options, Split, Task, draws

CLASSES = 10
PIXELS = 64
SIZES: dict[Split, int] = {"train": 1197, "val": 300, "test": 300}
"""Images of each split. Which ones is fixed, whatever the seed, so that runs of different seeds can be compared."""


@cache
def scans(split: Split) -> tuple[Tensor, Tensor]:
    """The images of a split, `(N, 64)` row by row in [0, 1], 32 bits, and their digits, `(N,)`."""
    images_NP, labels_N = _every_scan()
    first = 0
    for name, size in SIZES.items():
        if name == split:
            break
        first += size
    mine = draws.permutation(0, "digits/splits", len(labels_N))[first : first + SIZES[split]]
    return torch.from_numpy(images_NP[mine]), torch.from_numpy(labels_N[mine])


@cache
def _every_scan() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # costs two seconds of CPU, which the other tasks need not pay

    images_NP, labels_N = load_digits(return_X_y=True)
    return (images_NP / 16).astype(np.float32), labels_N.astype(np.int64)


class ScanTask(Task):
    """What the tasks over these images have in common: which digit is it?

    Attributes:
        trivial_loss: ln 10: all digits are about equally frequent.
    """

    output_size = CLASSES
    trivial_loss = math.log(CLASSES)

    def __init__(self, options: Options, length: int, seed: int) -> None:
        self.length = length

    def size(self, split: Split) -> int:
        """Every image of the split."""
        return SIZES[split]

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """The images of these numbers as `show` shows them, and their digits `(B,)`."""
        images_NP, labels_N = scans(split)
        chosen_B = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return Batch(self.show(images_NP[chosen_B]), labels_N[chosen_B])

    def show(self, images_BP: Tensor) -> Tensor:
        """Spread images over time, `(B, T, I)`."""
        raise NotImplementedError

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy in nats, `(B,)`."""
        return functional.cross_entropy(output, target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the images whose digit is the likeliest answer."""
        return {"accuracy": MulticlassAccuracy(num_classes=CLASSES, average="micro")}
