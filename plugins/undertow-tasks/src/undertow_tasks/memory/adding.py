"""Adding, in the dialect with a marker in each half: remember two numbers, forget the rest. B batch, T time.

Hochreiter & Schmidhuber 1997 posed it; this form is that of Arjovsky, Shah & Bengio, arXiv 1511.06464. The
others (both markers anywhere, in the first tenth and half, the mean for the sum) have other trivial losses.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Batch, Options, Split, Task, Vector, draws


class Adding(Task):
    """Each step shows a value v ~ U(0, 1) and a marker, 0 but for one step in each half; the answer is the sum of both.

    A T that is odd has the longer second half. The best guess without looking is 1, whose squared error is the
    variance of the sum of two uniform numbers, 1/6.
    """

    shape = "many-to-one"
    inputs = Vector(2)
    output_size = 1
    trivial_loss = 1 / 6
    solved = "val/loss < 0.05"

    def __init__(self, options: Options, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input `(B, T, 2)`, value and marker; target `(B, 1)`."""
        T, half = self.length, self.length // 2
        u_BN = draws.uniforms(self.seed, f"adding/{split}", indices, T + 2)
        marked_B2 = np.stack(
            [(u_BN[:, T] * half).astype(np.int64), half + (u_BN[:, T + 1] * (T - half)).astype(np.int64)], axis=1
        )
        x_BT2 = np.zeros((len(u_BN), T, 2), dtype=np.float32)
        x_BT2[:, :, 0] = u_BN[:, :T]
        np.put_along_axis(x_BT2[:, :, 1], marked_B2, 1.0, axis=1)
        sum_B1 = np.take_along_axis(x_BT2[:, :, 0], marked_B2, axis=1).sum(axis=1, keepdims=True)
        return Batch(torch.from_numpy(x_BT2), torch.from_numpy(sum_B1))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Squared error, `(B,)`."""
        return (output - target).square().squeeze(-1)

    def cues(self, batch: Batch) -> Tensor:
        """The two marked steps, `(B, 2)`, the earlier first."""
        return batch.input[:, :, 1].nonzero()[:, 1].view(-1, 2)
