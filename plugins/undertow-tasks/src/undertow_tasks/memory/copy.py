"""Copy, in the dialect of Arjovsky, Shah & Bengio, arXiv 1511.06464: carry ten symbols over a blank.

B batch, T time steps in all (the paper's T + 20), S = 10 symbols. Other dialects supervise the last steps alone, and
their trivial loss, ln 8, does not fall with the length as this one does.
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

from undertow import Batch, Options, Split, Task, Tokens, draws

SYMBOLS = 10
"""How many are to be copied."""
ALPHABET = 8
"""Of how many kinds they are: tokens 0 to 7."""
BLANK = ALPHABET
DELIMITER = ALPHABET + 1


class Copy(Task):
    """Ten symbols, blanks, a delimiter, ten blanks; to be answered by blanks, and the symbols in the last ten steps.

        step     0 … 9     10 … T-12   T-11       T-10 … T-1
        input    symbols   blank       delimiter  blank
        target   blank     blank       blank      symbols

    The paper names sequences by T - 20. Every step counts, so the best that can be done without looking is to answer
    blank until the delimiter and any symbol after it: (10 ln 8) / T. The delimiter is no answer: the output is 9 wide.
    """

    shape = "aligned"
    inputs = Tokens(ALPHABET + 2)
    output_size = ALPHABET + 1

    def __init__(self, options: Options, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.trivial_loss = SYMBOLS * math.log(ALPHABET) / length
        self.solved = f"val/loss < {self.trivial_loss / 10:.2g}, a tenth of the trivial loss"

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input and target, tokens `(B, T)` each."""
        symbols_BS = draws.integers(self.seed, f"copy/{split}", indices, SYMBOLS, ALPHABET)
        x_BT = np.full((len(symbols_BS), self.length), BLANK, dtype=np.int64)
        y_BT = x_BT.copy()
        x_BT[:, :SYMBOLS] = symbols_BS
        x_BT[:, -SYMBOLS - 1] = DELIMITER
        y_BT[:, -SYMBOLS:] = symbols_BS
        return Batch(torch.from_numpy(x_BT), torch.from_numpy(y_BT))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every step in nats, `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the symbols to be recalled that are right; blanks, which are easy, do not count."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro", ignore_index=BLANK)}

    def cues(self, batch: Batch) -> Tensor:
        """The step that showed the last symbol, which is due at the last step, `(B, 1)`."""
        return torch.full((len(batch.input), 1), SYMBOLS - 1, device=batch.target.device)
