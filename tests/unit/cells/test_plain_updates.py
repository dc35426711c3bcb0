"""The plain networks' updates against their papers'. B batch, H hidden."""

from collections.abc import Callable

import numpy as np
import pytest

from undertow_cells.plain.options import RnnOptions
from undertow_cells.plain.rnn import RNN

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights]
T, IN, H = 9, 3, 5


def rnn(w: Weights, x: Array, state: list[Array], phi: Callable[[Array], Array] = np.tanh) -> Step:
    W, U, b_W, b_U = (w[f"kernel.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = phi(x @ W.T + b_W + state[0] @ U.T + b_U)
    return [h], {"h": h}


def irnn(w: Weights, x: Array, state: list[Array]) -> Step:
    return rnn(w, x, state, lambda a: np.maximum(a, 0))


CASES = {
    "rnn": (lambda: RNN(IN, H, RnnOptions(), T), rnn),
    "rnn-relu": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu"), T), irnn),
    "rnn-identity": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu", recurrent_init="identity"), T), irnn),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, holds_to_its_formula: Callable[..., None]) -> None:
    holds_to_its_formula(*CASES[case])
