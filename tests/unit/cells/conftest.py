"""The fidelity check of a cell: its update and its gates against its paper's formula, written out in NumPy in 64 bits.

    def ugrnn(w, x, state):                        # weights by name, input (B, I), state parts (B, …)
        ...
        return [h], {"g": g, "c": c}               # the state after the step; the gates inside it

    @pytest.mark.parametrize("case", CASES)        # name -> (a maker of the cell, its formula)
    def test_update(case, check_formula): check_formula(*CASES[case])

A formula whose readout is not the first state part returns it as a third value. T time, B batch, H hidden.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from undertow import Cell
from undertow.nn.loop import trajectory, unroll, unroll_by_steps

Array = np.ndarray
T, B = 9, 4


def _close(got: torch.Tensor, expected: Array) -> None:
    assert got.shape == expected.shape
    error = np.abs(got.detach().numpy() - expected).max()
    assert error <= 1e-12 * max(np.abs(expected).max(), 1e-3)


def _check(make: Callable[[], Cell], formula: Callable[..., tuple[Any, ...]]) -> None:
    torch.manual_seed(0)
    cell = make().double()
    x_TBI = torch.randn(T, B, cell.input_size, dtype=torch.float64)
    state = tuple(torch.randn_like(part) if part.is_floating_point() else part for part in cell.initial_state(B))
    weights = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    states: list[list[Array]] = [[part.numpy() for part in state]]
    readouts: list[Array] = []
    gates: list[dict[str, Array]] = []
    for x_BI in x_TBI.numpy():
        after, activations, *readout = formula(weights, x_BI, states[-1])
        states.append(after)
        gates.append(activations)
        readouts.append(readout[0] if readout else after[0])

    for run in (unroll, unroll_by_steps):
        y_TBH, last = run(cell, x_TBI, state)
        _close(y_TBH, np.stack(readouts))
        assert len(last) == len(states[-1])
        for got, expected in zip(last, states[-1], strict=True):
            _close(got, expected)

    z_TB = cell.project(x_TBI)
    at_once = cell.gates(z_TB, trajectory(cell, x_TBI, state))
    assert at_once.keys() == gates[0].keys()
    for name, (values, kind) in at_once.items():
        _close(values, np.stack([step[name] for step in gates]))
        low = {"sigmoid": 0.0, "tanh": -1.0, "relu": 0.0}[kind]
        high = np.inf if kind == "relu" else 1.0
        assert ((low <= values) & (values <= high)).all()
    for name, (values, _) in cell.gates(z_TB[0], state).items():
        _close(values, at_once[name][0][0].detach().numpy())


@pytest.fixture
def check_formula() -> Callable[..., None]:
    """Compare every output, the last state and all gates with a formula: by scan and by steps, at once and per step."""
    return _check
