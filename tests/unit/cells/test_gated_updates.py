"""The gated cells' updates against their papers'. B batch, H hidden."""

from collections.abc import Callable

import numpy as np
import pytest

from undertow_cells.gated.gru import GRU
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import GruOptions, LstmOptions, UgrnnOptions
from undertow_cells.gated.ugrnn import UGRNN

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights]
T, IN, H = 9, 3, 5


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def rows(a: Array, block: int) -> Array:
    return a[..., block * H : (block + 1) * H]


def of_torch(w: Weights) -> tuple[Array, Array, Array, Array]:
    return tuple(w[f"kernel.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def lstm(w: Weights, x: Array, state: list[Array]) -> Step:
    W, U, b_W, b_U = of_torch(w)
    a = x @ W.T + b_W + state[0] @ U.T + b_U
    i, f, g, o = sigmoid(rows(a, 0)), sigmoid(rows(a, 1)), np.tanh(rows(a, 2)), sigmoid(rows(a, 3))
    c = f * state[1] + i * g
    return [o * np.tanh(c), c], {"i": i, "f": f, "g": g, "o": o, "tanh_c": np.tanh(c)}


def gru(w: Weights, x: Array, state: list[Array]) -> Step:
    W, U, b_W, b_U = of_torch(w)
    from_x, from_h = x @ W.T + b_W, state[0] @ U.T + b_U
    r = sigmoid(rows(from_x, 0) + rows(from_h, 0))
    z = sigmoid(rows(from_x, 1) + rows(from_h, 1))
    n = np.tanh(rows(from_x, 2) + r * rows(from_h, 2))
    return [(1 - z) * n + z * state[0]], {"r": r, "z": z, "n": n}


def ugrnn(w: Weights, x: Array, state: list[Array]) -> Step:
    a = x @ w["weight_ih"].T + state[0] @ w["weight_hh"].T + w["bias"]
    g, c = sigmoid(rows(a, 0)), np.tanh(rows(a, 1))
    return [g * state[0] + (1 - g) * c], {"g": g, "c": c}


CASES = {
    "lstm": (lambda: LSTM(IN, H, LstmOptions(), T), lstm),
    "lstm-chrono": (lambda: LSTM(IN, H, LstmOptions(chrono=True, recurrent_init="orthogonal"), T), lstm),
    "gru": (lambda: GRU(IN, H, GruOptions(), T), gru),
    "ugrnn": (lambda: UGRNN(IN, H, UgrnnOptions(), T), ugrnn),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, holds_to_its_formula: Callable[..., None]) -> None:
    holds_to_its_formula(*CASES[case])
