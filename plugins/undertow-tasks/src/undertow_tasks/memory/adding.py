"""Adding, in four dialects: add the two marked numbers of a sequence. B batch, T time, N numbers drawn.

| dialect | marked steps p and q | values v, w | answer | trivial loss |
|---|---|---|---|---|
| halves | p < T/2 <= q | U(0, 1) | v + w | 1/6 |
| anywhere | any two | U(0, 1) | v + w | 1/6 |
| pascanu | p < T/10 <= q < T/2 | U(0, 1) | (v + w)/2 | 1/24 |
| hs97 | p < 10, q < T/2 | U(-1, 1) | 1/2 + (v + w)/4 | 1/24 |

hs97: Hochreiter & Schmidhuber 1997, the first version of the task. pascanu: Pascanu, Mikolov & Bengio, arXiv 1211.5063,
as in the authors' code. halves: Arjovsky, Shah & Bengio, arXiv 1511.06464. The two older papers also draw each
sequence's length between T and 1.1 T; here all have T steps.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Batch, RequestError, Split, Task, Vector, draws
from undertow_tasks.memory.options import AddingOptions


class Dialect(NamedTuple):
    """Values are U(low, high); the answer is offset + scale (v + w); the length is `least` steps or more."""

    low: float
    high: float
    offset: float
    scale: float
    least: int


DIALECTS = {
    "halves": Dialect(low=0.0, high=1.0, offset=0.0, scale=1.0, least=2),
    "anywhere": Dialect(low=0.0, high=1.0, offset=0.0, scale=1.0, least=2),
    "pascanu": Dialect(low=0.0, high=1.0, offset=0.0, scale=0.5, least=10),
    "hs97": Dialect(low=-1.0, high=1.0, offset=0.5, scale=0.25, least=20),
}


class Adding(Task):
    """Each step has a value and a marker, which is 1 at two steps; the answer is a function of the two marked values.

    If T is odd, the second half is the longer one. In hs97 the first and the last step have the marker -1 and are never
    chosen: the paper's rare case of a chosen first step, whose value then counts as 0, is left out.

    The best constant answer is the mean. Its squared error is the variance of the answer: two independent U(low, high)
    have (high - low)² / 12 each, so it is scale² (high - low)² / 6. A loss below three tenths of it counts as solved.
    """

    shape = "many-to-one"
    inputs = Vector(2)
    output_size = 1

    def __init__(self, options: AddingOptions, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.name = options.dialect
        self.dialect = DIALECTS[options.dialect]
        if length < self.dialect.least:
            raise RequestError(
                f"task `adding` cannot have {length} steps in the dialect {options.dialect}; allowed: "
                f"{self.dialect.least} or more. Raise task.length, or choose another task.options.adding.dialect."
            )
        self.trivial_loss = self.dialect.scale**2 * (self.dialect.high - self.dialect.low) ** 2 / 6
        self.solved = f"val/loss < {0.3 * self.trivial_loss:.3g}"

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input `(B, T, 2)`, value and marker; target `(B, 1)`."""
        T, (low, high, offset, scale, _) = self.length, self.dialect
        u_BN = draws.uniforms(self.seed, f"adding/{split}", indices, T + 2)
        marked_B2 = self._marked(u_BN[:, T:])
        x_BT2 = np.zeros((len(u_BN), T, 2), dtype=np.float32)
        x_BT2[:, :, 0] = low + (high - low) * u_BN[:, :T]
        if self.name == "hs97":
            x_BT2[:, [0, -1], 1] = -1.0
        np.put_along_axis(x_BT2[:, :, 1], marked_B2, 1.0, axis=1)
        sum_B1 = np.take_along_axis(x_BT2[:, :, 0], marked_B2, axis=1).sum(axis=1, keepdims=True)
        return Batch(torch.from_numpy(x_BT2), torch.from_numpy(offset + scale * sum_B1))

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input: offset + scale times the sum of the marked values."""
        sum_B1 = (input[:, :, 0] * (input[:, :, 1] == 1)).sum(1, keepdim=True)
        return self.dialect.offset + self.dialect.scale * sum_B1

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Squared error, `(B,)`."""
        return (output - target).square().squeeze(-1)

    def cues(self, batch: Batch) -> Tensor:
        """The two marked steps, `(B, 2)`, the earlier first."""
        return (batch.input[:, :, 1] == 1).nonzero()[:, 1].view(-1, 2)

    def _marked(self, u_B2: NDArray[np.float64]) -> NDArray[np.int64]:
        """Two distinct steps: p from one range, then q from another, which skips p where the ranges overlap."""
        T, half, tenth = self.length, self.length // 2, -(-self.length // 10)
        (first, end), (second, stop) = {
            "halves": ((0, half), (half, T)),
            "anywhere": ((0, T), (0, T)),
            "pascanu": ((0, tenth), (tenth, -(-T // 2))),
            "hs97": ((1, 10), (1, half)),
        }[self.name]
        overlap = second < end
        p_B = first + (u_B2[:, 0] * (end - first)).astype(np.int64)
        q_B = second + (u_B2[:, 1] * (stop - second - overlap)).astype(np.int64)
        return np.stack([p_B, q_B + (overlap & (q_B >= p_B))], axis=1)
