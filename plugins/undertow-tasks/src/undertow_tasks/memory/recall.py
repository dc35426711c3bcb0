"""Recall: pairs of key and value, then keys among blanks, each to be answered with its value.

Multi-query associative recall (MQAR) of Arora et al., arXiv 2312.04927, with blanks between the queries. The state that
it needs grows with the number of pairs. B batch, T time, N numbers drawn, P pairs, G gaps.
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
from undertow_tasks.memory.options import RecallOptions

POWER = 0.01
"""A query is in the gap g = 1, 2, … with a weight of g^(POWER - 1): most are soon after the pairs."""


class Recall(Task):
    """P pairs, then P queries among blanks, one for each key; the answer, a value, is at the query's own step.

        step     0    1    …  2P-2  2P-1    2P …                      T-1
        input    key  value   key   value   blanks and keys, mixed    key
        target   none                       the value, at a key       value

    Keys differ from each other, and so do values. A query can be at the steps T-1, T-3, T-5, … after step 2P: as in
    the paper, where a query's answer is a step too. Unlike there, step T-1 always has a query, so that all examples
    have their last answer at the same step; the other steps are chosen by a power law, and the order of the keys is
    random. Every value is equally likely: the best constant answer costs ln(values).

    Tokens: keys, then values, then blank. Splits are drawn independently; the options require so many sequences that an
    example hardly ever occurs twice.
    """

    shape = "aligned"
    solved = "val/accuracy > 0.99"

    def __init__(self, options: RecallOptions, length: int, seed: int) -> None:
        self.pairs, self.keys, self.values = options.pairs, options.keys, options.values
        least = 4 * self.pairs
        if length < least:
            raise RequestError(
                f"task `recall` cannot have {length} steps with {self.pairs} pairs; allowed: {least} or more. "
                "Raise task.length, or lower task.options.recall.pairs."
            )
        self.length = length
        self.seed = seed
        self.inputs = Tokens(self.keys + self.values + 1)
        self.output_size = self.values
        self.trivial_loss = math.log(self.values)
        self.trivial_scores = {"accuracy": 1 / self.values}

    def size(self, split: Split) -> None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Input and target, tokens `(B, T)` and values `(B, T)`."""
        T, P, K, V = self.length, self.pairs, self.keys, self.values
        G = (T - 2 * P) // 2 - 1
        u_BN = draws.uniforms(self.seed, f"recall/{split}", indices, K + V + P + G)
        u_BK, u_BV, u_BP, u_BG = np.split(u_BN, [K, K + V, K + V + P], axis=1)
        keys_BP, values_BP = np.argsort(u_BK, axis=1)[:, :P], np.argsort(u_BV, axis=1)[:, :P]
        order_BP = np.argsort(u_BP, axis=1)
        # A weighted draw without replacement: the first of exponential arrival times with these rates.
        arrivals_BG = -np.log1p(-u_BG) / np.arange(1, G + 1) ** (POWER - 1)
        gaps_BP = np.full((len(u_BN), P), G)
        gaps_BP[:, 1:] = np.argsort(arrivals_BG, axis=1)[:, : P - 1]
        queries_BP = T - 1 - 2 * (G - gaps_BP)

        x_BT = np.full((len(u_BN), T), K + V, dtype=np.int64)
        x_BT[:, 0 : 2 * P : 2] = keys_BP
        x_BT[:, 1 : 2 * P : 2] = K + values_BP
        np.put_along_axis(x_BT, queries_BP, np.take_along_axis(keys_BP, order_BP, axis=1), axis=1)
        input = torch.from_numpy(x_BT)
        return Batch(input, self.answer(input))

    def answer(self, input: Tensor) -> Tensor:
        """The target of an input: at each step after the pairs that has one of their keys, its value; else 0."""
        pairs_BN = input[:, : 2 * self.pairs]
        found_BTP = input[:, :, None] == pairs_BN[:, None, ::2]
        found_BTP[:, : 2 * self.pairs] = False
        values_BT = (pairs_BN[:, 1::2] - self.keys).gather(1, found_BTP.int().argmax(2))
        return values_BT * found_BTP.any(2)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of every step in nats, `(B, T)`."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def supervised(self, batch: Batch) -> Tensor:
        """The queries: the steps after the pairs that have a key, `(B, T)`."""
        steps_T = torch.arange(self.length, device=batch.input.device)
        return (batch.input < self.keys) & (steps_T >= 2 * self.pairs)

    def metrics(self) -> Mapping[str, Metric]:
        """`accuracy`: share of the queries whose value is the most likely answer."""
        return {"accuracy": MulticlassAccuracy(num_classes=self.output_size, average="micro")}

    def cues(self, batch: Batch) -> Tensor:
        """The steps of the pair with the last query's key, its key and its value, and the last step, `(B, 3)`."""
        last_B1 = batch.input[:, -1:]
        key_B = 2 * (batch.input[:, : 2 * self.pairs : 2] == last_B1).int().argmax(1)
        return torch.stack([key_B, key_B + 1, torch.full_like(key_B, self.length - 1)], dim=1)
