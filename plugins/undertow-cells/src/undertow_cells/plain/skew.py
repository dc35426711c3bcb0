"""Skew-symmetric matrices, A = -Aᵀ, from the numbers above their diagonal. H hidden, U = H (H - 1) / 2 of them.

Their eigenvalues are imaginary: a state that follows h' = A h neither grows nor shrinks. `antisymmetric` takes a small
step along A, `orthogonal` computes a rotation from it.
"""

import torch
from torch import Tensor


def skew(upper_U: Tensor, size: int) -> Tensor:
    """The matrix `(size, size)` with `upper_U` above its diagonal, row by row, and its negative below."""
    rows, columns = torch.triu_indices(size, size, 1, device=upper_U.device)
    W_HH = upper_U.new_zeros(size, size).index_put((rows, columns), upper_U)
    return W_HH - W_HH.t()


def upper(W_HH: Tensor) -> Tensor:
    """The numbers above the diagonal, row by row, `(U,)`: the inverse of `skew`."""
    rows, columns = torch.triu_indices(len(W_HH), len(W_HH), 1, device=W_HH.device)
    return W_HH[rows, columns]
