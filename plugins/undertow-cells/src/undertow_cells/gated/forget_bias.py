"""The first bias of a forget gate: what a memory's time scale is before anything is learned. H hidden.

A gate f keeps a value for about 1 / (1 - f) steps: at a bias of 0 that is two steps, at ln(u) it is u + 1. So a bias of
its own for every unit, b_f = ln u with u ~ U(1, T - 1), spreads the time scales over a task of T steps; the input gate
then starts as 1 - f by b_i = -b_f (Tallec & Ollivier 2018, arXiv 1804.11188, §3).
"""

import torch
from torch import Tensor

from undertow_cells.gated.options import ForgetOptions


def first_forget_bias(options: ForgetOptions, hidden_size: int, length: int) -> Tensor | None:
    """What the options ask for.

    Args:
        options: Of a cell with a forget gate.
        hidden_size: H.
        length: T, the time steps of the task.

    Returns:
        `(H,)` by chrono, drawn from torch's random state, or `()` for all units; None where nothing is asked for.
    """
    if options.chrono:
        return torch.empty(hidden_size).uniform_(1.0, max(length - 1.0, 1.0)).log()
    return None if options.forget_bias is None else torch.tensor(options.forget_bias)
