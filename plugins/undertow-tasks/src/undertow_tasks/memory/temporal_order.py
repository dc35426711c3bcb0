"""Temporal order: which two or three relevant symbols were among many irrelevant ones, in which order?

Hochreiter & Schmidhuber 1997, experiments 6a and 6b, with the places of Pascanu, Mikolov & Bengio, arXiv 1211.5063:
each relevant symbol is in a fixed tenth of the length. B batch, T time, N numbers drawn.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from undertow import Batch, Split, Task, Tokens, draws
from undertow_tasks.memory.options import TemporalOrderOptions

PLACES = {2: np.array([1, 5]), 3: np.array([1, 3, 6])}
"""For each number of bits, the tenth of the length in which each symbol is: 1 is from T/10 to before 2T/10."""
LETTERS = 2
"""A and B, tokens 0 and 1."""
OTHERS = 4
"""c to f, tokens 2 to 5."""


class TemporalOrder(Task):
    """An A or a B in each of two (three) tenths of the sequence, c to f at all other steps; the answer at the end.

    The class is the sum of 2^i v_i, where v_i is 0 for an A and 1 for a B at place i. All 4 (8) are equally likely, so
    the best constant answer costs ln 4 (ln 8). Splits are drawn independently; examples differ by their irrelevant
    steps, so a sequence must have 20 steps or more.
    """

    shape = "many-to-one"
    inputs = Tokens(LETTERS + OTHERS)
    solved = "val/accuracy > 0.99"

    def __init__(self, options: TemporalOrderOptions, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.bits = options.bits
        self.output_size = LETTERS**self.bits
        self.trivial_loss = math.log(self.output_size)
        self.trivial_scores = {"accuracy": 1 / self.output_size}

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input, tokens `(B, T)`; target, classes `(B,)`."""
        T, bits = self.length, self.bits
        u_BN = draws.uniforms(self.seed, f"temporal-order/{split}", indices, T + 2 * bits)
        starts, ends = -(-PLACES[bits] * T // 10), -(-(PLACES[bits] + 1) * T // 10)
        letters = (u_BN[:, T : T + bits] * LETTERS).astype(np.int64)
        places = starts + (u_BN[:, T + bits :] * (ends - starts)).astype(np.int64)
        x_BT = LETTERS + (u_BN[:, :T] * OTHERS).astype(np.int64)
        np.put_along_axis(x_BT, places, letters, axis=1)
        input = torch.from_numpy(x_BT)
        return Batch(input, self.answer(input))

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input: its As and Bs in order, as bits."""
        place_BT = (input < LETTERS).cumsum(1).clamp(1, self.bits) - 1
        return (LETTERS**place_BT * (input == 1)).sum(1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy in nats, `(B,)`."""
        return functional.cross_entropy(output, target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the sequences whose class is the most likely answer; the papers give 1 - accuracy."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """The steps with an A or a B, `(B, 2)` or `(B, 3)`, in order."""
        return (batch.input < LETTERS).nonzero()[:, 1].view(-1, self.bits)
