"""Bits per character: the mean cross entropy of the next character."""

import math

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric


class BitsPerCharacter(Metric):
    """Mean cross entropy of the right character, in bits: nats / ln 2."""

    higher_is_better = False
    full_state_update = False
    nats: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predictions, `(N, O)` logits, and the right characters, `(N,)`."""
        self.nats += functional.cross_entropy(preds.float(), target, reduction="sum")
        self.count += target.numel()

    def compute(self) -> Tensor:
        """The mean so far, in bits."""
        return self.nats / self.count / math.log(2)
