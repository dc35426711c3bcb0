"""Exact match: the share of written sequences without a mistake."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ExactMatch(Metric):
    """Share of the sequences in which the most likely symbol is right at every step; steps with target -1 do not count.

    B batch, U time written, O output.
    """

    higher_is_better = True
    full_state_update = False
    right: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add sequences, `(B, U, O)` logits, and the right symbols, `(B, U)`."""
        self.right += ((preds.argmax(-1) == target) | (target < 0)).all(1).sum()
        self.count += len(target)

    def compute(self) -> Tensor:
        """The share so far."""
        return self.right / self.count
