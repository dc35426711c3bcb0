"""Pascanu's Ω: how much each step changes the norm of the gradient that passes through it.

    Ω = Σ_k ( ‖∂E/∂h_{k+1} · ∂h_{k+1}/∂h_k‖ / ‖∂E/∂h_{k+1}‖ − 1 )²

Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, eq. 9 and 10, for the joint state of a layer, summed over layers and
averaged over examples. As in the paper, the states and the gradients that arrive from later steps, ∂E/∂h_{k+1}, are
constants, and only the step between them is differentiated. All steps are computed as one step of a batch of T·B rows,
so Ω costs about as much as one pass through the loop. Steps at which no gradient arrives are left out, and so are state
parts that have no gradient, such as an integer counter.

T time, B batch, I input, H hidden, R = (T - 1)·B rows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from undertow.api.contract import Cell, State
from undertow.nn.model import SequenceModel


def omega(model: SequenceModel, x_TBI: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute Ω of a batch, a number whose gradient with respect to the weights is Pascanu's.

    Args:
        model: The network; its layers are run step by step.
        x_TBI: The input of its lowest layer.
        loss_of: Computes E from the top layer's readout at every step, `y_TBH`.
    """
    states: list[list[State]] = []

    def recording(cell: Cell, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        y_TBH, after = _run(cell, x_TBI, state)
        states.append(after)
        return y_TBH, after[-1]

    y_TBH, _, inputs = model.run(x_TBI.detach(), model.initial_state(x_TBI.shape[1]), recording)
    arriving = iter(_gradients(loss_of(y_TBH), [part for layer in states for state in layer for part in state]))
    total = x_TBI.new_zeros(())
    for cell, x_TBH, layer in zip(model.layers, inputs, states, strict=True):
        arriving_T = [tuple(next(arriving) for _ in state) for state in layer]
        total = total + _of_layer(cell, x_TBH[1:].detach(), _rows(layer[:-1]), _rows(arriving_T[1:])) / x_TBI.shape[1]
    return total


def _run(cell: Cell, x_TBI: Tensor, state: State) -> tuple[Tensor, list[State]]:
    """The readout at every step, and the state after it."""
    states, outputs = [], []
    for z in cell.project(x_TBI).unbind(0):
        state = cell.step(z, state)
        states.append(state)
        outputs.append(cell.readout(z, state))
    return torch.stack(outputs), states


def _gradients(loss: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of `loss` by each part; zeros for a part that has none."""
    required = [part for part in parts if part.requires_grad]
    found = iter(torch.autograd.grad(loss, required, materialize_grads=True) if required else ())
    return [next(found) if part.requires_grad else torch.zeros_like(part) for part in parts]


def _of_layer(cell: Cell, x_TBI: Tensor, before: State, arriving: State) -> Tensor:
    """The sum of (ratio - 1)² over all steps.

    Args:
        cell: The layer.
        x_TBI: Its input at these steps, `(T - 1, B, I)`.
        before: The state before each step, `(R, …)` each part.
        arriving: The gradient by the state after each step, `(R, …)` each part.
    """
    before = tuple(part.requires_grad_() if _is_differentiable(part) else part for part in before)
    after = cell.step(cell.project(x_TBI).flatten(0, 1), before)
    required = [part for part in before if part.requires_grad]
    reached = [(part, gradient) for part, gradient in zip(after, arriving, strict=True) if part.requires_grad]
    passed_on = torch.autograd.grad(
        [part for part, _ in reached],
        required,
        [gradient for _, gradient in reached],
        create_graph=True,
        materialize_grads=True,
    )
    arriving_R = _norm(arriving)
    arrives_R = arriving_R > torch.finfo(arriving_R.dtype).tiny ** 0.5
    return (_norm(passed_on)[arrives_R] / arriving_R[arrives_R] - 1).square().sum()


def _rows(states_T: Sequence[State]) -> State:
    """Concatenate all steps along the batch, detached: each part `(R, …)`."""
    return tuple(torch.cat(parts).detach() for parts in zip(*states_T, strict=True))


def _is_differentiable(part: Tensor) -> bool:
    return part.is_floating_point() or part.is_complex()


def _norm(state: Sequence[Tensor]) -> Tensor:
    """The L2 norm of the joint state in each row, `(R,)`; clamped above 0, where the norm has no derivative."""
    squares = [part.abs().square().flatten(1).sum(1) for part in state if _is_differentiable(part)]
    squares_R = torch.stack(squares).sum(0)
    return squares_R.clamp(min=torch.finfo(squares_R.dtype).tiny).sqrt()
