"""Activations: the values of every gate at every step in every layer.

The state before every step is computed once without autograd. Then the cell's `gates` are evaluated for all steps at
once. T time, B batch, H hidden.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from undertow import Batch, GateKind, Model, Task, trajectory, unroll
from undertow_probes.loss import encoded


def activations(model: Model, task: Task, batch: Batch) -> Iterator[Mapping[str, tuple[Tensor, GateKind]]]:
    """The gates of each layer, the lowest first: values `(T, B, …)` by name, each with its kind."""
    with torch.no_grad():
        y_TBH = encoded(model, task, batch)
        for cell, state in zip(model.layers, model.initial_state(y_TBH.shape[1]), strict=True):
            yield cell.gates(cell.project(y_TBH), trajectory(cell, y_TBH, state))
            y_TBH, _ = unroll(cell, y_TBH, state)
