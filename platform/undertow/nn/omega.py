"""Pascanu's Ω: how far each step is from handing the gradient on at its own size.

    Ω = Σ_k ( ‖∂E/∂h_{k+1} · ∂h_{k+1}/∂h_k‖ / ‖∂E/∂h_{k+1}‖ − 1 )²

Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, eq. 9 and 10, for the joint state of a layer, summed over layers and
averaged over examples. As there, the states and what arrives from the future, ∂E/∂h_{k+1}, are taken as they are, and
only the step between them is differentiated. All steps are then one step of a batch of T·B rows, so that Ω costs about
as much as a pass through the loop. Steps to which nothing arrives are left out.

T time, B batch, I input, H hidden, R = (T - 1)·B rows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from undertow.api.contract import Cell, State
from undertow.nn.model import SequenceModel


def omega(model: SequenceModel, x_TBI: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Ω of a batch, a number whose gradient with respect to the weights is Pascanu's.

    Args:
        model: The network; its layers are run step by step.
        x_TBI: What its lowest layer reads.
        loss_of: From the top layer's readout at every step, `y_TBH`, to E.
    """
    y_TBH = x_TBI.detach()
    inputs: list[Tensor] = []
    states: list[list[State]] = []
    for depth, (cell, state) in enumerate(zip(model.layers, model.initial_state(x_TBI.shape[1]), strict=True)):
        y_TBH = model.dropout(y_TBH) if depth else y_TBH
        inputs.append(y_TBH.detach())
        y_TBH, after = _run(cell, y_TBH, state)
        states.append(after)
    parts = [part for layer in states for state in layer for part in state]
    arriving = iter(torch.autograd.grad(loss_of(y_TBH), parts, materialize_grads=True))
    total = x_TBI.new_zeros(())
    for cell, x_TBH, layer in zip(model.layers, inputs, states, strict=True):
        arriving_T = [tuple(next(arriving) for _ in state) for state in layer]
        total = total + _of_layer(cell, x_TBH[1:], _rows(layer[:-1]), _rows(arriving_T[1:])) / x_TBI.shape[1]
    return total


def _run(cell: Cell, x_TBI: Tensor, state: State) -> tuple[Tensor, list[State]]:
    """The readout at every step, and the state after it."""
    states, outputs = [], []
    for z in cell.project(x_TBI).unbind(0):
        state = cell.step(z, state)
        states.append(state)
        outputs.append(cell.readout(z, state))
    return torch.stack(outputs), states


def _of_layer(cell: Cell, x_TBI: Tensor, before: State, arriving: State) -> Tensor:
    """The sum of (ratio - 1)² over all steps from `before`, given what arrives after them."""
    before = tuple(part.requires_grad_() for part in before)
    after = cell.step(cell.project(x_TBI).flatten(0, 1), before)
    handed_on = torch.autograd.grad(after, before, arriving, create_graph=True, materialize_grads=True)
    arrived_R = _norm(arriving)
    arrives_R = arrived_R > torch.finfo(arrived_R.dtype).tiny ** 0.5
    return (_norm(handed_on)[arrives_R] / arrived_R[arrives_R] - 1).square().sum()


def _rows(states_T: Sequence[State]) -> State:
    """All steps below one another: each part `(R, …)`, without its history."""
    return tuple(torch.cat(parts).detach() for parts in zip(*states_T, strict=True))


def _norm(state: State) -> Tensor:
    """The L2 norm of the joint state, one a row; a row of zeros has no derivative of its norm, and needs none."""
    squares_R = torch.stack([part.abs().square().flatten(1).sum(1) for part in state]).sum(0)
    return squares_R.clamp(min=torch.finfo(squares_R.dtype).tiny).sqrt()
