"""The updates of the oscillators against the formulas of their papers. B batch, H hidden."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow_cells.oscillators.cornn import CoRNN
from undertow_cells.oscillators.lem import LEM
from undertow_cells.oscillators.options import CornnOptions, LemOptions, UnicornnOptions
from undertow_cells.oscillators.unicornn import UnICORNN

Array = np.ndarray
Weights = dict[str, Array]
Step = tuple[list[Array], Weights]
T, IN, H = 9, 3, 5


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def rows(a: Array, block: int) -> Array:
    return a[block * H : (block + 1) * H]


def cornn(w: Weights, x: Array, state: list[Array]) -> Step:
    dt, gamma, epsilon = 0.3, 1.5, 0.7
    y, z = state
    from_y, from_z = w["weight_hh"][:, :H], w["weight_hh"][:, H:]
    f = np.tanh(y @ from_y.T + z @ from_z.T + x @ w["weight_ih"].T + w["bias"])
    z = z + dt * f - dt * gamma * y - dt * epsilon * z
    return [y + dt * z, z], {"f": f}


def unicornn(w: Weights, x: Array, state: list[Array]) -> Step:
    y, z = state
    u = 0.4 * sigmoid(w["pace"])
    f = np.tanh(w["weight_hh"] * y + x @ w["weight_ih"].T + w["bias"])
    z = z - u * (f + 2.5 * y)
    return [y + u * z, z], {"f": f}


def lem(w: Weights, x: Array, state: list[Array], dt: float = 1.0) -> Step:
    y, z = state

    def drive(block: int, from_state: Array) -> Array:
        return from_state + x @ rows(w["weight_ih"], block).T + rows(w["bias"], block)

    d, d_bar = (sigmoid(drive(block, y @ rows(w["weight_hh"], block).T)) for block in (0, 1))
    to_z = np.tanh(drive(2, y @ rows(w["weight_hh"], 2).T))
    z = (1 - dt * d) * z + dt * d * to_z
    to_y = np.tanh(drive(3, z @ w["weight_zy"].T))
    y = (1 - dt * d_bar) * y + dt * d_bar * to_y
    return [y, z], {"d": d, "d_bar": d_bar, "z": to_z, "y": to_y}


def lem_with_short_steps(w: Weights, x: Array, state: list[Array]) -> Step:
    return lem(w, x, state, dt=0.3)


def lem_with_the_old_z(w: Weights, x: Array, state: list[Array]) -> Step:
    """A common mistake: y is updated with the previous z."""
    (_, z), gates = lem(w, x, state)
    block = slice(3 * H, 4 * H)
    to_y = np.tanh(state[1] @ w["weight_zy"].T + x @ w["weight_ih"][block].T + w["bias"][block])
    return [(1 - gates["d_bar"]) * state[0] + gates["d_bar"] * to_y, z], gates | {"y": to_y}


CASES = {
    "cornn": (lambda: CoRNN(IN, H, CornnOptions(dt=0.3, gamma=1.5, epsilon=0.7), T), cornn),
    "unicornn": (lambda: UnICORNN(IN, H, UnicornnOptions(dt=0.4, alpha=2.5), T), unicornn),
    "lem": (lambda: LEM(IN, H, LemOptions(), T), lem),
    "lem-short-steps": (lambda: LEM(IN, H, LemOptions(dt=0.3), T), lem_with_short_steps),
}


@pytest.mark.parametrize("case", CASES)
def test_update_and_gates_are_the_papers(case: str, check_formula: Callable[..., None]) -> None:
    check_formula(*CASES[case])


def test_check_formula_fails_for_lem_with_the_old_z(check_formula: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        check_formula(CASES["lem"][0], lem_with_the_old_z)


def test_unicornn_is_symplectic() -> None:
    """J S Jᵀ = S for the Jacobian J of a step in (y, z): volume is preserved for any input."""
    torch.manual_seed(0)
    cell = UnICORNN(IN, H, UnicornnOptions(), T).double()
    z_1H = cell.project(torch.randn(1, 1, IN, dtype=torch.float64))[0]

    def step(joint: torch.Tensor) -> torch.Tensor:
        y, z = joint.view(2, 1, H)
        return torch.cat(cell.step(z_1H, (y, z)), 1)[0]

    J = torch.autograd.functional.jacobian(step, torch.randn(2 * H, dtype=torch.float64))
    S = torch.zeros(2 * H, 2 * H, dtype=torch.float64)
    S[:H, H:], S[H:, :H] = torch.eye(H), -torch.eye(H)
    assert torch.allclose(J @ S @ J.T, S, atol=1e-12)


def test_unicornn_step_is_invertible() -> None:
    torch.manual_seed(0)
    cell = UnICORNN(IN, H, UnicornnOptions(), T).double()
    z_BH = cell.project(torch.randn(1, 4, IN, dtype=torch.float64))[0]
    before = torch.randn(2, 4, H, dtype=torch.float64)
    y, z = cell.step(z_BH, tuple(before))
    u = cell.weight()
    y = y - u * z
    z = z + u * (torch.tanh(cell.weight_hh * y + z_BH) + cell.alpha * y)
    assert torch.allclose(torch.stack([y, z]), before, atol=1e-12)


def test_cornn_without_weights_is_a_damped_oscillator() -> None:
    """A unit without weights oscillates through 0 at 2 radians per unit of time and loses its energy."""
    cell = CoRNN(IN, H, CornnOptions(dt=0.05, gamma=4.0, epsilon=0.5), T)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    state, positions = (torch.ones(1, H), torch.zeros(1, H)), []
    for _ in range(400):
        state = cell.step(torch.zeros(1, H), state)
        positions.append(state[0][0, 0].item())
    crossings = sum(a * b < 0 for a, b in itertools.pairwise(positions))
    assert crossings in (12, 13)  # 20 units of time at 2 radians each: 40 / π
    assert max(abs(y) for y in positions[-60:]) < 0.02
