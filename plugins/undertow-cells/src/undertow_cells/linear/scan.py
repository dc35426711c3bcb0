"""The parallel scan: h_t = a_t ∘ h_{t-1} + b_t for all t at once, in about log T vectorised steps instead of T.

    h_TBN, last_BN = linear_scan(a_TBN, b_TBN, h_BN)

The sequence is cut into K chunks of S steps, and every operation works on all chunks side by side:

1. each chunk is an affine map of the state it starts from, h -> p ∘ h + q: S steps give all p and q;
2. the states at which the chunks start are a scan over those K maps, computed the same way;
3. S steps, each chunk from its own start, give the states in between.

There is no division and no logarithm, so a may be 0 or as small as the dtype allows. The products p are no larger than
1 where |a| <= 1, which is the intended use; a larger a can overflow over a chunk where the state itself would not.

Gradients are another scan, backwards in time: with g_t = ∂L/∂h_t by all paths,

    g_t = ∂L/∂h_t (direct) + a*_{t+1} ∘ g_{t+1},   ∂L/∂b_t = g_t,   ∂L/∂a_t = g_t ∘ h*_{t-1},   ∂L/∂h_0 = a*_1 ∘ g_1

where * is the complex conjugate.

All of it is elementwise beyond the first dimension. So `vmap` over replicates is the same scan, with the replicates as
one more dimension behind T.

T time, B batch, N units, K chunks, S steps per chunk, R replicates.
"""

from collections.abc import Iterator
from math import isqrt
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT = 24
"""Largest number of steps that are run one after the other: in a whole sequence, and in a chunk."""

WIDE = 2048
"""On a CPU, a step on more numbers than this is run by the plain loop: three passes would cost more than the calls."""


def linear_scan(a: Tensor, b_TBN: Tensor, h_BN: Tensor) -> tuple[Tensor, Tensor]:
    """All states of h_t = a_t ∘ h_{t-1} + b_t; exact to rounding, first derivatives included.

    Args:
        a: The factors, real or complex, |a| <= 1: `(T, B, N)`, or `(N,)` if they are the same at all steps.
        b_TBN: The addends, of at least one step.
        h_BN: The state before the first step.

    Returns:
        The state after every step, `(T, B, N)`, and after the last step, `(B, N)`.
    """
    dtype = torch.promote_types(torch.promote_types(a.dtype, b_TBN.dtype), h_BN.dtype)
    states = _LinearScan.apply(a.to(dtype), b_TBN.to(dtype), h_BN.to(dtype))  # type: ignore[no-untyped-call]
    return cast(tuple[Tensor, Tensor], states)


class _LinearScan(torch.autograd.Function):
    """The scan and its gradient, as one node of the graph."""

    @staticmethod
    def forward(a: Tensor, b_TBN: Tensor, h_BN: Tensor) -> tuple[Tensor, Tensor]:
        h_TBN = torch.empty_like(b_TBN)
        _fill(h_TBN, a.expand_as(b_TBN), b_TBN, h_BN, backwards=False)
        return h_TBN, h_TBN[-1].clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        a, _, h_BN = inputs
        ctx.save_for_backward(a, h_BN, output[0])
        ctx.set_materialize_grads(False)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None, int | None], a: Tensor, b_TBN: Tensor, h_BN: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        of_a, of_b, of_h = in_dims
        b_TRBN = _replicated(b_TBN, of_b, info.batch_size, at=1)
        h_RBN = _replicated(h_BN, of_h, info.batch_size, at=0)
        if a.dim() - (of_a is not None) == b_TRBN.dim() - 1:
            a = _replicated(a, of_a, info.batch_size, at=1)
        elif of_a is not None:  # the same at all steps: `(R, 1, N)`
            a = a.movedim(of_a, 0)
            a = a.reshape(len(a), *[1] * (h_RBN.dim() - a.dim()), *a.shape[1:])
        return _LinearScan.apply(a, b_TRBN, h_RBN), (1, 0)  # type: ignore[no-untyped-call]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direct_TBN: Tensor | None, last_BN: Tensor | None) -> tuple[Tensor | None, Tensor, Tensor]:
        a, h_BN, h_TBN = ctx.saved_tensors
        a_TBN = a.conj().resolve_conj().expand_as(h_TBN)
        if direct_TBN is None:
            direct_TBN = torch.zeros_like(h_TBN)
        g_TBN = torch.empty_like(h_TBN)
        g_TBN[-1] = direct_TBN[-1] if last_BN is None else direct_TBN[-1] + last_BN
        _fill(g_TBN[:-1], a_TBN[1:], direct_TBN[:-1], g_TBN[-1], backwards=True)
        grad_a = None
        if ctx.needs_input_grad[0]:
            grad_a = torch.empty_like(h_TBN)
            torch.mul(g_TBN[1:], h_TBN[:-1].conj(), out=grad_a[1:])
            torch.mul(g_TBN[0], h_BN.conj(), out=grad_a[0])
            grad_a = grad_a.sum_to_size(a.shape)
        return grad_a, g_TBN, a_TBN[0] * g_TBN[0]


def _replicated(tensor: Tensor, dim: int | None, size: int, at: int) -> Tensor:
    """The tensor with the replicates, which are in `dim` or share it if that is None, in dimension `at`."""
    if dim is not None:
        return tensor.movedim(dim, at)
    return tensor.unsqueeze(at).expand(*tensor.shape[:at], size, *tensor.shape[at:])


def _fill(out_TBN: Tensor, a_TBN: Tensor, b_TBN: Tensor, h_BN: Tensor, *, backwards: bool) -> None:
    """Write every state into `out_TBN`; `backwards` runs from the last step to the first, starting from `h_BN`."""
    T = len(b_TBN)
    S = _chunk(T, h_BN)
    if S == 1:
        _step(out_TBN, a_TBN, b_TBN, h_BN, backwards)
        return
    K = T // S
    cut = T % S if backwards else K * S
    chunks, rest = (slice(cut, T), slice(0, cut)) if backwards else (slice(0, cut), slice(cut, T))
    shape = (K, S, *b_TBN.shape[1:])
    out_SKBN, a_SKBN, b_SKBN = (each[chunks].view(shape).transpose(0, 1) for each in (out_TBN, a_TBN, b_TBN))

    (p, q), *others = _in_time(backwards, a_SKBN, b_SKBN)
    p_KBN, q_KBN = p.clone(), q.clone()
    for a_KBN, b_KBN in others:
        p_KBN.mul_(a_KBN)
        torch.addcmul(b_KBN, a_KBN, q_KBN, out=q_KBN)

    ends_KBN = torch.empty_like(q_KBN)
    _fill(ends_KBN, p_KBN, q_KBN, h_BN, backwards=backwards)
    h_1BN = h_BN.unsqueeze(0)
    starts_KBN = torch.cat([ends_KBN[1:], h_1BN] if backwards else [h_1BN, ends_KBN[:-1]])
    _step(out_SKBN, a_SKBN, b_SKBN, starts_KBN, backwards)

    if cut not in (0, T):
        _fill(out_TBN[rest], a_TBN[rest], b_TBN[rest], out_TBN[cut if backwards else cut - 1], backwards=backwards)


def _chunk(T: int, h_BN: Tensor) -> int:
    """Number of steps per chunk; 1 where the plain loop is faster."""
    if T <= SHORT or (h_BN.device.type == "cpu" and h_BN.numel() > WIDE):
        return 1
    return min(isqrt(T), SHORT)


def _step(out: Tensor, a: Tensor, b: Tensor, h: Tensor, backwards: bool) -> None:
    """The plain recurrence along the first dimension."""
    for a_t, b_t, out_t in _in_time(backwards, a, b, out):
        h = torch.addcmul(b_t, a_t, h, out=out_t)


def _in_time(backwards: bool, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The slices of all tensors along the first dimension, in order or in reverse."""
    return zip(*(each.unbind(0)[:: -1 if backwards else 1] for each in tensors), strict=True)
