"""The parallel scan: h_t = a_t ∘ h_{t-1} + b_t for all t at once, in some log T vectorised steps instead of T.

    h_TBN, last_BN = linear_scan(a_TBN, b_TBN, h_BN)

The sequence is cut into K chunks of S steps, and every operation works on all chunks side by side:

1. each chunk is one affine map of the state it starts from, h -> p ∘ h + q: S steps give all the p and q;
2. the states at which chunks start are a scan over those K maps, done the same way;
3. S steps, each chunk from its own start, give the states in between.

Nothing is ever divided or taken as a logarithm, so a may be 0, and as small as it likes. The products p are no larger
than 1 where |a| <= 1, which is meant here; a larger a can overflow over a chunk where the state itself would not.

Gradients are one more scan, against time: with g_t = ∂L/∂h_t by all paths,

    g_t = ∂L/∂h_t (direct) + a*_{t+1} ∘ g_{t+1},   ∂L/∂b_t = g_t,   ∂L/∂a_t = g_t ∘ h*_{t-1},   ∂L/∂h_0 = a*_1 ∘ g_1

with * the complex conjugate, which matters for complex tensors only.

T time, B batch, N units, K chunks, S steps in one.
"""

from collections.abc import Iterator
from math import isqrt
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT = 24
"""Up to so many steps are taken one after the other: in a whole sequence, and in a chunk."""

WIDE = 2048
"""On a CPU, where a step works on more numbers than that, going over them three times costs more than the calls."""


def linear_scan(a: Tensor, b_TBN: Tensor, h_BN: Tensor) -> tuple[Tensor, Tensor]:
    """All states of h_t = a_t ∘ h_{t-1} + b_t; exact to rounding, first derivatives included.

    Args:
        a: The factors, real or complex, at most 1 in size: `(T, B, N)`, or `(N,)` if they are the same at all times.
        b_TBN: The addends, at least one step.
        h_BN: The state before the first step.

    Returns:
        The state after every step, `(T, B, N)`, and after the last, `(B, N)`.
    """
    dtype = torch.promote_types(torch.promote_types(a.dtype, b_TBN.dtype), h_BN.dtype)
    states = _LinearScan.apply(a.to(dtype), b_TBN.to(dtype), h_BN.to(dtype))  # type: ignore[no-untyped-call]
    return cast(tuple[Tensor, Tensor], states)


class _LinearScan(torch.autograd.Function):
    """The scan and its reverse, as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b_TBN: Tensor, h_BN: Tensor) -> tuple[Tensor, Tensor]:
        h_TBN = b_TBN.new_empty(b_TBN.shape)
        _fill(h_TBN, a.expand_as(b_TBN), b_TBN, h_BN, backwards=False)
        ctx.save_for_backward(a, h_BN, h_TBN)
        ctx.set_materialize_grads(False)
        return h_TBN, h_TBN[-1].clone()

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


def _fill(out_TBN: Tensor, a_TBN: Tensor, b_TBN: Tensor, h_BN: Tensor, *, backwards: bool) -> None:
    """Write every state into `out_TBN`; `backwards` starts from the end, with `h_BN` after it."""
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
    """How many steps to put into a chunk; 1 where cutting does not pay."""
    if T <= SHORT or (h_BN.device.type == "cpu" and h_BN.numel() > WIDE):
        return 1
    return min(isqrt(T), SHORT)


def _step(out: Tensor, a: Tensor, b: Tensor, h: Tensor, backwards: bool) -> None:
    """The recurrence itself along the first dimension, whatever the others are."""
    for a_t, b_t, out_t in _in_time(backwards, a, b, out):
        h = torch.addcmul(b_t, a_t, h, out=out_t)


def _in_time(backwards: bool, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The slices of all of them along the first dimension, the first or the last ones first."""
    return zip(*(each.unbind(0)[:: -1 if backwards else 1] for each in tensors), strict=True)
