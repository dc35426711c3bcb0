"""The candidate of the minimal cells, plain or positive. Feng et al. 2024, arXiv 2410.01201, appendix B."""

import torch
from torch import Tensor


def candidate(k: Tensor, positive: bool) -> Tensor:
    """k, or if `positive` g(k) = k + 1/2 where k >= 0 and σ(k) elsewhere: positive, continuous, increasing."""
    return torch.where(k >= 0, k + 0.5, k.sigmoid()) if positive else k
