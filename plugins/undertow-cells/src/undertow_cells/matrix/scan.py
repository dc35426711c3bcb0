"""The chunked scan: a matrix state that decays, is corrected by a rank-one product and added to, for all t at once.

    y_TBNV, last_BNKV = matrix_scan(S_BNKV, w, q, k, v)              # S' = diag(w) S + k vᵀ,              y = S'ᵀ q
    y_TBNV, last_BNKV = matrix_scan(S_BNKV, w, q, k, v, a, b)        # S' = (diag(w) + b aᵀ) S + k vᵀ,     y = S'ᵀ q

The sequence is cut into chunks of C steps, and the operations work on all chunks side by side. With u_t = aᵀ S_{t-1},
a correction is one more key with a value, b and u, so within a chunk that starts from S_0

    S_t = Γ_t S_0 + Σ_{j≤t} Γ_{j→t} (b_j u_jᵀ + k_j v_jᵀ),     Γ_{j→t} = diag(w_{j+1} ∘ … ∘ w_t)

and every query x of S_{t-1} needs the products (x_t, y_j) = x_tᵀ Γ_{j→t-1} y_j with the keys before it:

1. `_products` computes them all. That of y is one of S_{t-1}, too: y = (w ∘ q)ᵀ S_{t-1} + (qᵀ b) u + (qᵀ k) v.
2. The u of a chunk solve u = A S_0 + (a, b) u + (a, k) v, a triangular system: u = W S_0 + U. (Yang et al. 2024, arXiv
   2406.06484, section 3; with a decay, arXiv 2412.06464, section 3.3.)
3. So a chunk is an affine map of its start, S -> P S + R, and the starts follow from one another: one product a chunk.
4. The outputs of all chunks follow from their starts.

No decay is divided by and no logarithm is taken, so w may be 0 or underflow in a product, which then is 0 in the sum as
well. Step 1 halves the chunk, the halves, and so on: a query in the right half meets a key in the left half at the
boundary between them, and Γ is what decays from the key to the boundary times what decays from there to the query.

All of it is ordinary operations on tensors: autograd gives the gradients, and `vmap` runs replicates side by side.

T time, B batch, N heads, K size of a key, V size of a value, C steps in a chunk, M chunks, s steps in half a block.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 32
"""Steps in a chunk of a long sequence; a power of 2."""


def matrix_scan(
    S_BNKV: Tensor,
    w: Tensor,
    q_TBNK: Tensor,
    k_TBNK: Tensor,
    v_TBNV: Tensor,
    a_TBNK: Tensor | None = None,
    b_TBNK: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read a matrix state at every step; exact to rounding, derivatives of any order included.

    Args:
        S_BNKV: The state before the first step.
        w: What every row of the state is scaled by, |w| <= 1: `(T, B, N, K)`, or `(T, B, N, 1)` for one number a head.
        q_TBNK: The queries, of at least one step.
        k_TBNK: The keys.
        v_TBNV: The values.
        a_TBNK: What is read for the correction, with `b_TBNK`; None: no correction.
        b_TBNK: Where the correction is added.

    Returns:
        What the queries read after every step, `(T, B, N, V)`, and the state after the last step, in the dtype of S.
    """
    T = len(q_TBNK)
    C = min(CHUNK, 1 << (T - 1).bit_length())
    with torch.autocast(S_BNKV.device.type, enabled=False):
        q, k, v = (_chunks(each.to(S_BNKV.dtype), C) for each in (q_TBNK, k_TBNK, v_TBNV))
        w = _chunks(w.to(S_BNKV.dtype), C, padding=1.0)
        if a_TBNK is None or b_TBNK is None:
            y_MBNCV, last_BNKV = _decayed(S_BNKV, w, q, k, v)
        else:
            a, b = (_chunks(each.to(S_BNKV.dtype), C) for each in (a_TBNK, b_TBNK))
            y_MBNCV, last_BNKV = _corrected(S_BNKV, w, q, k, v, a, b)
    return y_MBNCV.permute(0, 3, 1, 2, 4).flatten(0, 1)[:T], last_BNKV


def _decayed(S: Tensor, w: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The scan without corrections, in chunks."""
    decays, wq = _decays(w), w * q
    products = _products(wq.unsqueeze(-2), k.unsqueeze(-2), decays)[..., 0, :, :, 0]
    added = (k * decays.to_end).mT @ v
    starts = []
    for kept, new in zip(decays.whole.mT.unbind(0), added.unbind(0), strict=True):
        starts.append(S)
        S = torch.addcmul(new, kept, S)
    y = (wq * decays.from_start) @ torch.stack(starts) + products @ v
    return y + (q * k).sum(-1, keepdim=True) * v, S


def _corrected(S: Tensor, w: Tensor, q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The scan with corrections, in chunks."""
    decays, wq = _decays(w), w * q
    products = _products(torch.stack([wq, a], -2), torch.stack([k, b], -2), decays)
    (q_k, q_b), (a_k, a_b) = (products[..., row, :, :, :].unbind(-1) for row in (0, 1))
    solved = torch.linalg.solve_triangular(
        -a_b, torch.cat([a * decays.from_start, a_k @ v], -1), upper=False, unitriangular=True
    )
    W, U = solved.split([a.shape[-1], v.shape[-1]], -1)
    b_end = (b * decays.to_end).mT
    kept = b_end @ W + torch.diag_embed(decays.whole.expand_as(a[..., :1, :]).squeeze(-2))
    added = b_end @ U + (k * decays.to_end).mT @ v
    starts = []
    for P, R in zip(kept.unbind(0), added.unbind(0), strict=True):
        starts.append(S)
        S = P @ S + R
    start = torch.stack(starts)
    u = W @ start + U
    y = (wq * decays.from_start) @ start + q_b @ u + q_k @ v
    return y + (q * b).sum(-1, keepdim=True) * u + (q * k).sum(-1, keepdim=True) * v, S


class _Decays(NamedTuple):
    """Products of w over the steps of a chunk; the last dimension is that of w.

    Attributes:
        blocks: For s = 1, 2, 4, …, C / 2, the blocks of 2 s steps: the product from the boundary in their middle to
            before each step of the right half, and that from after each step of the left half to the boundary,
            `(…, C / 2s, s, K)` each.
        from_start: From the start of the chunk to before each step, `(…, C, K)`.
        to_end: From after each step to the end of the chunk, `(…, C, K)`.
        whole: Of all steps, `(…, 1, K)`.
    """

    blocks: Sequence[tuple[Tensor, Tensor]]
    from_start: Tensor
    to_end: Tensor
    whole: Tensor


def _decays(w: Tensor) -> _Decays:
    """The products of w `(…, C, K)`, by multiplication alone."""
    whole = w.unsqueeze(-2)  # (…, C, 1, K)
    before = after = torch.ones_like(whole)
    blocks = []
    while whole.shape[-3] > 1:
        (before_l, before_r), (after_l, after_r), (left, right) = (
            each.unflatten(-3, (-1, 2)).unbind(-3) for each in (before, after, whole)
        )
        blocks.append((before_r, after_l))
        before = torch.cat([before_l, before_r * left], -2)
        after = torch.cat([after_l * right, after_r], -2)
        whole = left * right
    return _Decays(blocks, before.squeeze(-3), after.squeeze(-3), whole.squeeze(-3))


def _products(x: Tensor, y: Tensor, decays: _Decays) -> Tensor:
    """(x_t, y_j), which is 0 where j is not before t.

    Args:
        x: X queries a step, `(…, C, X, K)`.
        y: Y keys a step, `(…, C, Y, K)`.
        decays: Those of w.

    Returns:
        `(…, X, C, C, Y)`.
    """
    C, X, K = x.shape[-3:]
    Y = y.shape[-2]
    if decays.whole.shape[-1] < K:
        one = torch.ones_like(decays.to_end).unsqueeze(-2)
        between = _products(one, one, decays)[..., 0, :, :, 0]
        products = (x.flatten(-3, -2) @ y.flatten(-3, -2).mT).unflatten(-1, (C, Y)).unflatten(-3, (C, X))
        return (products * between[..., None, :, None]).movedim(-3, -4)
    result = x.new_zeros(*x.shape[:-3], C, X, Y)  # a block a step: (…, C / s, s X, s Y)
    for before, after in decays.blocks:
        s = before.shape[-2]
        right = (x.unflatten(-3, (-1, 2, s)).select(-4, 1) * before.unsqueeze(-2)).flatten(-3, -2)
        left = (y.unflatten(-3, (-1, 2, s)).select(-4, 0) * after.unsqueeze(-2)).flatten(-3, -2)
        upper, lower = result.unflatten(-3, (-1, 2)).unbind(-3)
        top = torch.cat([upper, torch.zeros_like(upper)], -1)
        result = torch.cat([top, torch.cat([right @ left.mT, lower], -1)], -2)
    return result.squeeze(-3).unflatten(-1, (C, Y)).unflatten(-3, (C, X)).movedim(-3, -4)


def _chunks(x_TBNK: Tensor, C: int, padding: float = 0.0) -> Tensor:
    """`(M, B, N, C, K)`, with steps after the last one that change nothing."""
    x_TBNK = functional.pad(x_TBNK, (0, 0, 0, 0, 0, 0, 0, -len(x_TBNK) % C), value=padding)
    return x_TBNK.unflatten(0, (-1, C)).permute(0, 2, 3, 1, 4).contiguous()
