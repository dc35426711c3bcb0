"""The updates of the cells with a matrix state against the formulas of their papers.

In a cell's state a row belongs to an entry of the key; a paper's S may be the transpose, and is in its formula here.
B batch, N heads, K size of a key, V size of a value, H = N V.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow import Cell
from undertow_cells.matrix.deltanet import DeltaNet
from undertow_cells.matrix.gla import GLA
from undertow_cells.matrix.hgrn2 import HGRN2
from undertow_cells.matrix.mlstm import MLSTM
from undertow_cells.matrix.options import DeltanetOptions, GlaOptions, Hgrn2Options, MlstmOptions, Rwkv7Options
from undertow_cells.matrix.rwkv7 import RWKV7

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


def rms_norm(o: Array, eps: float = 1e-5) -> Array:
    return o / np.sqrt((o**2).mean(-1, keepdims=True) + eps)


def unit(a: Array) -> Array:
    return a / np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6)


def hgrn2(w: Weights, x: Array, state: list[Array], K: int = V, beta: float = 0.0, plain: bool = False) -> Step:
    """Section 3.2: the state of HGRN, widened by an outer product with 1 - f in place of the input gate."""
    q, f, v = (by_head(part) for part in np.split(x @ w["weight"].T, [N * K, 2 * N * K], -1))
    f = beta + (1 - beta) * sigmoid(f + w["bias"])
    S, o = np.empty((len(x), N, K, V)), np.empty((len(x), N, V))
    for b in range(len(x)):
        for n in range(N):
            S[b, n] = np.diag(f[b, n]) @ state[0][b, n] + np.outer(1 - f[b, n], v[b, n])
            o[b, n] = swish(q[b, n]) @ S[b, n]
    y = o.reshape(len(x), H)
    return [S], {"f": f.reshape(len(x), -1)}, y if plain else rms_norm(y) * w["norm.weight"]


def mlstm(w: Weights, x: Array, state: list[Array], K: int = V, exponential: bool = False, norm: bool = False) -> Step:
    """Eq. 19-27 with the stabiliser of eq. 15-17; C of the paper has a column for each entry of the key."""
    q, k, v, o = np.split(x @ w["weight"].T + w["bias"], np.cumsum([N * K, N * K, H]), -1)
    q, k, v, o = by_head(q), by_head(k) / np.sqrt(K), by_head(v), sigmoid(o)
    i, f = np.split(x @ w["weight_gates"].T + w["bias_gates"], 2, -1)
    log_f = f if exponential else np.log(sigmoid(f))
    m = np.maximum(log_f + state[2], i)
    C, n, h = np.empty((len(x), N, V, K)), np.empty((len(x), N, K)), np.empty((len(x), N, V))
    for b in range(len(x)):
        for head in range(N):
            kept = np.exp(log_f[b, head] + state[2][b, head] - m[b, head])
            added = np.exp(i[b, head] - m[b, head])
            C[b, head] = kept * state[0][b, head].T + added * np.outer(v[b, head], k[b, head])
            n[b, head] = kept * state[1][b, head] + added * k[b, head]
            divisor = max(abs(n[b, head] @ q[b, head]), np.exp(-m[b, head]))
            h[b, head] = C[b, head] @ q[b, head] / divisor
    if norm:
        h = layer_norm(h) * w["norm.weight"]
    gates = {"o": o} if exponential else {"o": o, "f": sigmoid(f)}
    return [C.swapaxes(-1, -2), n, m], gates, o * h.reshape(len(x), H)


def deltanet(
    w: Weights,
    x: Array,
    state: list[Array],
    K: int = V,
    limit: float = 1.0,
    gated: bool = True,
    plain: bool = False,
) -> Step:
    """Eq. 10; S of the paper has a column for each entry of the key. The decay is that of Mamba 2."""
    q, k, v, g = np.split(x @ w["weight"].T, np.cumsum([N * K, N * K, H]), -1)
    q, k, v = unit(swish(by_head(q))), unit(swish(by_head(k))), swish(by_head(v))
    share = sigmoid(x @ w["weight_beta"].T + w["bias_beta"])
    alpha = np.ones_like(share)
    if gated:
        alpha = np.exp(-np.exp(w["A"]) * np.log1p(np.exp(x @ w["weight_alpha"].T + w["bias_alpha"])))
    S, o = np.empty((len(x), N, V, K)), np.empty((len(x), N, V))
    for b in range(len(x)):
        for n in range(N):
            key, beta = k[b, n], limit * share[b, n]
            erased = state[0][b, n].T @ (alpha[b, n] * (np.eye(K) - beta * np.outer(key, key)))
            S[b, n] = erased + beta * np.outer(v[b, n], key)
            o[b, n] = S[b, n] @ q[b, n]
    gates = {"a": alpha, "b": share} if gated else {"b": share}
    y = o.reshape(len(x), H)
    if not plain:
        y = swish(g) * (rms_norm(o) * w["norm.weight"]).reshape(len(x), H)
    return [S.swapaxes(-1, -2)], gates, y


def rwkv7(w: Weights, x: Array, state: list[Array], K: int = V, plain: bool = False) -> Step:
    """Section 4.1; S of the paper has a column for each entry of the key."""
    r, k, v = (by_head(part) for part in np.split(x @ w["weight"].T, [N * K, 2 * N * K], -1))
    decay = np.tanh(x @ w["weight_w1"].T) @ w["weight_w2"].T
    decay = np.exp(-np.exp(-0.5) * sigmoid(by_head(decay) + w["bias_w"]))
    a = sigmoid(by_head(x @ w["weight_a1"].T @ w["weight_a2"].T) + w["bias_a"])
    removed = unit(k * w["xi"])
    k = k * (1 + (a - 1) * w["mu"])
    S, o = np.empty((len(x), N, V, K)), np.empty((len(x), N, V))
    for b in range(len(x)):
        for n in range(N):
            transition = np.diag(decay[b, n]) - np.outer(removed[b, n], a[b, n] * removed[b, n])
            S[b, n] = state[0][b, n].T @ transition + np.outer(v[b, n], k[b, n])
            o[b, n] = S[b, n] @ r[b, n]
    if not plain:
        o = layer_norm(o, 1e-5 * V) * w["norm.weight"] + w["norm.bias"]
    y = o + (r * w["rho"] * k).sum(-1, keepdims=True) * v
    y = y.reshape(len(x), H)
    if not plain:
        y = y * (sigmoid(x @ w["weight_g1"].T) @ w["weight_g2"].T)
    return [S.swapaxes(-1, -2)], {"w": decay.reshape(len(x), -1), "a": a.reshape(len(x), -1)}, y


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
    "hgrn2": (lambda: HGRN2(IN, H, Hgrn2Options(heads=N), T), hgrn2),
    "hgrn2-bounded": (
        lambda: HGRN2(IN, H, Hgrn2Options(heads=N, key_size=5, lower_bound=0.6, forget_bias=-1.0, norm=False), T),
        lambda *args: hgrn2(*args, K=5, beta=0.6, plain=True),
    ),
    "mlstm": (lambda: MLSTM(IN, H, MlstmOptions(heads=N), T), mlstm),
    "mlstm-exponential": (
        lambda: MLSTM(IN, H, MlstmOptions(heads=N, key_size=5, forget="exponential", norm=True), T),
        lambda *args: mlstm(*args, K=5, exponential=True, norm=True),
    ),
    "deltanet": (lambda: DeltaNet(IN, H, DeltanetOptions(heads=N), T), deltanet),
    "deltanet-reflecting": (
        lambda: DeltaNet(IN, H, DeltanetOptions(heads=N, key_size=5, max_beta=2), T),
        lambda *args: deltanet(*args, K=5, limit=2.0),
    ),
    "deltanet-plain": (
        lambda: DeltaNet(IN, H, DeltanetOptions(heads=N, gated=False, norm=False, output_gate=False), T),
        lambda *args: deltanet(*args, gated=False, plain=True),
    ),
    "rwkv7": (lambda: RWKV7(IN, H, Rwkv7Options(heads=N), T), rwkv7),
    "rwkv7-plain": (
        lambda: RWKV7(IN, H, Rwkv7Options(heads=N, key_size=5, rank=2, norm=False, output_gate=False), T),
        lambda *args: rwkv7(*args, K=5, plain=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    make, formula = CASES[case]
    check_formula(lambda: varied(make()), formula)
