"""The joint state: every part of every layer, side by side in one vector an example, and one step of it.

    state = joint_step(model, x_BI, state)
    state, moved_MBN = push(model, x_BI, state, tangents_MBN)

`push` also moves M tangent vectors along, which is the Jacobian of the step times each: forward-mode differentiation
through the cells' own `step`. The vectors are laid beside the batch as more rows, so a cell needs no batching rules.

B batch, I input, N numbers of the joint state (a complex one counts twice), M tangent vectors.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from undertow import Cell, Model, State


def flatten(state: tuple[State, ...]) -> Tensor:
    """The joint state as `(B, N)`: the lowest layer first, its parts in their order."""
    return torch.cat([_real(part) for layer in state for part in layer], dim=1)


def unflatten(joint_BN: Tensor, like: tuple[State, ...]) -> tuple[State, ...]:
    """The inverse of `flatten`, for any number of rows; `like` gives shapes and kinds."""
    sizes = [_size(part) for layer in like for part in layer]
    pieces = iter(joint_BN.split_with_sizes(sizes, dim=1))
    return tuple(tuple(_as(next(pieces), part) for part in layer) for layer in like)


def step_jacobian(cell: Cell, x_BI: Tensor, state: State) -> Tensor:
    """The Jacobian of one layer's step with respect to its own state, for one example: `(N, N)`.

    Args:
        cell: The layer.
        x_BI: Its input, one row.
        state: Its state before the step, one row.
    """
    joint_BN = flatten((state,))
    N = joint_BN.shape[1]
    z = cell.project(x_BI.expand(N, *x_BI.shape[1:]).unsqueeze(0))[0]

    def step(joint_NN: Tensor) -> Tensor:
        return flatten((cell.step(z, unflatten(joint_NN, (state,))[0]),))

    eye_NN = torch.eye(N, dtype=joint_BN.dtype, device=joint_BN.device)
    return _jvp(step, joint_BN.repeat(N, 1), eye_NN)[1].T


def joint_step(model: Model, x_BI: Tensor, state: tuple[State, ...]) -> tuple[State, ...]:
    """One step of all layers, each by its own `step`."""
    after = []
    y_BH = x_BI
    for cell, layer in zip(model.layers, state, strict=True):
        z = cell.project(y_BH.unsqueeze(0))[0]
        after.append(cell.step(z, layer))
        y_BH = cell.readout(z, after[-1])
    return tuple(after)


def push(
    model: Model, x_BI: Tensor, state: tuple[State, ...], tangents_MBN: Tensor
) -> tuple[tuple[State, ...], Tensor]:
    """One step of the state, and of tangent vectors beside it.

    Args:
        model: The network, in evaluation mode.
        x_BI: The step's encoded input.
        state: The state of all layers before it.
        tangents_MBN: M directions of every example's joint state.

    Returns:
        The state after the step, and `J v` for every direction, `(M, B, N)`.
    """
    M, B, N = tangents_MBN.shape
    x_RI = x_BI.repeat(M, *[1] * (x_BI.dim() - 1))
    joint_RN = flatten(state).repeat(M, 1)

    def step(joint_RN: Tensor) -> Tensor:
        return flatten(joint_step(model, x_RI, unflatten(joint_RN, state)))

    after_RN, moved_RN = _jvp(step, joint_RN, tangents_MBN.reshape(M * B, N))
    return unflatten(after_RN[:B].detach(), state), moved_RN.detach().reshape(M, B, N)


def _jvp(step: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """`step(at)`, and its Jacobian times `along`."""
    return cast(tuple[Tensor, Tensor], torch.func.jvp(step, (at,), (along,)))


def _real(part: Tensor) -> Tensor:
    return (torch.view_as_real(part) if part.is_complex() else part).flatten(1)


def _size(part: Tensor) -> int:
    return part[0].numel() * (2 if part.is_complex() else 1)


def _as(piece: Tensor, like: Tensor) -> Tensor:
    if like.is_complex():
        return torch.view_as_complex(piece.reshape(len(piece), *like.shape[1:], 2))
    return piece.reshape(len(piece), *like.shape[1:])
