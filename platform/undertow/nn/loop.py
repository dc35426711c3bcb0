"""The time loop: one layer, run over a sequence.

    y_TBH, state = unroll(cell, x_TBI, cell.initial_state(batch_size))

A cell with a `scan` of its own (a fused kernel, a parallel scan) is run with it. Any other cell is projected once, for
all steps in one matrix product, and then stepped. In both cases the returned state is the initial state of the next
piece of the same sequence: running in pieces equals running whole.

T time, B batch, I input, H hidden.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from undertow.api.contract import Cell, Scans, State

Unroll = Callable[[Cell, Tensor, State], tuple[Tensor, State]]
"""A way to run a layer over some steps, such as `unroll` and `unroll_by_steps`."""


def unroll(cell: Cell, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
    """Run `cell` over some steps: with its `scan` if it has one, otherwise step by step.

    Args:
        cell: One layer.
        x_TBI: Its input, at least one step.
        state: Its state before the first step.

    Returns:
        The readout at every step, `y_TBH`, and the state after the last step.
    """
    return cell.scan(x_TBI, state) if isinstance(cell, Scans) else unroll_by_steps(cell, x_TBI, state)


def unroll_by_steps(cell: Cell, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
    """Run `cell` step by step, even if it has a `scan`; arguments and result as for `unroll`."""
    outputs = []
    for z in cell.project(x_TBI).unbind(0):
        state = cell.step(z, state)
        outputs.append(cell.readout(z, state))
    return torch.stack(outputs), state


def trajectory(cell: Cell, x_TBI: Tensor, state: State) -> State:
    """Compute the state *before* every step, as `Cell.gates` takes it, for all steps at once.

    If the readout is the whole state, one `unroll` is enough; otherwise the cell is stepped.

    Args:
        cell: One layer.
        x_TBI: Its input.
        state: Its state before the first step.

    Returns:
        Each state part with a leading time dimension, `(T, B, …)`.
    """
    if len(state) == 1 and type(cell).readout is Cell.readout:
        y_TBH, _ = unroll(cell, x_TBI, state)
        return (torch.cat([state[0].unsqueeze(0), y_TBH[:-1]]),)
    states = [state]
    for z in cell.project(x_TBI).unbind(0)[:-1]:
        states.append(cell.step(z, states[-1]))
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))
