"""The joint state: all parts of all layers in one vector per example, and one step of it.

    joint_BN = flatten(state)
    state, moved_MBN = push(model, x_BI, state, tangents_MBN)

`push` also multiplies M tangent vectors by the Jacobian of the step, by forward-mode differentiation of the cells' own
`step`. Each vector is one more row of the batch, so a cell needs no batching rules. Integer parts have no derivative:
they are not in the vector, but each step computes them too.

B batch, I input, N numbers of the joint state (a complex one counts twice), M tangent vectors.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from undertow import Cell, Model, State
from undertow_probes.parts import has_gradient, with_gradient


def flatten(state: tuple[State, ...]) -> Tensor:
    """The joint state as `(B, N)`: the lowest layer first, its parts in their order."""
    return torch.cat([_real(part) for part in with_gradient(state)], dim=1)


def unflatten(joint_BN: Tensor, like: tuple[State, ...]) -> tuple[State, ...]:
    """The inverse of `flatten`, for B rows or M times as many.

    Args:
        joint_BN: The joint state.
        like: The state of B examples, for shapes, dtypes and integer parts.
    """
    copies = len(joint_BN) // len(like[0][0])
    pieces = iter(joint_BN.split_with_sizes([_size(part) for part in with_gradient(like)], dim=1))
    return tuple(
        tuple(
            _as(next(pieces), part) if has_gradient(part) else part.repeat(copies, *[1] * (part.dim() - 1))
            for part in layer
        )
        for layer in like
    )


def step_jacobian(cell: Cell, x_BI: Tensor, state: State) -> Tensor:
    """The Jacobian of one layer's step by its own state, for one example: `(N, N)`.

    Args:
        cell: The layer.
        x_BI: Its input, one row.
        state: Its state before the step, one row.
    """
    joint_BN = flatten((state,))
    N = joint_BN.shape[1]
    z = cell.project(x_BI.expand(N, *x_BI.shape[1:]).unsqueeze(0))[0]

    def step(joint_NN: Tensor) -> tuple[State, ...]:
        return (cell.step(z, unflatten(joint_NN, (state,))[0]),)

    eye_NN = torch.eye(N, dtype=joint_BN.dtype, device=joint_BN.device)
    return _jvp(step, joint_BN.repeat(N, 1), eye_NN)[1].T


def push(
    model: Model, x_BI: Tensor, state: tuple[State, ...], tangents_MBN: Tensor
) -> tuple[tuple[State, ...], Tensor]:
    """One step of the state, and its Jacobian J times tangent vectors.

    Args:
        model: The network, in evaluation mode.
        x_BI: The encoded input of the step.
        state: The state of all layers before it.
        tangents_MBN: M directions v of every example's joint state.

    Returns:
        The state after the step, and `J v` for every direction, `(M, B, N)`.
    """
    M, B, N = tangents_MBN.shape
    x_RI = x_BI.repeat(M, *[1] * (x_BI.dim() - 1))
    joint_RN = flatten(state).repeat(M, 1)

    def step(joint_RN: Tensor) -> tuple[State, ...]:
        return model.step(x_RI, unflatten(joint_RN, state))[1]

    after, moved_RN = _jvp(step, joint_RN, tangents_MBN.reshape(M * B, N))
    after = tuple(tuple(part[:B].detach() for part in layer) for layer in after)
    return after, moved_RN.detach().reshape(M, B, N)


def _jvp(
    step: Callable[[Tensor], tuple[State, ...]], joint: Tensor, tangents: Tensor
) -> tuple[tuple[State, ...], Tensor]:
    """The state after a step from `joint`, and the Jacobian of the joint state times `tangents`."""

    def joint_and_state(joint: Tensor) -> tuple[Tensor, tuple[State, ...]]:
        after = step(joint)
        return flatten(after), after

    found = torch.func.jvp(joint_and_state, (joint,), (tangents,), has_aux=True)
    _, moved, after = cast(tuple[Tensor, Tensor, tuple[State, ...]], found)
    return after, moved


def _real(part: Tensor) -> Tensor:
    return (torch.view_as_real(part) if part.is_complex() else part).flatten(1)


def _size(part: Tensor) -> int:
    return part[0].numel() * (2 if part.is_complex() else 1)


def _as(piece: Tensor, like: Tensor) -> Tensor:
    if like.is_complex():
        return torch.view_as_complex(piece.reshape(len(piece), *like.shape[1:], 2).contiguous())
    return piece.reshape(len(piece), *like.shape[1:])
