"""Every probe on every shipped cell: complex states, several parts, parametrised weights, other readouts."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from undertow.nn import isolated
from undertow.plugins.host import load_plugins
from undertow_cells.gated.lstm import LSTM

REGISTRY = load_plugins()
CELLS = [name for name, entry in REGISTRY.cells.items() if entry.plugin.distribution == "undertow-cells"]
OPTIONS = {
    "gradient-profile": {"lags": 4},
    "jacobian": {"lags": 4, "power_iterations": 1},
    "lyapunov": {},
    "memory": {"lags": 4},
    "saturation": {},
    "timescale": {},
    "weights": {},
    "cost": {},
}
BY_GATES = {"saturation", "timescale"}
"""Probes that measure nothing on a cell without gates."""


class CountingLSTM(LSTM):
    """As the LSTM; its first state part is an integer, the number of steps so far."""

    def initial_state(self, batch_size):
        return (torch.zeros(batch_size, 1, dtype=torch.int64), *super().initial_state(batch_size))

    def step(self, z, state):
        return (state[0] + 1, *super().step(z, state[1:]))

    def scan(self, x_TBI, state):
        y_TBH, last = super().scan(x_TBI, state[1:])
        return y_TBH, (state[0] + len(x_TBI), *last)

    def readout(self, z, state):
        return super().readout(z, state[1:])

    def gates(self, z, state):
        return super().gates(z, state[1:])


def build(name: str):
    spec = REGISTRY.probe(name)
    return REGISTRY.factory(spec)(spec.options.model_validate(OPTIONS[name]))


def measure(name: str, subject):
    with isolated(subject.model):
        return build(name).measure(subject)


@pytest.mark.parametrize("cell", CELLS)
def test_every_probe_measures_the_cell(cell: str, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject(cell, length=10, layers=2, hidden=4, dtype=torch.float32)
    for name in OPTIONS:
        measurement = measure(name, subject)
        is_recordable(measurement)
        if name not in BY_GATES:
            assert measurement.scalars, name
            leaves_no_trace(build(name), subject)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_integer_state_part_is_left_out(name: str, make_subject) -> None:
    subject = make_subject("lstm", length=10, layers=2, hidden=4)
    model = copy.deepcopy(subject.model)
    for cell in model.layers:
        cell.__class__ = CountingLSTM
    counting = replace(subject, model=model, state=("n", *subject.state))
    expected, found = measure(name, subject), measure(name, counting)
    for scalar in expected.scalars.keys() - {"cost/state", "cost/activation_bytes", "cost/peak_bytes"}:
        assert found.scalars[scalar] == pytest.approx(expected.scalars[scalar], rel=1e-9), scalar
    assert found.scalars.keys() == expected.scalars.keys()
    assert found.curves.keys() == expected.curves.keys()
    for curve in expected.curves:
        assert found.curves[curve].values == pytest.approx(expected.curves[curve].values, rel=1e-9), curve


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_with_a_nan_gives_only_recordable_values(name, cell, make_subject, is_recordable) -> None:
    subject = make_subject(cell, length=10, layers=2, hidden=4)
    with torch.no_grad():
        subject.model.layers[0].U[0, 0] = math.nan
    is_recordable(measure(name, subject))


def test_no_probe_is_left_out() -> None:
    shipped = {name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution == "undertow-probes"}
    assert shipped == set(OPTIONS)
