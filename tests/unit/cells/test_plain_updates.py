"""The updates of the plain networks against the formulas of their papers. B batch, H hidden."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow import Cell, unroll
from undertow_cells.plain.antisymmetric import AntisymmetricRNN
from undertow_cells.plain.clockwork import Clockwork
from undertow_cells.plain.indrnn import IndRNN
from undertow_cells.plain.options import (
    AntisymmetricOptions,
    ClockworkOptions,
    IndrnnOptions,
    OrthogonalOptions,
    RnnOptions,
)
from undertow_cells.plain.orthogonal import OrthogonalRNN
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


def indrnn(w: Weights, x: Array, state: list[Array]) -> Step:
    h = np.maximum(x @ w["weight_ih"].T + w["bias"] + w["weight_hh"] * state[0], 0)
    return [h], {"h": h}


def skew(numbers: Array) -> Array:
    A = np.zeros((H, H))
    A[np.triu_indices(H, 1)] = numbers
    return A - A.T


def antisymmetric(w: Weights, x: Array, state: list[Array]) -> Step:
    M = skew(w["weight_hh"]) - 0.25 * np.eye(H)
    c = np.tanh(state[0] @ M.T + x @ w["weight_ih"].T + w["bias"])
    return [state[0] + 0.3 * c], {"c": c}


def gated_antisymmetric(w: Weights, x: Array, state: list[Array]) -> Step:
    recurrent = state[0] @ (skew(w["weight_hh"]) - 0.25 * np.eye(H)).T
    a = x @ w["weight_ih"].T + w["bias"]
    z, c = 1 / (1 + np.exp(-(a[:, :H] + recurrent))), np.tanh(a[:, H:] + recurrent)
    return [state[0] + 0.3 * z * c], {"z": z, "c": c}


def clockwork(periods: list[int]) -> Callable[[Weights, Array, list[Array]], Step]:
    """Unit by unit, with the period of each; U is stored row by row without the zeros below its blocks."""

    def step(w: Weights, x: Array, state: list[Array]) -> Step:
        stored = iter(w["weight_hh"])
        U = np.array([[next(stored) if periods[j] >= periods[i] else 0.0 for j in range(H)] for i in range(H)])
        assert next(stored, None) is None
        h, t = state
        new, after = np.zeros_like(h), h.copy()
        for b in range(len(x)):
            for i in range(H):
                new[b, i] = np.tanh(w["weight_ih"][i] @ x[b] + w["bias"][i] + U[i] @ h[b])
                if t[b] % periods[i] == 0:
                    after[b, i] = new[b, i]
        return [after, t + 1], {"h": new}

    return step


def expm(A: Array) -> Array:
    angles, vectors = np.linalg.eigh(1j * A)
    return (vectors * np.exp(-1j * angles) @ vectors.conj().T).real


def cayley(A: Array) -> Array:
    return np.linalg.inv(np.eye(H) + A) @ (np.eye(H) - A)


def orthogonal(w: Weights, x: Array, state: list[Array], rotation: Callable[[Array], Array] = expm) -> Step:
    a = x @ w["weight_ih"].T + state[0] @ rotation(skew(w["weight_hh"])).T
    modulus = np.maximum(np.abs(a) + w["bias"], 0)
    return [np.sign(a) * modulus], {"modulus": modulus}


def orthogonal_by_cayley(w: Weights, x: Array, state: list[Array]) -> Step:
    return orthogonal(w, x, state, cayley)


STEP = {"epsilon": 0.3, "gamma": 0.25}

CASES = {
    "rnn": (lambda: RNN(IN, H, RnnOptions(), T), rnn),
    "rnn-relu": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu"), T), irnn),
    "rnn-identity": (lambda: RNN(IN, H, RnnOptions(nonlinearity="relu", recurrent_init="identity"), T), irnn),
    "indrnn": (lambda: IndRNN(IN, H, IndrnnOptions(), T), indrnn),
    "indrnn-long": (lambda: IndRNN(IN, H, IndrnnOptions(recurrent_init="long"), T), indrnn),
    "clockwork": (lambda: Clockwork(IN, H, ClockworkOptions(), T), clockwork([1, 1, 2, 4, 8])),
    "clockwork-periods": (
        lambda: Clockwork(IN, H, ClockworkOptions(periods=(2, 3), weight_std=1.0), T),
        clockwork([2, 2, 2, 3, 3]),
    ),
    "antisymmetric": (lambda: AntisymmetricRNN(IN, H, AntisymmetricOptions(**STEP), T), antisymmetric),
    "antisymmetric-gated": (
        lambda: AntisymmetricRNN(IN, H, AntisymmetricOptions(**STEP, gated=True), T),
        gated_antisymmetric,
    ),
    "orthogonal": (lambda: OrthogonalRNN(IN, H, OrthogonalOptions(), T), orthogonal),
    "orthogonal-cayley": (
        lambda: OrthogonalRNN(IN, H, OrthogonalOptions(map="cayley", recurrent_init="cayley"), T),
        orthogonal_by_cayley,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    check_formula(*CASES[case])


def train(cell: Cell, steps: int, rate: float, upwards: bool = False) -> None:
    """Run gradient descent, or ascent if `upwards`, on the sum of squares of the outputs."""
    optimizer = torch.optim.SGD(cell.parameters(), lr=rate, maximize=upwards)
    for _ in range(steps):
        optimizer.zero_grad()
        y_TBH, _ = unroll(cell, torch.ones(T, 2, IN), cell.initial_state(2))
        y_TBH.square().sum().backward()
        optimizer.step()


def test_indrnn_weight_is_clamped_after_a_step_and_can_leave_its_bound_again() -> None:
    torch.manual_seed(0)
    cell = IndRNN(IN, H, IndrnnOptions(growth=3.0), T)
    bound = 3.0 ** (1 / T)
    train(cell, 5, 0.1, upwards=True)
    assert cell.weight_hh.max() > bound
    with torch.no_grad():
        cell.constrain()
    assert cell.weight_hh.max().item() == pytest.approx(bound)
    train(cell, 1, 1e-3)
    assert cell.weight_hh.max() < bound


@pytest.mark.parametrize("training", [True, False])
def test_indrnn_under_vmap_is_each_replicate_alone(training: bool) -> None:
    torch.manual_seed(0)
    cells = [IndRNN(IN, H, IndrnnOptions(recurrent_init="long"), T).train(training) for _ in range(3)]
    names = [name for name, _ in cells[0].named_parameters()]
    stacks = {name: torch.stack([cell.get_parameter(name) for cell in cells]) for name in names}
    x_TBI = torch.randn(T, 2, IN)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cells[0]

        def forward(self, x_TBI: torch.Tensor) -> torch.Tensor:
            return unroll(self.cell, x_TBI, self.cell.initial_state(2))[0]

    whole = Whole()
    prefixed = {f"cell.{name}": stack for name, stack in stacks.items()}
    run = torch.vmap(lambda weights: torch.func.functional_call(whole, weights, (x_TBI,)))
    for got, cell in zip(run(prefixed), cells, strict=True):
        torch.testing.assert_close(got, unroll(cell, x_TBI, cell.initial_state(2))[0])


@pytest.mark.parametrize("training", [True, False])
def test_indrnn_uses_a_clamped_copy_and_leaves_the_weight(training: bool) -> None:
    torch.manual_seed(0)
    cell, x_TBI = IndRNN(IN, H, IndrnnOptions(), T).train(training), torch.ones(T, 2, IN)
    with torch.no_grad():
        cell.weight_hh.fill_(5.0)
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(2))
    assert torch.equal(cell.weight_hh, torch.full((H,), 5.0))
    with torch.no_grad():
        cell.weight_hh.fill_(2 ** (1 / T))
    assert torch.equal(unroll(cell, x_TBI, cell.initial_state(2))[0], y_TBH)


def test_indrnn_in_pieces_of_one_graph_has_the_gradient_of_the_whole() -> None:
    torch.manual_seed(0)
    cell, x_TBI = IndRNN(IN, H, IndrnnOptions(), T), torch.randn(T, 2, IN)
    with torch.no_grad():
        cell.weight_hh.fill_(5.0)
    gradients = []
    for cuts in ([], [2, 5]):
        state = cell.initial_state(2)
        for piece in x_TBI.tensor_split(cuts):
            y_TBH, state = unroll(cell, piece, state)
        gradients.append(torch.autograd.grad(y_TBH[-1].sum(), list(cell.parameters())))
    for whole, pieces in zip(*gradients, strict=True):
        assert torch.allclose(whole, pieces)


@pytest.mark.parametrize("rotation", ["expm", "cayley"])
def test_orthogonal_matrix_stays_orthogonal_in_training(rotation: str) -> None:
    torch.manual_seed(0)
    cell = OrthogonalRNN(IN, H, OrthogonalOptions(map=rotation), T)
    before = cell.weight().detach()
    train(cell, 20, 1e-4)
    after = cell.weight().detach()
    assert not torch.allclose(after, before, atol=1e-2)
    assert torch.allclose(after.T @ after, torch.eye(H), atol=1e-5)
