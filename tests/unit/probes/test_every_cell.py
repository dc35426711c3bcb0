"""Every probe on every shipped cell: complex states, several parts, parametrised weights, readouts of their own."""

import math

import pytest
import torch

from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.nn import build_probes, isolated
from undertow.plugins.host import load_plugins

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
"""What a cell without gates has none of."""


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_can_be_measured_in_every_way(cell: str, make_subject, is_recordable, leaves_no_trace) -> None:
    probes = [{"name": name, "options": options} for name, options in OPTIONS.items()]
    config = ExperimentConfig.model_validate({"task": {"name": "adding"}, "cell": {"name": cell}, "probes": probes})
    subject = make_subject(cell, length=10, layers=2, hidden=4, dtype=torch.float32)
    for name, probe in build_probes(LoadedExperiment(config, REGISTRY)).items():
        with isolated(subject.model):
            measurement = probe.measure(subject)
        is_recordable(measurement)
        if name not in BY_GATES:
            assert measurement.scalars, name
            leaves_no_trace(probe, subject)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_that_is_lost_gives_nothing_that_cannot_be_recorded(name, cell, make_subject, is_recordable) -> None:
    config = ExperimentConfig.model_validate(
        {"task": {"name": "adding"}, "cell": {"name": cell}, "probes": [{"name": name, "options": OPTIONS[name]}]}
    )
    subject = make_subject(cell, length=10, layers=2, hidden=4)
    with torch.no_grad():
        subject.model.layers[0].U[0, 0] = math.nan
    (probe,) = build_probes(LoadedExperiment(config, REGISTRY)).values()
    with isolated(subject.model):
        is_recordable(probe.measure(subject))


def test_no_probe_is_left_out() -> None:
    shipped = {name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution == "undertow-probes"}
    assert shipped == set(OPTIONS)
