"""Activations: the state before every step in every cell, and the values of every gate there.

The states are computed once without autograd. Then the cell's `gates` are evaluated for all steps at once.
T time, B batch, I input, H hidden.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from undertow import Batch, Cell, GateKind, Model, State, Task, trajectory
from undertow_probes.loss import encoded
from undertow_probes.parts import is_backward


def activations(model: Model, task: Task, batch: Batch) -> Iterator[Mapping[str, tuple[Tensor, GateKind]]]:
    """The gates of each of `model.layers`: values `(T, B, …)` by name, each with its kind.

    The values of a cell that runs backwards are at the step of the sequence too, not in the order in which it reads.
    """
    with torch.no_grad():
        for place, (cell, x_TBI, states_TB) in enumerate(trajectories(model, task, batch)):
            gates = cell.gates(cell.project(x_TBI), states_TB)
            if is_backward(model, place):
                gates = {name: (values.flip(0), kind) for name, (values, kind) in gates.items()}
            yield gates


def trajectories(model: Model, task: Task, batch: Batch) -> Iterator[tuple[Cell, Tensor, State]]:
    """Each of `model.layers`, its input at every step, and its state before every step, `(T, B, …)` a part.

    A cell that runs backwards reads the last step first.
    """
    with torch.no_grad():
        x_TBI = encoded(model, task, batch)
        inputs, states = model.cell_inputs(x_TBI), model.initial_state(x_TBI.shape[1])
        for cell, read_TBI, state in zip(model.layers, inputs, states, strict=True):
            yield cell, read_TBI, trajectory(cell, read_TBI, state)
