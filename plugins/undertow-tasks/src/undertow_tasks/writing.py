"""Written answers of different lengths: each ends with an end symbol.

    counted_NU = until_end(target_NU)
    trivial_loss = cost_of_guessing(target_NU, counted_NU)

N examples, U time written, O output.
"""

import torch
from torch import Tensor
from torch.nn import functional

END = 0
"""The end symbol: the last one that counts. The steps after it have it too and do not count."""


def until_end(target_NU: Tensor) -> Tensor:
    """The steps up to and including the first end symbol, `(N, U)` bool."""
    ends_NU = (target_NU == END).int()
    return ends_NU.cumsum(1) - ends_NU == 0


def cost_of_guessing(target_NU: Tensor, counted_NU: Tensor) -> float:
    """The loss of the best constant for each step, in nats: the target symbols by their frequency at the step.

        Σ_u n_u H_u / Σ_u n_u,   n_u the number of examples that count at step u, H_u the entropy of their symbols

    It never exceeds the entropy of all symbols together. A network that reads the previous symbol, as in training, can
    have a lower loss without using the input, as a language model does.

    Args:
        target_NU: The target symbols.
        counted_NU: Which steps count.
    """
    nats = 0.0
    for symbols_N, counts_N in zip(target_NU.T, counted_NU.T, strict=True):
        frequency_O = functional.normalize(torch.bincount(symbols_N[counts_N], minlength=1).double(), p=1, dim=0)
        nats += int(counts_N.sum()) * torch.special.entr(frequency_O).sum().item()
    return nats / int(counted_NU.sum())
