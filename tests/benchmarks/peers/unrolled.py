"""The gradient by lag as it is usually measured: one call for each step, the gradient of every state retained.

The calls are the fused kernel's own, one step long, and weights ask for no gradient: the kindest form of it.
T time, B batch, H hidden.
"""

import torch
from torch import Tensor, nn


def norms_by_step(
    kernel: nn.RNNBase, head: nn.Module, x_TBI: Tensor, target: Tensor, state: tuple[Tensor, ...]
) -> list[Tensor]:
    """The norm of the derivative of the squared error with respect to the state after each step, example by example.

    Args:
        kernel: A one-layer `nn.RNN`, `nn.GRU` or `nn.LSTM`.
        head: From its last output to the answer.
        x_TBI: Its input.
        target: The answer, `(B, 1)`.
        state: The state parts before the first step, `(B, H)` each.

    Returns:
        One `(T, B)` tensor for each state part, in float64.
    """
    parts = tuple(part.unsqueeze(0).requires_grad_() for part in state)
    parts_by_step: list[tuple[Tensor, ...]] = []
    for x_1BI in x_TBI.split(1):
        _, handed_on = kernel(x_1BI, parts if isinstance(kernel, nn.LSTM) else parts[0])
        parts = handed_on if isinstance(handed_on, tuple) else (handed_on,)
        for part in parts:
            part.retain_grad()
        parts_by_step.append(parts)
    (head(parts[0][0]) - target).square().sum().backward()
    return [_norms(column) for column in zip(*parts_by_step, strict=True)]


def _norms(part_by_step: tuple[Tensor, ...]) -> Tensor:
    """The last c of an LSTM has no gradient: the loss does not depend on it."""
    gradients = [torch.zeros_like(part[0]) if part.grad is None else part.grad[0] for part in part_by_step]
    return torch.linalg.vector_norm(torch.stack(gradients), dim=-1, dtype=torch.float64)
