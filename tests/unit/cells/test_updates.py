"""Each update and its gates against the formula of the paper, written out in NumPy in 64 bits. B batch, H hidden."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow import Cell
from undertow.nn.loop import trajectory, unroll, unroll_by_steps
from undertow_cells.gru import GRU
from undertow_cells.lstm import LSTM
from undertow_cells.options import GruOptions, LstmOptions, RnnOptions, UgrnnOptions
from undertow_cells.rnn import RNN
from undertow_cells.ugrnn import UGRNN

Array = np.ndarray
Weights = dict[str, Array]
T, B, IN, H = 9, 4, 3, 5


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def rows(a: Array, block: int) -> Array:
    return a[..., block * H : (block + 1) * H]


def of_torch(w: Weights) -> tuple[Array, Array, Array, Array]:
    return tuple(w[f"kernel.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def rnn(
    w: Weights, x: Array, state: list[Array], phi: Callable[[Array], Array] = np.tanh
) -> tuple[list[Array], Weights]:
    W, U, b_W, b_U = of_torch(w)
    h = phi(x @ W.T + b_W + state[0] @ U.T + b_U)
    return [h], {"h": h}


def irnn(w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Weights]:
    return rnn(w, x, state, lambda a: np.maximum(a, 0))


def lstm(w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Weights]:
    W, U, b_W, b_U = of_torch(w)
    a = x @ W.T + b_W + state[0] @ U.T + b_U
    i, f, g, o = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), np.tanh(rows(a, 2)), sigmoid(rows(a, 3))
    c = f * state[1] + i * g
    return [o * np.tanh(c), c], {"i": i, "f": f, "g": g, "o": o, "tanh_c": np.tanh(c)}


def gru(w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Weights]:
    W, U, b_W, b_U = of_torch(w)
    from_x, from_h = x @ W.T + b_W, state[0] @ U.T + b_U
    r = sigmoid(rows(from_x, 0) + rows(from_h, 0))
    z = sigmoid(rows(from_x, 1) + rows(from_h, 1))
    n = np.tanh(rows(from_x, 2) + r * rows(from_h, 2))
    return [(1 - z) * n + z * state[0]], {"r": r, "z": z, "n": n}


def ugrnn(w: Weights, x: Array, state: list[Array]) -> tuple[list[Array], Weights]:
    a = x @ w["weight_ih"].T + state[0] @ w["weight_hh"].T + w["bias"]
    g, c = sigmoid(rows(a, 0)), np.tanh(rows(a, 1))
    return [g * state[0] + (1 - g) * c], {"g": g, "c": c}


CASES = {
    "rnn": (lambda: RNN(IN, H, RnnOptions(), T), rnn),
    "rnn-relu": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu"), T), irnn),
    "rnn-identity": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu", recurrent_init="identity"), T), irnn),
    "lstm": (lambda: LSTM(IN, H, LstmOptions(), T), lstm),
    "lstm-chrono": (lambda: LSTM(IN, H, LstmOptions(chrono=True, recurrent_init="orthogonal"), T), lstm),
    "gru": (lambda: GRU(IN, H, GruOptions(), T), gru),
    "ugrnn": (lambda: UGRNN(IN, H, UgrnnOptions(), T), ugrnn),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Cell, torch.Tensor, tuple[torch.Tensor, ...], list, list]:
    """A cell, an input and a random first state, with every state and gate that the formula gives."""
    make, formula = CASES[request.param]
    torch.manual_seed(0)
    cell = make().double()
    x_TBI = torch.randn(T, B, IN, dtype=torch.float64)
    state = tuple(torch.randn_like(part) for part in cell.initial_state(B))
    weights = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    states, gates = [[part.numpy() for part in state]], []
    for x_BI in x_TBI.numpy():
        after, activations = formula(weights, x_BI, states[-1])
        states.append(after)
        gates.append(activations)
    return cell, x_TBI, state, states, gates


def close(got: torch.Tensor, expected: Array) -> None:
    assert got.shape == expected.shape
    error = np.abs(got.detach().numpy() - expected).max()
    assert error <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("way", [unroll, unroll_by_steps])
def test_every_output_and_the_last_state_are_the_formulas(case, way) -> None:
    cell, x_TBI, state, states, _ = case
    y_TBH, last = way(cell, x_TBI, state)
    close(y_TBH, np.stack([parts[0] for parts in states[1:]]))
    assert len(last) == len(states[-1])
    for got, expected in zip(last, states[-1], strict=True):
        close(got, expected)


def test_gates_of_all_steps_at_once_are_the_formulas(case) -> None:
    cell, x_TBI, state, _, expected = case
    gates = cell.gates(cell.project(x_TBI), trajectory(cell, x_TBI, state))
    assert gates.keys() == expected[0].keys()
    for name, (values, kind) in gates.items():
        close(values, np.stack([step[name] for step in expected]))
        low = {"sigmoid": 0.0, "tanh": -1.0, "relu": 0.0}[kind]
        high = np.inf if kind == "relu" else 1.0
        assert ((low <= values) & (values <= high)).all()


def test_gates_of_one_step_are_those_of_all_steps(case) -> None:
    cell, x_TBI, state, _, _ = case
    z_TB = cell.project(x_TBI)
    at_once = cell.gates(z_TB, trajectory(cell, x_TBI, state))
    for name, (values, _) in cell.gates(z_TB[0], state).items():
        close(values, at_once[name][0][0].detach().numpy())
