"""The gradient profile against autograd, unrolled step by step in float64, and its summaries against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from undertow import Subject
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.nn import SequenceModel, build_model, build_task
from undertow.plugins.host import load_plugins
from undertow_probes.curves import FLOOR, log_spaced
from undertow_probes.gradient_profile import GradientProfile, gradient_norms, summarise
from undertow_probes.options import GradientProfileOptions

CELLS = ("rnn", "lstm", "gru", "ugrnn")
TASKS = {"adding": 40, "copy": 41}
REGISTRY = load_plugins()


def network(cell: str, task_name: str, layers: int, length: int | None = None, hidden: int = 12):
    config = ExperimentConfig.model_validate(
        {
            "task": {"name": task_name, "length": length or TASKS[task_name]},
            "cell": {"name": cell, "hidden_size": hidden, "layers": layers},
        }
    )
    torch.manual_seed(0)
    loaded = LoadedExperiment(config, REGISTRY)
    task = build_task(loaded)
    model = build_model(loaded, task).double()
    batch = task.batch("val", np.arange(5))
    if batch.input.is_floating_point():
        batch = batch._replace(input=batch.input.double(), target=batch.target.double())
    return task, model, batch


def reference_norms(task, model: SequenceModel, batch) -> Tensor:
    """The derivative at every hand-over, from one graph unrolled step by step: `norms_TPLB`, step 0 first."""
    x_TBI = model.encode(batch.input)
    state = model.initial_state(x_TBI.shape[1])
    handed_over, outputs = [], []
    for x_BI in x_TBI:
        value, after = x_BI, []
        for cell, layer in zip(model.layers, state, strict=True):
            z = cell.project(value.unsqueeze(0))[0]
            layer = cell.step(z, layer)
            value = cell.readout(z, layer)
            after.append(layer)
        outputs.append(model.decode(value))
        state = tuple(tuple(part + 0 for part in layer) for layer in after)
        handed_over.append(state)
    if task.shape == "aligned":
        loss = task.loss(torch.stack(outputs, 1), batch.target)[:, -1].sum()
    else:
        loss = task.loss(outputs[-1], batch.target).sum()
    parts = [part for layers in handed_over[:-1] for layer in layers for part in layer]
    norms = [g.norm(dim=1) for g in torch.autograd.grad(loss, parts)]
    return torch.stack(norms).unflatten(0, (len(x_TBI) - 1, len(model.layers), -1)).transpose(1, 2)


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_profile_equals_step_by_step_autograd(cell: str, layers: int, task_name: str) -> None:
    task, model, batch = network(cell, task_name, layers)
    lags = [1, 2, 3, 7, 15, TASKS[task_name] - 1]
    norms_PLKB = gradient_norms(model, task, batch, lags)
    reference_TPLB = reference_norms(task, model, batch)
    expected_PLKB = torch.stack([reference_TPLB[TASKS[task_name] - 1 - lag] for lag in lags], dim=2)
    assert expected_PLKB.min() > 0
    assert ((norms_PLKB - expected_PLKB).abs() / expected_PLKB).max() <= 1e-12


def measure(cell: str = "lstm", task_name: str = "adding", layers: int = 1, length: int | None = None, lags: int = 32):
    task, model, batch = network(cell, task_name, layers, length)
    state = REGISTRY.cell(cell).state
    subject = Subject(model=model, task=task, batch=batch, state=state, step=0, seconds_per_step=None, batch_size=5)
    return task, model, batch, GradientProfile(GradientProfileOptions(lags=lags)).measure(subject)


def test_every_state_part_and_layer_has_its_curve() -> None:
    _, _, _, measurement = measure("lstm", layers=2)
    views = {f"{part}{layer}" for part in "hc" for layer in ("", "/layer0", "/layer1")}
    assert set(measurement.curves) == {f"gradient/{view}/by_lag" for view in views}
    joint, *layers = (
        10 ** np.array(measurement.curves[f"gradient/h{layer}/by_lag"].values) for layer in ("", "/layer0", "/layer1")
    )
    np.testing.assert_allclose(joint, np.hypot(*layers), rtol=1e-9)


def test_gradient_at_the_cue_is_exact_where_the_cue_was_cut() -> None:
    task, model, batch, measurement = measure("gru", "copy")
    lag = TASKS["copy"] - 1 - int(task.cues(batch)[0, 0])
    norms_B = gradient_norms(model, task, batch, [lag])[0, 0, 0]
    expected = math.log10(norms_B.square().mean().sqrt())
    assert measurement.scalars["gradient/h/at_cue"] == pytest.approx(expected, rel=1e-12)


def test_profile_leaves_no_trace_on_the_model() -> None:
    task, model, batch = network("lstm", "adding", 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradient_norms(model, task, batch, [1, 5, 20])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_sequence_of_one_step_has_no_profile() -> None:
    _, _, _, measurement = measure("rnn", "digit", length=1)
    assert not measurement.scalars
    assert not measurement.curves


def test_lags_are_log_spaced_and_cover_the_sequence() -> None:
    lags = log_spaced(32, 511)
    assert lags[0] == 1
    assert lags[-1] == 511
    assert lags == sorted(set(lags))
    assert 20 <= len(lags) <= 32
    assert log_spaced(32, 3) == [1, 2, 3]


def test_half_life_of_a_geometric_decay_is_its_own() -> None:
    lags = log_spaced(16, 200)
    summary = summarise(lags, [-lag * math.log10(2) / 7.0 for lag in lags])
    assert summary["half_life"] == pytest.approx(7.0)
    assert summary["growth"] == 0
    assert summary["reach"] == max(lag for lag in lags if lag <= 1 + 7 * math.log2(1000))


def test_growing_gradient_has_a_negative_half_life_and_growth_1() -> None:
    lags = [1, 2, 4, 8]
    summary = summarise(lags, [lag * math.log10(2) / 3.0 for lag in lags])
    assert summary["growth"] == 1
    assert summary["half_life"] == pytest.approx(-3.0)
    assert summary["reach"] == 8


def test_underflow_is_left_out_of_the_line_and_of_the_reach() -> None:
    lags = [1, 2, 4, 8, 16]
    summary = summarise(lags, [-1.0, -2.0, -4.0, FLOOR, FLOOR])
    assert summary["half_life"] == pytest.approx(math.log10(2))
    assert summary["reach"] == 4
    assert summarise(lags, [FLOOR] * 5) == {"growth": 0.0, "half_life": 0.0, "reach": 0.0}
    assert summarise(lags, [math.nan] * 5) == {"reach": 0.0}


def test_the_joint_profile_is_that_of_all_parts_together() -> None:
    task, model, batch = network("lstm", "adding", 2)
    subject = Subject(
        model=model, task=task, batch=batch, state=("h", "c"), step=0, seconds_per_step=None, batch_size=5
    )
    curves = GradientProfile(GradientProfileOptions(joint=True)).measure(subject).curves
    for layer in ("", "/layer0", "/layer1"):
        h, c, joint = (10 ** np.array(curves[f"gradient/{part}{layer}/by_lag"].values) for part in ("h", "c", "joint"))
        np.testing.assert_allclose(joint**2, h**2 + c**2, rtol=1e-9)
