"""Sort: read a string, write its symbols in rising order. Delétang et al., arXiv 2207.02098 (bucket sort).

B batch, T time, A symbols.
"""

import math

import numpy as np
import torch
from torch import Tensor

from undertow import Batch, Tokens
from undertow_tasks.formal.options import SortOptions
from undertow_tasks.formal.rewriting import Rewriting


class Sort(Rewriting):
    """T symbols of A kinds in; the same T out, the smallest first.

    Only the count of each kind must be remembered, not the order: A counters solve it. All T symbols count, there is no
    end symbol. The k-th smallest of T symbols has the distribution

        P(x_(k) ≤ v) = Σ_{j ≥ k} C(T, j) F^j (1-F)^(T-j),   F = (v + 1)/A

    and the trivial loss is its mean entropy over k = 1 … T: the loss of the best constant for each step. The most
    frequent answer has all kinds equally often, up to one symbol.
    """

    name = "sort"

    def __init__(self, options: SortOptions, length: int, seed: int) -> None:
        super().__init__(length, seed)
        self.writes = self.symbols = length
        self.alphabet = self.output_size = options.alphabet
        self.inputs = Tokens(options.alphabet)
        self.trivial_loss = cost_of_guessing(length, options.alphabet)
        self.trivial_scores = {"exact_match": share_of_the_most_frequent(length, options.alphabet)}

    def rewritten(self, input: Tensor) -> Tensor:
        """The symbols in rising order."""
        return input.sort(1).values

    def cues(self, batch: Batch) -> Tensor:
        """Every step, `(B, T)`: the last symbol written is the greatest, and every symbol read can be it."""
        return torch.arange(self.length, device=batch.target.device).expand(len(batch.target), self.length)


def share_of_the_most_frequent(length: int, alphabet: int) -> float:
    """The probability of the most frequent multiset of symbols."""
    count, more = divmod(length, alphabet)
    log_ways = math.lgamma(length + 1) - (alphabet - more) * math.lgamma(count + 1) - more * math.lgamma(count + 2)
    return math.exp(log_ways - length * math.log(alphabet))


def cost_of_guessing(length: int, alphabet: int) -> float:
    """The mean entropy of the order statistics, in nats."""
    log_factorial = np.concatenate([[0.0], np.log(np.arange(1, length + 1)).cumsum()])
    j_T = np.arange(length + 1)
    below_A1 = np.arange(1, alphabet)[:, None] / alphabet
    log_ways_T = log_factorial[-1] - log_factorial - log_factorial[::-1]
    p_AT = np.exp(log_ways_T + j_T * np.log(below_A1) + (length - j_T) * np.log1p(-below_A1))
    at_most_AT = p_AT[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    sides = np.zeros((1, length)), at_most_AT, np.ones((1, length))
    p_AT = np.diff(np.concatenate(sides), axis=0).clip(1e-300, 1.0)
    return float(-(p_AT * np.log(p_AT)).sum(axis=0).mean())
