"""Activations: the state before every step in every layer, and the values of every gate there.

The states are computed once without autograd. Then the cell's `gates` are evaluated for all steps at once.
T time, B batch, I input, H hidden.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from undertow import Batch, Cell, GateKind, Model, State, Task, trajectory, unroll
from undertow_probes.loss import encoded


def activations(model: Model, task: Task, batch: Batch) -> Iterator[Mapping[str, tuple[Tensor, GateKind]]]:
    """The gates of each layer, the lowest first: values `(T, B, …)` by name, each with its kind."""
    with torch.no_grad():
        for cell, x_TBI, states_TB in trajectories(model, task, batch):
            yield cell.gates(cell.project(x_TBI), states_TB)


def trajectories(model: Model, task: Task, batch: Batch) -> Iterator[tuple[Cell, Tensor, State]]:
    """Each layer, the lowest first, its input at every step, and its state before every step, `(T, B, …)` a part."""
    with torch.no_grad():
        y_TBH = encoded(model, task, batch)
        for cell, state in zip(model.layers, model.initial_state(y_TBH.shape[1]), strict=True):
            yield cell, y_TBH, trajectory(cell, y_TBH, state)
            y_TBH, _ = unroll(cell, y_TBH, state)
