"""The initial bias of a forget gate: it sets the memory's time scale before training. H hidden.

A gate f keeps a value for about 1 / (1 - f) steps: 2 steps at a bias of 0, u + 1 steps at a bias of ln(u). One bias per
unit, b_f = ln u with u ~ U(1, T - 1), spreads the time scales over a task of T steps; with b_i = -b_f the input gate
starts as 1 - f (Tallec & Ollivier 2018, arXiv 1804.11188, §3).
"""

import torch
from torch import Tensor

from undertow_cells.gated.options import ForgetOptions


def initial_forget_bias(options: ForgetOptions, hidden_size: int, length: int) -> Tensor | None:
    """The initial bias that the options set.

    Args:
        options: The options of a cell with a forget gate.
        hidden_size: H.
        length: T, the time steps of the task.

    Returns:
        With `chrono` `(H,)`, drawn from torch's random state; with `forget_bias` `()`, for all units; else None.
    """
    if options.chrono:
        return torch.empty(hidden_size).uniform_(1.0, max(length - 1.0, 1.0)).log()
    return None if options.forget_bias is None else torch.tensor(options.forget_bias)
