"""What the tasks here that write have in common: a random string is read, and what it makes is written.

Delétang et al., arXiv 2207.02098, ask for the answer while blanks are read, and draw the length of each string. Here
the answer is written, each symbol after the one before it, and every string has `length` symbols, so that an answer's
length is known and needs no end symbol: `evaluate.lengths` asks at other lengths. B batch, T time read, U time written.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from undertow import Batch, Split, Task
from undertow_tasks.exact_match import ExactMatch
from undertow_tasks.formal.strings import strings


class Rewriting(Task):
    """Base of the tasks: symbols, all equally likely, to the symbols that they make.

    Attributes:
        name: The task's.
        symbols: How many of the steps read hold a random symbol.
        alphabet: How many kinds of them there are.
    """

    shape = "seq2seq"
    solved = "val/exact_match > 0.99"
    name: ClassVar[str]
    symbols: int
    alphabet: int

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed

    @abstractmethod
    def rewritten(self, input: Tensor) -> Tensor:
        """What an input `(B, T)` makes, `(B, U)`."""

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Symbols `(B, T)`, and what is to be written, `(B, U)`."""
        drawn = strings(self.name, self.seed, split, indices, self.symbols, self.alphabet)
        input = self.shown(torch.from_numpy(drawn))
        return Batch(input, self.rewritten(input))

    def shown(self, symbols: Tensor) -> Tensor:
        """The input `(B, T)` for the random symbols of each example; default: they are it."""
        return symbols

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every symbol in nats, `(B, U)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`exact_match`: share of the strings that are written without a mistake."""
        return {"exact_match": ExactMatch()}
