"""The updates of the cells with a matrix state against the formulas of their papers.

In a cell's state a row belongs to an entry of the key; a paper's S may be the transpose, and is in its formula here.
B batch, N heads, K size of a key, V size of a value, H = N V.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow import Cell
from undertow_cells.matrix.gla import GLA
from undertow_cells.matrix.options import GlaOptions

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights, Array]
T, IN, N, H = 9, 3, 2, 6
V = H // N


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def swish(a: Array) -> Array:
    return a * sigmoid(a)


def by_head(a: Array) -> Array:
    return a.reshape(len(a), N, -1)


def layer_norm(o: Array, eps: float = 1e-5) -> Array:
    return (o - o.mean(-1, keepdims=True)) / np.sqrt(o.var(-1, keepdims=True) + eps)


def gla(w: Weights, x: Array, state: list[Array], K: int = V, constant: bool = False, plain: bool = False) -> Step:
    """Eq. 3 to 5 and section 4.4, head by head; retention, eq. 6 and 8 of its paper, without the rotation."""
    cuts = np.cumsum([N * K, N * K, H])
    q, k, v, r = np.split(x @ w["weight"].T, cuts, -1)
    q, k, v = by_head(q), by_head(k), by_head(v)
    S, o = np.empty((len(x), N, K, V)), np.empty((len(x), N, V))
    if constant:
        alpha = np.stack([np.full((len(x), 1), 1 - 2.0 ** (-5 - n)) for n in range(N)], 1)
    else:
        alpha = by_head(sigmoid(x @ w["weight_1"].T @ w["weight_2"].T + w["bias"]) ** (1 / 16))
    for b in range(len(x)):
        for n in range(N):
            decay = np.diag(np.broadcast_to(alpha[b, n], K))
            S[b, n] = decay @ state[0][b, n] + np.outer(k[b, n], v[b, n])
            o[b, n] = q[b, n] @ S[b, n]
    gates = {"a": alpha.reshape(len(x), -1)}
    if plain:
        return [S], gates, o.reshape(len(x), H)
    y = swish(r + w["bias_r"]) * (layer_norm(o) * w["norm.weight"]).reshape(len(x), H)
    return [S], gates, y


def varied(cell: Cell) -> Cell:
    """The cell with noise on all parameters: a weight that starts at 0 or 1 counts, too."""
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return cell


CASES = {
    "gla": (lambda: GLA(IN, H, GlaOptions(heads=N), T), gla),
    "gla-wide-keys": (
        lambda: GLA(IN, H, GlaOptions(heads=N, key_size=5, gate_rank=2, decay_bias=-3.0), T),
        lambda *args: gla(*args, K=5),
    ),
    "gla-constant": (
        lambda: GLA(IN, H, GlaOptions(heads=N, decay="constant"), T),
        lambda *args: gla(*args, constant=True),
    ),
    "gla-plain": (
        lambda: GLA(IN, H, GlaOptions(heads=N, norm=False, output_gate=False), T),
        lambda *args: gla(*args, plain=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    make, formula = CASES[case]
    check_formula(lambda: varied(make()), formula)
