"""The base of the tasks over images of digits: which digit is it? N images, B batch, T time, P pixels."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from undertow import Batch, Options, Split, Task
from undertow_tasks.digits.scans import CLASSES, scans


class DigitTask(Task):
    """An image, as one step or several, and its digit: one of ten.

    Attributes:
        trivial_loss: ln 10: all digits are equally frequent, in the scans' validation and test exactly.
        trivial_scores: So a constant answer, like guessing, has an accuracy of 0.1 there.
    """

    output_size = CLASSES
    trivial_loss = math.log(CLASSES)
    trivial_scores: Mapping[str, float] = MappingProxyType({"accuracy": 1 / CLASSES})

    def __init__(self, options: Options, length: int, seed: int) -> None:
        self.length = length

    def images(self, split: Split) -> tuple[Tensor, Tensor]:
        """The images of a split, `(N, P)`, and their digits, `(N,)`; default: the scans."""
        return scans(split)

    def size(self, split: Split) -> int | None:
        """The number of images of the split."""
        return len(self.images(split)[1])

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """The images of these indices as sequences, `(B, T, I)`, and their digits `(B,)`."""
        images_NP, labels_N = self.images(split)
        chosen_B = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return Batch(self.to_steps(images_NP[chosen_B]), labels_N[chosen_B])

    def to_steps(self, images_BP: Tensor) -> Tensor:
        """Images as sequences, `(B, T, I)`; default: the whole image at the only step, `(B, 1, P)`."""
        return images_BP.unsqueeze(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of each answer in nats, `(B,)` or `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the answers in which the right digit is the most likely one."""
        return {"accuracy": MulticlassAccuracy(num_classes=CLASSES, average="micro")}
