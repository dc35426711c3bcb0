"""Selective copy: a few symbols are scattered among blanks; reproduce them, in order, without the blanks.

The denoising task of Jing et al., arXiv 1706.02761; its name is from Gu & Dao, arXiv 2312.00752; the layout is that of
the s4 dialect of `copy` (arXiv 2111.00396, the authors' code with `variable` set). Since the gaps vary, counting steps
does not help. B batch, T time steps in all, S symbols, P places for them.
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

from undertow import Batch, RequestError, Split, Task, Tokens, draws
from undertow_tasks.memory.options import SelectiveCopyOptions


class SelectiveCopy(Task):
    """S symbols of A kinds, at S of the first T-S steps; a delimiter at each of the last S, where they are the targets.

        step     0 … T-S-1                      T-S … T-1
        input    symbols and blanks, mixed      delimiters
        target   none                           symbols

    Tokens 0 to A-1 are symbols, A is blank, A+1 the delimiter. Every choice of S places is equally likely, and so is
    every symbol: the best constant answer costs ln A. Splits are drawn independently, from so many sequences that an
    example hardly ever occurs twice.
    """

    shape = "aligned"

    def __init__(self, options: SelectiveCopyOptions, length: int, seed: int) -> None:
        self.symbols, self.alphabet = options.symbols, options.alphabet
        least = 2 * self.symbols
        if length < least:
            raise RequestError(
                f"task `selective-copy` cannot have {length} steps with {self.symbols} symbols; allowed: {least} or "
                "more. Raise task.length, or lower task.options.selective-copy.symbols."
            )
        self.length = length
        self.seed = seed
        self.blank, self.delimiter = self.alphabet, self.alphabet + 1
        self.inputs = Tokens(self.alphabet + 2)
        self.output_size = self.alphabet
        self.trivial_loss = math.log(self.alphabet)
        self.trivial_scores = {"accuracy": 1 / self.alphabet}
        self.solved = f"val/loss < {self.trivial_loss / 10:.2g}, a tenth of the trivial loss"

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input and target, tokens `(B, T)` each; a step that does not count has target 0."""
        S, P = self.symbols, self.length - self.symbols
        symbols_BS = draws.integers(self.seed, f"selective-copy/{split}/symbols", indices, S, self.alphabet)
        u_BP = draws.uniforms(self.seed, f"selective-copy/{split}/places", indices, P)
        places_BS = np.sort(np.argsort(u_BP, axis=1)[:, :S], axis=1)
        x_BT = np.full((len(symbols_BS), self.length), self.blank, dtype=np.int64)
        np.put_along_axis(x_BT, places_BS, symbols_BS, axis=1)
        x_BT[:, P:] = self.delimiter
        y_BT = np.zeros_like(x_BT)
        y_BT[:, P:] = symbols_BS
        return Batch(torch.from_numpy(x_BT), torch.from_numpy(y_BT))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every step in nats, `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor:
        """The last S steps, `(B, T)`."""
        return batch.input == self.delimiter

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the symbols that are right."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """The step of the last symbol, which is the answer at the last step, `(B, 1)`.

        The blanks after it are no cues, although they show that it was the last symbol.
        """
        steps_T = torch.arange(self.length, device=batch.input.device)
        return (steps_T * (batch.input < self.alphabet)).amax(1, keepdim=True)
