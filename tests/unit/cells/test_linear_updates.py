"""The updates of the linear recurrences against the formulas of their papers. B batch, H hidden."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import cont2discrete

from undertow_cells.linear.lmu import LMU
from undertow_cells.linear.lru import LRU
from undertow_cells.linear.mingru import MinGRU
from undertow_cells.linear.minlstm import MinLSTM
from undertow_cells.linear.options import (
    LmuOptions,
    LruOptions,
    MinGruOptions,
    MinLstmOptions,
    RgLruOptions,
    S4dOptions,
    S6Options,
    SruOptions,
)
from undertow_cells.linear.rg_lru import RGLRU
from undertow_cells.linear.s4d import S4D
from undertow_cells.linear.s6 import S6
from undertow_cells.linear.sru import SRU

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights] | tuple[list[Array], Weights, Array]
T, IN, H = 9, 3, 5


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def rows(a: Array, block: int) -> Array:
    return a[..., block * H : (block + 1) * H]


def g(k: Array) -> Array:
    return np.where(k >= 0, k + 0.5, sigmoid(k))


def mingru(w: Weights, x: Array, state: list[Array], phi: Callable[[Array], Array] = lambda k: k) -> Step:
    k = x @ w["weight"].T + w["bias"]
    z = sigmoid(rows(k, 0))
    return [(1 - z) * state[0] + z * phi(rows(k, 1))], {"z": z}


def minlstm(w: Weights, x: Array, state: list[Array], phi: Callable[[Array], Array] = lambda k: k) -> Step:
    k = x @ w["weight"].T + w["bias"]
    f, i = sigmoid(rows(k, 0)), sigmoid(rows(k, 1))
    keep = f / (f + i)
    return [keep * state[0] + i / (f + i) * phi(rows(k, 2))], {"f": f, "i": i, "keep": keep}


def lru(w: Weights, x: Array, state: list[Array]) -> Step:
    lam = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
    B = w["B"][:, 0] + 1j * w["B"][:, 1]
    C = w["C"][..., 0] + 1j * w["C"][..., 1]
    h = lam * (state[0][:, ::2] + 1j * state[0][:, 1::2]) + np.exp(w["gamma"]) * (x @ B.T)
    skip = w["D"] * x if w["D"].ndim == 1 else x @ w["D"].T
    return [np.stack([h.real, h.imag], -1).reshape(len(x), -1)], {}, (h @ C.T).real + skip


def rg_lru(w: Weights, x: Array, state: list[Array], unscaled_start: bool = False) -> Step:
    u = x @ w["weight_in"].T if "weight_in" in w else x
    k = u @ w["weight"].T + w["bias"]
    r, i = sigmoid(rows(k, 0)), sigmoid(rows(k, 1))
    a = sigmoid(w["Lambda"]) ** (8 * r)
    scale = np.sqrt(1 - a**2)
    if unscaled_start:
        scale = np.where(state[1][:, None] == 0, 1.0, scale)
    return [a * state[0] + scale * (i * u), state[1] + 1], {"r": r, "i": i}


def s4d(w: Weights, x: Array, state: list[Array]) -> Step:
    """Each unit and number by itself, sampled by scipy as a real system of two."""
    u = x @ w["weight_in"].T if "weight_in" in w else x
    after, y = np.empty_like(state[0]), w["D"] * u
    for i, (alpha, omega, C, log_dt) in enumerate(zip(w["alpha"], w["omega"], w["C"], w["log_dt"], strict=True)):
        for n in range(len(alpha)):
            A = np.array([[-np.exp(alpha[n]), -omega[n]], [omega[n], -np.exp(alpha[n])]])
            system = (A, np.array([[1.0], [0.0]]), np.eye(2), np.zeros((2, 1)))
            a, b, *_ = cont2discrete(system, np.exp(log_dt), "zoh")
            pair = state[0][:, i, 2 * n : 2 * n + 2] @ a.T + u[:, i : i + 1] * b.T
            after[:, i, 2 * n : 2 * n + 2] = pair
            y[:, i] += 2 * (C[n, 0] * pair[:, 0] - C[n, 1] * pair[:, 1])
    return [after], {}, y


def s6(w: Weights, x: Array, state: list[Array], signed: bool = False) -> Step:
    """Algorithm 2 and equation 2a, example by example and unit by unit."""
    A = -np.exp(w["alpha"])
    N, R = A.shape[1], w["weight_dt"].shape[1]
    V_dt, W_B, W_C = w["weight"][:R], w["weight"][R : R + N], w["weight"][R + N :]
    after, factors, y = np.empty_like(state[0]), np.empty_like(state[0]), np.empty((len(x), H))
    for b in range(len(x)):
        u = w["weight_in"] @ x[b] + w["bias_in"] if "weight_in" in w else x[b]
        dt = np.log1p(np.exp(w["weight_dt"] @ (V_dt @ u) + w["bias_dt"]))
        for i in range(H):
            a = np.exp(dt[i] * A[i])
            factors[b, i] = 2 * a - 1 if signed else a
            after[b, i] = factors[b, i] * state[0][b, i] + dt[i] * (W_B @ u) * u[i]
            y[b, i] = (W_C @ u) @ after[b, i] + w["D"][i] * u[i]
    return [after], {"factor" if signed else "keep": factors}, y


def sru(w: Weights, x: Array, state: list[Array], alpha: float = 1.0, tanh: bool = False) -> Step:
    k = x @ w["weight"].T
    f, r = sigmoid(rows(k, 1) + rows(w["bias"], 0)), sigmoid(rows(k, 2) + rows(w["bias"], 1))
    c = f * state[0] + (1 - f) * rows(k, 0)
    skip = rows(k, 3) if len(w["weight"]) == 4 * H else alpha * x
    phi_c = np.tanh(c) if tanh else c
    gates = {"f": f, "r": r} | ({"tanh_c": np.tanh(c)} if tanh else {})
    return [c], gates, r * phi_c + (1 - r) * skip


def sru_2(w: Weights, x: Array, state: list[Array], alpha: float = 1.0, tanh: bool = False) -> Step:
    """Eq. 1 to 4 of the fifth version of the paper; the state has c after and before the step."""
    k = x @ w["weight"].T
    c = state[0][:, :H]
    f = sigmoid(rows(k, 1) + w["weight_c"][0] * c + rows(w["bias"], 0))
    r = sigmoid(rows(k, 2) + w["weight_c"][1] * c + rows(w["bias"], 1))
    after = f * c + (1 - f) * rows(k, 0)
    skip = rows(k, 3) if len(w["weight"]) == 4 * H else alpha * x
    phi_c = np.tanh(after) if tanh else after
    gates = {"f": f, "r": r} | ({"tanh_c": np.tanh(after)} if tanh else {})
    return [np.concatenate([after, c], 1)], gates, r * phi_c + (1 - r) * skip


def lmu(order: int, theta: float) -> Callable[[Weights, Array, list[Array]], Step]:
    A = np.array([[(2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)] for i in range(order)])
    B = np.array([[(2 * i + 1) * (-1) ** i] for i in range(order)])
    A_step, B_step, *_ = cont2discrete((A / theta, B / theta, np.eye(order), np.zeros((order, 1))), 1.0, "zoh")

    def step(w: Weights, x: Array, state: list[Array]) -> Step:
        h, m = state
        u = x @ w["e_x"].T + h @ w["e_h"].T + m @ w["e_m"].T
        m = m @ A_step.T + u @ B_step.T
        h = np.tanh(x @ w["W_x"].T + h @ w["W_h"].T + m @ w["W_m"].T)
        return [h, m], {"h": h}

    return step


CASES = {
    "mingru": (lambda: MinGRU(IN, H, MinGruOptions(), T), mingru),
    "mingru-positive": (
        lambda: MinGRU(IN, H, MinGruOptions(candidate="positive"), T),
        lambda *args: mingru(*args, phi=g),
    ),
    "minlstm": (lambda: MinLSTM(IN, H, MinLstmOptions(forget_bias=2.0), T), minlstm),
    "minlstm-positive": (
        lambda: MinLSTM(IN, H, MinLstmOptions(candidate="positive"), T),
        lambda *args: minlstm(*args, phi=g),
    ),
    "lru": (lambda: LRU(IN, H, LruOptions(), T), lru),
    "lru-as-wide-as-its-input": (lambda: LRU(H, H, LruOptions(state_size=7, r_min=0.5, max_phase=0.3), T), lru),
    "rg-lru": (lambda: RGLRU(IN, H, RgLruOptions(), T), rg_lru),
    "rg-lru-as-wide-as-its-input": (lambda: RGLRU(H, H, RgLruOptions(min_decay=0.1), T), rg_lru),
    "rg-lru-released": (
        lambda: RGLRU(IN, H, RgLruOptions(init="released", first_step="released"), T),
        lambda *args: rg_lru(*args, unscaled_start=True),
    ),
    "s4d": (lambda: S4D(IN, H, S4dOptions(state_size=3), T), s4d),
    "s4d-as-wide-as-its-input": (lambda: S4D(H, H, S4dOptions(state_size=4, init="inv", dt_max=1.0), T), s4d),
    "s4d-legs": (lambda: S4D(IN, H, S4dOptions(state_size=2, init="legs", dt_min=0.5, dt_max=0.5), T), s4d),
    "s6": (lambda: S6(IN, H, S6Options(), T), s6),
    "s6-as-wide-as-its-input": (lambda: S6(H, H, S6Options(state_size=3, dt_rank=4, dt_max=2.0), T), s6),
    "s6-signed": (
        lambda: S6(IN, H, S6Options(state_size=4, signed=True, dt_min=0.1, dt_max=2.0), T),
        lambda *args: s6(*args, signed=True),
    ),
    "sru": (lambda: SRU(IN, H, SruOptions(), T), sru),
    "sru-2": (lambda: SRU(IN, H, SruOptions(version=2), T), sru_2),
    "sru-2-as-wide-as-its-input": (
        lambda: SRU(H, H, SruOptions(version=2, activation="tanh"), T),
        lambda *args: sru_2(*args, alpha=np.sqrt(3), tanh=True),
    ),
    "sru-as-wide-as-its-input": (
        lambda: SRU(H, H, SruOptions(highway_bias=-1.0), T),
        lambda *args: sru(*args, alpha=np.sqrt(1 + 2 * np.exp(-1))),
    ),
    "sru-tanh": (
        lambda: SRU(H, H, SruOptions(activation="tanh", rescale=False), T),
        lambda *args: sru(*args, tanh=True),
    ),
    "lmu": (lambda: LMU(IN, H, LmuOptions(), T), lmu(H, T)),
    "lmu-wider-memory": (lambda: LMU(IN, H, LmuOptions(order=12, theta=40.5), T), lmu(12, 40.5)),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    check_formula(*CASES[case])
