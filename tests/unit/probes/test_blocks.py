"""Every probe on networks with blocks and on those of two directions. T time, B batch, N numbers of the joint state."""

import math
from typing import Any

import pytest
import torch

from undertow import Measurement, Subject
from undertow.nn import isolated
from undertow.plugins.host import load_plugins
from undertow_probes.jacobian import jacobian_norms, largest_singular_values
from undertow_probes.lyapunov import first_frame, log_growth
from undertow_probes.memory import occluded_losses
from undertow_probes.weights import step_jacobians as along_the_trajectory

REGISTRY = load_plugins()
SETTINGS = {
    "glu": {"block": "glu", "norm": "layer"},
    "residual": {"block": "residual", "norm": "rms"},
    "both directions": {"bidirectional": True},
    "both directions, glu": {"bidirectional": True, "block": "glu", "norm": "rms"},
}
PROBES = [name for name, each in REGISTRY.probes.items() if each.plugin.distribution == "undertow-probes"]
NO_JOINT_STATE = {"jacobian", "lyapunov"}
"""Probes of the state that passes from step to step, of which a network of two directions has none."""

LAGS = [1, 2, 8]


def measure(name: str, subject: Subject, **options: Any) -> Measurement:
    spec = REGISTRY.probe(name)
    with isolated(subject.model):
        return REGISTRY.factory(spec)(spec.options.model_validate(options)).measure(subject)


def products(J_TBNN: torch.Tensor) -> torch.Tensor:
    """The Jacobian of the last state by that at each of `LAGS`, `(K, B, N, N)`."""
    found, J_BNN = {}, torch.eye(J_TBNN.shape[-1], dtype=J_TBNN.dtype).expand(J_TBNN.shape[1:])
    for lag in range(1, max(LAGS) + 1):
        found[lag] = J_BNN = J_BNN @ J_TBNN[-lag]
    return torch.stack([found[lag] for lag in LAGS])


@pytest.mark.parametrize("cell", ["lstm", "lru"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "name", [name for name, each in REGISTRY.probes.items() if each.plugin.distribution == "undertow-probes"]
)
def test_every_probe_measures_it(
    name: str, settings: str, cell: str, make_subject, is_recordable, leaves_no_trace
) -> None:
    subject = make_subject(cell, length=10, layers=2, hidden=4, dtype=torch.float32, settings=SETTINGS[settings])
    found = measure(name, subject)
    is_recordable(found)
    empty = "both" in settings and name in NO_JOINT_STATE
    assert bool(found.scalars) == (not empty and (cell == "lstm" or name not in {"saturation", "timescale"}))
    if found.scalars:
        leaves_no_trace(REGISTRY.factory(REGISTRY.probe(name))(REGISTRY.probe(name).options()), subject)


@pytest.mark.parametrize("settings", ["glu", "residual"])
def test_the_jacobian_is_the_product_of_those_of_the_steps(settings: str, make_subject, step_jacobians) -> None:
    subject = make_subject("gru", length=10, layers=2, hidden=3, examples=2, settings=SETTINGS[settings])
    J_KBNN = products(step_jacobians(subject))
    x_TBI = subject.model.encode(subject.batch.input).detach()
    logs_VPLKB = jacobian_norms(subject.model, x_TBI, LAGS, vectors=200, seed=0)
    found_KB = (10 ** (2 * logs_VPLKB)).sum((1, 2)).mean(0).sqrt()
    torch.testing.assert_close(found_KB, J_KBNN.square().sum((2, 3)).sqrt(), rtol=0.15, atol=0)
    largest_KB = 10 ** largest_singular_values(subject.model, x_TBI, LAGS, 20)
    torch.testing.assert_close(largest_KB, torch.linalg.matrix_norm(J_KBNN, ord=2), rtol=2e-2, atol=0)


@pytest.mark.parametrize("settings", ["glu", "residual"])
def test_lyapunov_exponents_are_those_of_the_step_jacobians(settings: str, make_subject, step_jacobians) -> None:
    subject = make_subject("gru", length=12, layers=2, hidden=3, examples=2, settings=SETTINGS[settings])
    Q_BNM, expected = first_frame(6, 6).expand(2, -1, -1), []
    for J_BNN in step_jacobians(subject):
        Q_BNM, R_BMM = torch.linalg.qr(J_BNN @ Q_BNM)
        expected.append(R_BMM.diagonal(dim1=1, dim2=2).abs().log())
    found = log_growth(subject.model, subject.model.encode(subject.batch.input).detach(), 6)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
def test_hiding_leads_to_the_loss_of_the_input_with_these_steps_replaced(settings: str, make_subject) -> None:
    subject = make_subject("gru", length=10, layers=2, settings=SETTINGS[settings])
    model, task, batch = subject.model, subject.task, subject.batch
    x_TBI = model.encode(batch.input)
    spans = [(9, 10), (7, 9), (0, 7)]
    with torch.no_grad():
        found = occluded_losses(model, task, batch, x_TBI, torch.zeros_like(x_TBI), spans)
        for loss, (start, stop) in zip(found, spans, strict=True):
            hidden_BTI = batch.input.clone()
            hidden_BTI[:, start:stop] = 0
            assert loss == pytest.approx(float(task.loss(model(hidden_BTI), batch.target).mean()), rel=1e-12)


def test_the_gates_of_a_backward_cell_are_at_the_step_of_the_sequence(make_subject) -> None:
    """A forget gate that closes when the first number of an input is large closes at the same step in both cells."""
    subject = make_subject("ugrnn", length=10, settings={"bidirectional": True})
    subject.batch.input.zero_()
    subject.batch.input[:, 3] = 1.0
    with torch.no_grad():
        for cell in subject.model.layers:
            for parameter in cell.parameters():
                parameter.zero_()
            next(p for p in cell.parameters() if p.shape[1:] == (2,)).fill_(20.0)
    found = measure("saturation", subject)
    views = [name for name in found.curves if "/layer0" in name]
    assert {name.split("/layer0")[1] for name in views} == {"/by_time", "/backward/by_time"}
    for name in views:
        curve = found.curves[name]
        assert [step for step, share in zip(curve.steps, curve.values, strict=True) if share == 1] == [3], name


def test_each_direction_has_its_spectrum_and_its_gates(make_subject) -> None:
    subject = make_subject("lstm", length=10, settings={"bidirectional": True})
    _, backwards = subject.model.layers
    with torch.no_grad():
        backwards.U.mul_(3)
    found = measure("weights", subject, points=4).scalars
    one, other = (found[f"weights/recurrent/norm/{cell}"] for cell in ("layer0", "layer0/backward"))
    assert one < other == found["weights/recurrent/norm"]
    x_TBI = subject.model.encode(subject.batch.input)
    states = [backwards.initial_state(5)]
    for z in backwards.project(x_TBI.flip(0)):
        states.append(backwards.step(z, states[-1]))
    states_TB = tuple(torch.stack(parts) for parts in zip(*states[:-1], strict=True))
    expected = along_the_trajectory(backwards, x_TBI.flip(0), states_TB, 4)
    norms = [float(torch.linalg.matrix_norm(each, ord=2)) for each in expected]
    assert other == pytest.approx(sum(norms) / len(norms), rel=1e-9)
    scales = measure("timescale", subject).scalars
    assert {"timescale/gate", "timescale/gate/layer0", "timescale/gate/layer0/backward"} <= scales.keys()
    assert math.isfinite(scales["timescale/cue"])


def test_the_products_of_a_block_and_of_both_directions_are_counted(make_subject) -> None:
    H, inputs = 6, 2
    cell = 2 * 4 * H * (H + H)
    plain = measure("cost", make_subject("lstm", hidden=H)).scalars
    block = measure("cost", make_subject("lstm", hidden=H, settings={"block": "glu"})).scalars
    both = measure("cost", make_subject("lstm", hidden=H, settings={"bidirectional": True})).scalars
    assert plain["cost/flops"] == 2 * 4 * H * (H + inputs)
    assert block["cost/flops"] == cell + 2 * inputs * H + 2 * H * 2 * H
    assert both["cost/flops"] == 2 * plain["cost/flops"]
    assert both["cost/state"] == 2 * plain["cost/state"] == 2 * block["cost/state"]
    assert both["cost/cell_parameters"] == 2 * plain["cost/cell_parameters"]
