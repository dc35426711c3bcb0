"""Copy, in two dialects: remember a few symbols over a blank. B batch, T time steps in all, S symbols.

| dialect | delimiters | counted steps | trivial loss | source |
|---|---|---|---|---|
| arjovsky | one, before the answer | all T | S ln A / T | Arjovsky, Shah & Bengio, arXiv 1511.06464 |
| s4 | at each of the last S steps | the last S | ln A | Gu, Goel & Ré, arXiv 2111.00396, the authors' code |

A is the number of different symbols. Splits are drawn independently; the options require so many sequences that an
example hardly ever occurs twice.
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
from undertow_tasks.memory.options import CopyOptions


class Copy(Task):
    """The symbols are at the first steps, and must be reproduced, in order, at the last steps.

        step     0 … S-1   S … T-S-2   T-S-1      T-S … T-1
        input    symbols   blank       delimiter  blank         arjovsky
        target   blank     blank       blank      symbols
        input    symbols   blank       blank      delimiters    s4
        target   none      none        none       symbols

    Tokens 0 to A-1 are symbols, A is blank, A+1 the delimiter. The papers name the length T - 2S, in both dialects. In
    arjovsky's, every step counts, so the best answer without reading the symbols is blank until the delimiter and any
    symbol after it; the delimiter is no answer, so the output has A+1 entries. In s4's, the best answer without reading
    is any symbol; blank is no answer either, so the output has A entries.
    """

    shape = "aligned"

    def __init__(self, options: CopyOptions, length: int, seed: int) -> None:
        self.symbols, self.alphabet = options.symbols, options.alphabet
        least = 2 * self.symbols + 1
        if length < least:
            raise RequestError(
                f"task `copy` cannot have {length} steps with {self.symbols} symbols; allowed: {least} or more. "
                "Raise task.length, or lower task.options.copy.symbols."
            )
        self.length = length
        self.seed = seed
        self.blank, self.delimiter = self.alphabet, self.alphabet + 1
        self.inputs = Tokens(self.alphabet + 2)
        self.every_step = options.dialect == "arjovsky"
        self.output_size = self.alphabet + self.every_step
        self.trivial_loss = self.symbols * math.log(self.alphabet) / (length if self.every_step else self.symbols)
        self.trivial_scores = {"accuracy": 1 / self.alphabet}
        self.solved = f"val/loss < {self.trivial_loss / 10:.2g}, a tenth of the trivial loss"

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input and target, tokens `(B, T)` each."""
        S = self.symbols
        symbols_BS = draws.integers(self.seed, f"copy/{split}", indices, S, self.alphabet)
        x_BT = np.full((len(symbols_BS), self.length), self.blank, dtype=np.int64)
        x_BT[:, :S] = symbols_BS
        x_BT[:, -S - 1 if self.every_step else slice(-S, None)] = self.delimiter
        input = torch.from_numpy(x_BT)
        return Batch(input, self.answer(input))

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input: its first S symbols at the last steps; 0 at steps that do not count."""
        y_BT = torch.full_like(input, self.blank if self.every_step else 0)
        y_BT[:, -self.symbols :] = input[:, : self.symbols]
        return y_BT

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every step in nats, `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor | None:
        """None, for every step, in arjovsky's dialect; the last S steps in s4's."""
        return None if self.every_step else batch.input == self.delimiter

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the symbols to be reproduced that are right; blanks do not count."""
        ignored = self.blank if self.every_step else None
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro", ignore_index=ignored)}

    def cues(self, batch: Batch) -> Tensor:
        """The step of the last symbol, which is the answer at the last step, `(B, 1)`."""
        return torch.full((len(batch.input), 1), self.symbols - 1, device=batch.target.device)
