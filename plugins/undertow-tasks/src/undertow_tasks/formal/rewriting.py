"""The base of the formal tasks that write: a random string is read, and a string computed from it is written.

In Delétang et al., arXiv 2207.02098, the answer is given while blanks are read, and the length of each string is
random. Here the answer is written, each symbol after the one before it, and every string has `length` symbols, so that
an answer's length is known and needs no end symbol; `evaluate.lengths` evaluates at other lengths. B batch, T time
read, U time written.
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
    """Symbols, all equally likely, in; the symbols computed from them out.

    Attributes:
        name: The task's name.
        symbols: The number of steps read that have a random symbol.
        alphabet: The number of different symbols.
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
        """The symbols to be written for an input `(B, T)`, `(B, U)`."""

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Symbols `(B, T)`, and the symbols to be written, `(B, U)`."""
        drawn = strings(self.name, self.seed, split, indices, self.symbols, self.alphabet)
        input = self.to_input(torch.from_numpy(drawn))
        return Batch(input, self.rewritten(input))

    def to_input(self, symbols: Tensor) -> Tensor:
        """The input `(B, T)` with the random symbols of each example; default: the symbols themselves."""
        return symbols

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every symbol in nats, `(B, U)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def metrics(self) -> Mapping[str, Metric]:
        """`exact_match`: share of the strings that are written without a mistake."""
        return {"exact_match": ExactMatch()}
