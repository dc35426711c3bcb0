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
    products, (from_start,), (to_end,), whole = _products([w * q], [k], w)
    ((before,),) = products
    added = to_end.mT @ v
    starts = []
    for kept, new in zip(whole.unsqueeze(-1).unbind(0), added.unbind(0), strict=True):
        starts.append(S)
        S = torch.addcmul(new, kept, S)
    y = from_start @ torch.stack(starts) + before @ v
    return torch.addcmul(y, (q * k).sum(-1, keepdim=True), v), S


def _corrected(S: Tensor, w: Tensor, q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The scan with corrections, in chunks."""
    products, (q_start, a_start), (k_end, b_end), whole = _products([w * q, a], [k, b], w)
    (q_k, q_b), (a_k, a_b) = products
    right = torch.cat([a_start, a_k @ v], -1)
    solved = torch.linalg.solve_triangular(-a_b, right, upper=False, unitriangular=True)
    W, U = torch.split(solved, [a.shape[-1], v.shape[-1]], -1)
    kept = b_end.mT @ W + torch.diag_embed(whole.expand_as(a[..., 0, :]))
    added = b_end.mT @ U + k_end.mT @ v
    starts = []
    for P, R in zip(kept.unbind(0), added.unbind(0), strict=True):
        starts.append(S)
        S = P @ S + R
    start = torch.stack(starts)
    u = W @ start + U
    y = q_start @ start + q_b @ u + q_k @ v
    y = torch.addcmul(y, (q * b).sum(-1, keepdim=True), u)
    return torch.addcmul(y, (q * k).sum(-1, keepdim=True), v), S


class _Products(NamedTuple):
    """What `_products` returns.

    Attributes:
        between: (x_t, y_j), which is 0 where j is not before t, for each query and each key, `(…, C, C)`.
        from_start: The queries times what decays from the start of the chunk to before them, `(…, C, K)` each.
        to_end: The keys times what decays from after them to the end of the chunk, `(…, C, K)` each.
        whole: What decays in the whole chunk, `(…, K)`.
    """

    between: Sequence[Sequence[Tensor]]
    from_start: Sequence[Tensor]
    to_end: Sequence[Tensor]
    whole: Tensor


def _products(queries: list[Tensor], keys: list[Tensor], w: Tensor) -> _Products:
    """The products of queries and keys, `(…, C, K)` each, with what decays between them.

    All blocks of s steps are joined in pairs, for s = 1, 2, 4, … C / 2. Each query is scaled by what decays since the
    start of its block, each key by what decays until the end of its block.
    """
    if w.shape[-1] < queries[0].shape[-1]:
        one = torch.ones_like(w)
        ((decay,),), (from_start,), (to_end,), whole = _products([one], [one], w)
        scaled = [[x @ y.mT * decay for y in keys] for x in queries]
        return _Products(scaled, [x * from_start for x in queries], [y * to_end for y in keys], whole)
    X, Y = len(queries), len(keys)
    x, y = (torch.stack(each, -2).unsqueeze(-2) for each in (queries, keys))  # (…, C / s, X, s, K)
    whole = w  # (…, C / s, K)
    between = x.new_zeros(*x.shape[:-3], X, Y, 1, 1)  # (…, C / s, X, Y, s, s)
    while whole.shape[-2] > 1:
        (x_l, x_r), (y_l, y_r) = (torch.unflatten(each, -4, (-1, 2)).unbind(-4) for each in (x, y))
        left, right = torch.unflatten(whole, -2, (-1, 2)).unbind(-2)
        above, below = torch.unflatten(between, -5, (-1, 2)).unbind(-5)
        across = x_r.flatten(-3, -2) @ y_l.flatten(-3, -2).mT
        across = torch.unflatten(torch.unflatten(across, -1, (Y, -1)), -3, (X, -1)).transpose(-3, -2)
        above = torch.cat([above, torch.zeros_like(above)], -1)
        between = torch.cat([above, torch.cat([across, below], -1)], -2)
        x = torch.cat([x_l, x_r * left[..., None, None, :]], -2)
        y = torch.cat([y_l * right[..., None, None, :], y_r], -2)
        whole = left * right
    (between,) = between.unbind(-5)
    (x,), (y,), (whole,) = x.unbind(-4), y.unbind(-4), whole.unbind(-2)
    return _Products([row.unbind(-3) for row in between.unbind(-4)], x.unbind(-3), y.unbind(-3), whole)


def _chunks(x_TBNK: Tensor, C: int, padding: float = 0.0) -> Tensor:
    """`(M, B, N, C, K)`, with steps after the last one that change nothing."""
    if missing := -len(x_TBNK) % C:
        x_TBNK = functional.pad(x_TBNK, (0, 0, 0, 0, 0, 0, 0, missing), value=padding)
    return torch.unflatten(x_TBNK, 0, (-1, C)).permute(0, 2, 3, 1, 4).contiguous()
