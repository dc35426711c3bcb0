"""Reverse: read a string, write it from its end to its start. Delétang et al., arXiv 2207.02098. B batch, T time."""

import math

import torch
from torch import Tensor

from undertow import Batch, Tokens
from undertow_tasks.formal.options import ReverseOptions
from undertow_tasks.formal.rewriting import Rewriting
from undertow_tasks.formal.strings import share


class Reverse(Rewriting):
    """T symbols of A kinds in; the same T out, the last one first.

        step     0 … T-1           T … 2T-1
        read     x_0 … x_{T-1}
        written                    x_{T-1} … x_0

    The first symbol written was read one step before, the last one 2T-1 steps before; every odd lag in between occurs.
    A stack solves it; a network of fixed size can store only a limited number of symbols. All T symbols count, there is
    no end symbol, and the best constant for each step costs ln A; a constant answer is right for one string of
    the split.
    """

    name = "reverse"

    def __init__(self, options: ReverseOptions, length: int, seed: int) -> None:
        super().__init__(length, seed)
        self.writes = self.symbols = length
        self.alphabet = self.output_size = options.alphabet
        self.inputs = Tokens(options.alphabet)
        self.trivial_loss = math.log(options.alphabet)
        self.trivial_scores = {"exact_match": float(options.alphabet) ** -length / share("val", options.alphabet)}

    def rewritten(self, input: Tensor) -> Tensor:
        """The symbols, the last one first."""
        return input.flip(1)

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input."""
        return self.rewritten(input)

    def cues(self, batch: Batch) -> Tensor:
        """The first step, whose symbol is written last, `(B, 1)`."""
        return torch.zeros(len(batch.target), 1, dtype=torch.int64, device=batch.target.device)
