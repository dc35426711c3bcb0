"""The updates of the gated cells against the formulas of their papers. B batch, H hidden."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from undertow import unroll
from undertow_cells.gated.brc import BRC
from undertow_cells.gated.fastgrnn import FastGRNN
from undertow_cells.gated.gru import GRU
from undertow_cells.gated.janet import JANET
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.lstm_coupled import CoupledLSTM
from undertow_cells.gated.lstm_layernorm import LayerNormLSTM
from undertow_cells.gated.lstm_no_forget import NoForgetLSTM
from undertow_cells.gated.lstm_peephole import PeepholeLSTM
from undertow_cells.gated.mgu import MGU
from undertow_cells.gated.nbrc import NBRC
from undertow_cells.gated.nru import NRU
from undertow_cells.gated.options import (
    BrcOptions,
    FastgrnnOptions,
    GruOptions,
    JanetOptions,
    LstmCoupledOptions,
    LstmLayernormOptions,
    LstmNoForgetOptions,
    LstmOptions,
    LstmPeepholeOptions,
    MguOptions,
    NbrcOptions,
    NruOptions,
    SlstmOptions,
    UgrnnOptions,
    UrLstmOptions,
)
from undertow_cells.gated.slstm import SLSTM
from undertow_cells.gated.ugrnn import UGRNN
from undertow_cells.gated.ur_lstm import URLSTM

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights]
T, IN, H = 9, 3, 6


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def rows(a: Array, block: int) -> Array:
    return a[..., block * H : (block + 1) * H]


def torch_weights(w: Weights) -> tuple[Array, Array, Array, Array]:
    return tuple(w[f"kernel.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def lstm(w: Weights, x: Array, state: list[Array]) -> Step:
    W, U, b_W, b_U = torch_weights(w)
    a = x @ W.T + b_W + state[0] @ U.T + b_U
    i, f, g, o = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), np.tanh(rows(a, 2)), sigmoid(rows(a, 3))
    c = f * state[1] + i * g
    return [o * np.tanh(c), c], {"i": i, "f": f, "g": g, "o": o, "tanh_c": np.tanh(c)}


def gru(w: Weights, x: Array, state: list[Array]) -> Step:
    W, U, b_W, b_U = torch_weights(w)
    from_x, from_h = x @ W.T + b_W, state[0] @ U.T + b_U
    r = sigmoid(rows(from_x, 0) + rows(from_h, 0))
    z = sigmoid(rows(from_x, 1) + rows(from_h, 1))
    n = np.tanh(rows(from_x, 2) + r * rows(from_h, 2))
    return [(1 - z) * n + z * state[0]], {"r": r, "z": z, "n": n}


def gru_reset_before(w: Weights, x: Array, state: list[Array]) -> Step:
    W, U, b_W, b_U = torch_weights(w)
    (h,) = state
    r, z = (sigmoid(x @ W[k * H : (k + 1) * H].T + h @ U[k * H : (k + 1) * H].T + rows(b_W + b_U, k)) for k in (0, 1))
    n = np.tanh(x @ W[2 * H :].T + (r * h) @ U[2 * H :].T + rows(b_W + b_U, 2))
    return [(1 - z) * n + z * h], {"r": r, "z": z, "n": n}


def sums(w: Weights, x: Array, h: Array) -> Array:
    return x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias"]


def ugrnn(w: Weights, x: Array, state: list[Array]) -> Step:
    a = sums(w, x, state[0])
    g, c = sigmoid(rows(a, 0)), np.tanh(rows(a, 1))
    return [g * state[0] + (1 - g) * c], {"g": g, "c": c}


def lstm_peephole(w: Weights, x: Array, state: list[Array]) -> Step:
    h, c = state
    a = sums(w, x, h)
    p_i, p_f = w["peephole_if"]
    i, f, g = sigmoid(rows(a, 0) + p_i * c), sigmoid(rows(a, 1) + p_f * c), np.tanh(rows(a, 2))
    new = f * c + i * g
    o = sigmoid(rows(a, 3) + w["peephole_o"] * new)
    return [o * np.tanh(new), new], {"i": i, "f": f, "g": g, "o": o, "tanh_c": np.tanh(new)}


def lstm_coupled(w: Weights, x: Array, state: list[Array]) -> Step:
    h, c = state
    a = sums(w, x, h)
    f, o, g = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), np.tanh(rows(a, 2))
    new = f * c + (1 - f) * g
    return [o * np.tanh(new), new], {"f": f, "o": o, "g": g, "tanh_c": np.tanh(new)}


def ur_lstm(w: Weights, x: Array, state: list[Array], refines: bool = True) -> Step:
    h, c = state
    a = sums(w, x, h)
    f, g, o = sigmoid(rows(a, 0)), np.tanh(rows(a, 1)), sigmoid(rows(a, 2))
    r = sigmoid(rows(a, 3)) if refines else np.full_like(f, 0.5)
    keep = r * (1 - (1 - f) ** 2) + (1 - r) * f**2  # at r = 1/2 this is f
    new = keep * c + (1 - keep) * g
    gates = {"f": f, "keep": keep, "o": o, "g": g, "tanh_c": np.tanh(new)}
    return [o * np.tanh(new), new], gates | ({"r": r} if refines else {})


def lstm_no_forget(w: Weights, x: Array, state: list[Array]) -> Step:
    h, c = state
    a = sums(w, x, h)
    i, o, g = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), np.tanh(rows(a, 2))
    new = c + i * g
    return [o * np.tanh(new), new], {"i": i, "o": o, "g": g, "tanh_c": np.tanh(new)}


def layer_norm(v: Array) -> Array:
    centred = v - v.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def lstm_layernorm(w: Weights, x: Array, state: list[Array]) -> Step:
    h, c = state
    a = w["gain_hh"] * layer_norm(h @ w["weight_hh"].T) + w["gain_ih"] * layer_norm(x @ w["weight_ih"].T) + w["bias"]
    i, f, o, g = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), sigmoid(rows(a, 2)), np.tanh(rows(a, 3))
    new = f * c + i * g
    tanh_c = np.tanh(w["gain_c"] * layer_norm(new) + w["bias_c"])
    return [o * tanh_c, new], {"i": i, "f": f, "o": o, "g": g, "tanh_c": tanh_c}


def mgu(w: Weights, x: Array, state: list[Array]) -> Step:
    (h,) = state
    from_x = x @ w["weight_ih"].T + w["bias"]
    f = sigmoid(rows(from_x, 0) + h @ w["weight_hf"].T)
    n = np.tanh(rows(from_x, 1) + (f * h) @ w["weight_hn"].T)
    return [(1 - f) * h + f * n], {"f": f, "n": n}


def janet(w: Weights, x: Array, state: list[Array], beta: float) -> Step:
    a = sums(w, x, state[0])
    s, n = rows(a, 0), np.tanh(rows(a, 1))
    i = 1 - sigmoid(s - beta)
    return [sigmoid(s) * state[0] + i * n], {"f": sigmoid(s), "i": i, "n": n}


def fastgrnn(w: Weights, x: Array, state: list[Array]) -> Step:
    (h,) = state
    a = x @ w["weight_ih"].T + h @ w["weight_hh"].T
    b_z, b_n = w["bias"]
    z, n = sigmoid(a + b_z), np.tanh(a + b_n)
    return [(sigmoid(w["zeta"]) * (1 - z) + sigmoid(w["nu"])) * n + z * h], {"z": z, "n": n}


def brc(w: Weights, x: Array, state: list[Array]) -> Step:
    (h,) = state
    from_x = x @ w["weight_ih"].T + w["bias"]
    a = 1 + np.tanh(rows(from_x, 0) + w["weight_hh"][0] * h)
    c = sigmoid(rows(from_x, 1) + w["weight_hh"][1] * h)
    n = np.tanh(rows(from_x, 2) + a * h)
    return [c * h + (1 - c) * n], {"tanh_a": a - 1, "c": c, "n": n}


def nbrc(w: Weights, x: Array, state: list[Array]) -> Step:
    (h,) = state
    from_x, from_h = x @ w["weight_ih"].T + w["bias"], h @ w["weight_hh"].T
    a = 1 + np.tanh(rows(from_x, 0) + rows(from_h, 0))
    c = sigmoid(rows(from_x, 1) + rows(from_h, 1))
    n = np.tanh(rows(from_x, 2) + a * h)
    return [c * h + (1 - c) * n], {"tanh_a": a - 1, "c": c, "n": n}


def slstm(w: Weights, x: Array, state: list[Array], heads: int, exponential: bool) -> Step:
    """Eq. 8 to 17 of the paper: R is block-diagonal, and the stabiliser works on the logarithms of the gates."""
    h, c, n, m = state
    D = H // heads
    R = np.zeros((4, H, H))
    for k in range(heads):
        own = slice(k * D, (k + 1) * D)
        R[:, own, own] = w["weight_hh"][k]
    from_x = x @ w["weight_ih"].T + w["bias"]
    i, f, z, o = (rows(from_x, gate) + h @ R[gate].T for gate in range(4))
    log_f = f if exponential else np.log(sigmoid(f))
    new_m = np.maximum(log_f + m, i)
    kept, written = np.exp(log_f + m - new_m), np.exp(i - new_m)
    new_c, new_n = kept * c + written * np.tanh(z), kept * n + written
    gates = {"o": sigmoid(o), "z": np.tanh(z)} | ({} if exponential else {"f": sigmoid(f)})
    return [sigmoid(o) * new_c / new_n, new_c, new_n, new_m], gates


def nru(w: Weights, x: Array, state: list[Array], heads: int, relu: Callable[[Array], Array]) -> Step:
    """Example by example and head by head."""
    M = state[1].shape[1]
    R = int(np.sqrt(heads * M))
    after, memory, strengths = np.empty_like(state[0]), state[1].copy(), np.empty((2, len(x), heads))
    for b in range(len(x)):
        h, m = state[0][b], state[1][b]
        h = np.maximum(w["weight_ih"] @ x[b] + w["weight_hh"] @ np.concatenate([h, m]) + w["bias"], 0)
        after[b] = h
        rows_of_heads = w["weight_heads"] @ np.concatenate([h, m]) + w["bias_heads"]
        *scales, p, q, r, s = np.split(rows_of_heads, np.cumsum([heads, heads, R, R, R]))
        strengths[:, b] = relu(np.stack(scales))
        for sign, strength, flat in ((1, strengths[0, b], np.outer(p, q)), (-1, strengths[1, b], np.outer(r, s))):
            for k in range(heads):
                v = relu(flat.reshape(-1)[k * M : (k + 1) * M])
                norm = (np.abs(v) ** 5).sum() ** 0.2
                memory[b] += sign * strength[k] * v / (heads * norm if norm else 1.0)
    gates = {"h": after} | ({} if relu is unchanged else {"alpha": strengths[0], "beta": strengths[1]})
    return [after, memory], gates


def unchanged(a: Array) -> Array:
    return a


CASES = {
    "lstm": (lambda: LSTM(IN, H, LstmOptions(), T), lstm),
    "lstm-chrono": (lambda: LSTM(IN, H, LstmOptions(chrono=True, recurrent_init="orthogonal"), T), lstm),
    "gru": (lambda: GRU(IN, H, GruOptions(), T), gru),
    "gru-reset-before": (lambda: GRU(IN, H, GruOptions(reset="before"), T), gru_reset_before),
    "ugrnn": (lambda: UGRNN(IN, H, UgrnnOptions(), T), ugrnn),
    "lstm-peephole": (lambda: PeepholeLSTM(IN, H, LstmPeepholeOptions(), T), lstm_peephole),
    "lstm-coupled": (lambda: CoupledLSTM(IN, H, LstmCoupledOptions(), T), lstm_coupled),
    "ur-lstm": (lambda: URLSTM(IN, H, UrLstmOptions(), T), ur_lstm),
    "ur-lstm-chrono": (lambda: URLSTM(IN, H, UrLstmOptions(forget_init="chrono"), T), ur_lstm),
    "ur-lstm-unrefined": (lambda: URLSTM(IN, H, UrLstmOptions(refine=False), T), partial(ur_lstm, refines=False)),
    "lstm-no-forget": (lambda: NoForgetLSTM(IN, H, LstmNoForgetOptions(input_bias=-1.0), T), lstm_no_forget),
    "lstm-layernorm": (lambda: LayerNormLSTM(IN, H, LstmLayernormOptions(), T), lstm_layernorm),
    "mgu": (lambda: MGU(IN, H, MguOptions(), T), mgu),
    "janet": (lambda: JANET(IN, H, JanetOptions(), T), partial(janet, beta=1.0)),
    "janet-one-share": (lambda: JANET(IN, H, JanetOptions(beta=0.0), T), partial(janet, beta=0.0)),
    "fastgrnn": (lambda: FastGRNN(IN, H, FastgrnnOptions(), T), fastgrnn),
    "brc": (lambda: BRC(IN, H, BrcOptions(recurrent_weight=-0.7), T), brc),
    "nru": (
        lambda: NRU(IN, H, NruOptions(memory_size=9, heads=4), T),
        partial(nru, heads=4, relu=lambda a: np.maximum(a, 0)),
    ),
    "nru-without-relu": (
        lambda: NRU(IN, H, NruOptions(memory_size=8, heads=2, relu=False), T),
        partial(nru, heads=2, relu=unchanged),
    ),
    "nbrc": (lambda: NBRC(IN, H, NbrcOptions(), T), nbrc),
    "slstm": (
        lambda: SLSTM(IN, H, SlstmOptions(recurrent_init="uniform"), T),
        partial(slstm, heads=1, exponential=False),
    ),
    "slstm-heads": (
        lambda: SLSTM(IN, H, SlstmOptions(heads=3, recurrent_init="uniform"), T),
        partial(slstm, heads=3, exponential=False),
    ),
    "slstm-exponential": (
        lambda: SLSTM(IN, H, SlstmOptions(heads=2, recurrent_init="uniform", forget="exponential"), T),
        partial(slstm, heads=2, exponential=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    make, formula = CASES[case]

    def perturbed() -> torch.nn.Module:
        """Every parameter changed a little, so that none has no effect because it is 0 or 1."""
        cell = make()
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return cell

    check_formula(perturbed, formula)


@pytest.mark.parametrize("forget", ["sigmoid", "exponential"])
def test_slstm_output_is_the_same_without_its_stabiliser(forget: str) -> None:
    """h = o ∘ C / N with the paper's unstabilised sums, while these do not overflow."""
    torch.manual_seed(0)
    cell = SLSTM(IN, H, SlstmOptions(forget=forget, recurrent_init="uniform"), T).double()
    x_TBI = torch.randn(T, 2, IN, dtype=torch.float64)
    state = cell.initial_state(2)
    C, N, h = (torch.zeros(2, H, dtype=torch.float64) for _ in range(3))
    for z in cell.project(x_TBI):
        i, f, new, o = (z + h @ cell.weight_hh.view(4 * H, H).T).chunk(4, 1)
        kept = f.sigmoid() if forget == "sigmoid" else f.exp()
        C, N = kept * C + i.exp() * new.tanh(), kept * N + i.exp()
        h = o.sigmoid() * C / N
        state = cell.step(z, state)
        torch.testing.assert_close(state[0], h, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("forget", ["sigmoid", "exponential"])
@pytest.mark.parametrize("bias", [-300.0, -110.0, 0.0])
def test_slstm_is_the_same_function_for_any_bias_of_the_input_gate(
    bias: float, forget: str, dtype: torch.dtype
) -> None:
    """A constant in all input gates scales C and N alike. It is also what the first step's stabiliser must follow."""
    torch.manual_seed(0)
    cell = SLSTM(IN, H, SlstmOptions(forget=forget, recurrent_init="uniform"), T).double()
    x_TBI = torch.randn(T, 2, IN, dtype=torch.float64)
    C, N, h = (torch.zeros(2, H, dtype=torch.float64) for _ in range(3))
    outputs = []
    for z in cell.project(x_TBI):  # the paper's unstabilised sums, eq. 8 to 14, without the bias
        i, f, new, o = (z + h @ cell.weight_hh.view(4 * H, H).T).chunk(4, 1)
        kept = f.sigmoid() if forget == "sigmoid" else f.exp()
        C, N = kept * C + i.exp() * new.tanh(), kept * N + i.exp()
        h = o.sigmoid() * C / N
        outputs.append(h)
    with torch.no_grad():
        cell.bias[:H] += bias
    cell = cell.to(dtype)
    x = x_TBI.to(dtype).requires_grad_()
    y_TBH, state = unroll(cell, x, cell.initial_state(2))
    (gradient,) = torch.autograd.grad(y_TBH.sum(), x)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(y_TBH.double(), torch.stack(outputs), rtol=tolerance, atol=tolerance)
    assert all(part.isfinite().all() for part in (*state, gradient))


def test_slstms_stabiliser_is_the_input_gate_alone_while_nothing_is_stored() -> None:
    """As in the authors' code: m of the first step is i~, whatever the forget gate is."""
    cell = SLSTM(IN, H, SlstmOptions(), T)
    z = cell.project(torch.randn(1, 2, IN) * 10)[0]
    _, c, n, m = cell.step(z, cell.initial_state(2))
    assert torch.equal(m, z[:, :H])
    assert torch.equal(n, torch.ones(2, H))
    torch.testing.assert_close(c, z[:, 2 * H : 3 * H].tanh())


def test_slstm_stays_finite_where_its_gates_overflow() -> None:
    cell = SLSTM(IN, H, SlstmOptions(forget="exponential"), T)
    with torch.no_grad():
        cell.bias.add_(200)  # exp(200) is beyond 32 bits
    x_TBI = torch.randn(T, 2, IN).requires_grad_()
    state = cell.initial_state(2)
    for z in cell.project(x_TBI):
        state = cell.step(z, state)
    (gradient,) = torch.autograd.grad(state[0].sum(), x_TBI)
    assert all(part.isfinite().all() for part in (*state, gradient))


def test_lstm_under_cpu_autocast_computes_in_32_bits_from_a_state_in_16() -> None:
    cell = LSTM(IN, H, LstmOptions(), T)
    x_TBI = torch.randn(T, 2, IN).bfloat16()
    state = tuple(torch.randn(2, H).bfloat16() for _ in range(2))
    expected_TBH, (h_BH, c_BH) = cell.scan(x_TBI.float(), tuple(part.float() for part in state))
    with torch.autocast("cpu", torch.bfloat16):
        y_TBH, after = cell.scan(x_TBI, state)
    assert all(torch.equal(*pair) for pair in zip((y_TBH, *after), (expected_TBH, h_BH, c_BH), strict=True))
