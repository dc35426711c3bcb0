"""The gradient profile against autograd, unrolled step by step in float64, and its summaries against closed forms."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from undertow import Batch, Subject
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.nn import SequenceModel, build_model, build_task
from undertow.plugins.host import load_plugins
from undertow_probes.curves import log_spaced
from undertow_probes.gradient_profile import GradientProfile, gradient_norms, summarise
from undertow_probes.options import GradientProfileOptions

CELLS = ("rnn", "lstm", "gru", "ugrnn")
TASKS = {"adding": 40, "copy": 41}
REGISTRY = load_plugins()


def network(cell: str, task_name: str, layers: int, length: int | None = None, hidden: int = 12, **settings: object):
    config = ExperimentConfig.model_validate(
        {
            "task": {"name": task_name, "length": length or TASKS[task_name]},
            "cell": {"name": cell, "hidden_size": hidden, "layers": layers, **settings},
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


def reference_norms(task, model: SequenceModel, batch) -> tuple[Tensor, Tensor]:
    """The derivatives from one graph unrolled step by step, step 0 first: by the state handed over, by the input.

    `states_TPLB`, `inputs_TB`.
    """
    x_TBI = model.encode(batch.input).detach().requires_grad_()
    state = model.initial_state(x_TBI.shape[1])
    handed_over, outputs = [], []
    for x_BI in x_TBI:
        value, after = model.projection(x_BI), []
        for cell, block, layer in zip(model.layers, model.blocks, state, strict=True):
            z = cell.project(block.before(value).unsqueeze(0))[0]
            layer = cell.step(z, layer)
            value = block.after(value, cell.readout(z, layer))
            after.append(layer)
        outputs.append(model.decode(value))
        state = tuple(tuple(part + 0 for part in layer) for layer in after)
        handed_over.append(state)
    if task.shape == "aligned":
        loss = task.loss(torch.stack(outputs, 1), batch.target)[:, -1].sum()
    else:
        loss = task.loss(outputs[-1], batch.target).sum()
    parts = [part for layers in handed_over[:-1] for layer in layers for part in layer]
    *gradients, by_input_TBI = torch.autograd.grad(loss, [*parts, x_TBI])
    norms = torch.stack([g.norm(dim=1) for g in gradients])
    states_TPLB = norms.unflatten(0, (len(x_TBI) - 1, len(model.layers), -1)).transpose(1, 2)
    return states_TPLB, by_input_TBI.norm(dim=2)


def orthogonal(size: int) -> Tensor:
    """A random orthogonal matrix."""
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest relative error."""
    assert expected.min() > 0
    return float(((found - expected).abs() / expected).max())


@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.parametrize(
    ("cell", "layers", "settings"),
    [
        *((cell, layers, {}) for layers in (1, 3) for cell in CELLS),
        *(
            (cell, 2, {"block": block, "norm": norm})
            for cell, block, norm in (("lstm", "glu", "layer"), ("lru", "glu", "rms"), ("gru", "residual", "rms"))
        ),
    ],
)
def test_profile_equals_step_by_step_autograd(cell: str, layers: int, settings: dict, task_name: str) -> None:
    task, model, batch = network(cell, task_name, layers, **settings)
    last = TASKS[task_name] - 1
    lags = [1, 2, 3, 7, 15, last]
    norms = gradient_norms(model, task, batch, lags)
    states_TPLB, inputs_TB = reference_norms(task, model, batch)
    at = [last - lag for lag in lags]
    assert apart(10 ** norms.log10(norms.states), states_TPLB[at].permute(1, 2, 0, 3)) <= 1e-12
    assert apart(10 ** norms.log10(norms.inputs), inputs_TB[at]) <= 1e-12


def reference_of_both_directions(task, model: SequenceModel, batch) -> Tensor:
    """The derivative by the input of every step, from one graph that is unrolled step by step: `inputs_TB`."""
    x_TBI = model.encode(batch.input).detach().requires_grad_()
    values_T = list(model.projection(x_TBI))
    cells = zip(model.cells, model.backward_cells, strict=True)
    for depth, (block, pair) in enumerate(zip(model.blocks, cells, strict=True)):
        read_TBH, readouts = torch.stack([block.before(value) for value in values_T]), []
        for cell, order in zip(pair, (range(len(x_TBI)), reversed(range(len(x_TBI)))), strict=True):
            state, by_step = cell.initial_state(x_TBI.shape[1]), {}
            for t in order:
                z = cell.project(read_TBH[t : t + 1])[0]
                state = cell.step(z, state)
                by_step[t] = cell.readout(z, state)
            readouts.append(by_step)
        if depth == len(model.blocks) - 1:
            u_BC = torch.cat([readouts[0][len(x_TBI) - 1], readouts[1][0]], -1)
            loss = task.loss(model.decode(block.after(values_T[-1], u_BC)), batch.target).sum()
        else:
            values_T = [
                block.after(value, torch.cat([readout[t] for readout in readouts], -1))
                for t, value in enumerate(values_T)
            ]
    (by_input_TBI,) = torch.autograd.grad(loss, x_TBI)
    return by_input_TBI.norm(dim=2)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("cell", "block"), [("rnn", "plain"), ("lstm", "plain"), ("ugrnn", "glu"), ("lru", "glu"), ("gru", "residual")]
)
def test_profile_of_both_directions_equals_step_by_step_autograd(cell: str, block: str, layers: int) -> None:
    task, model, batch = network(cell, "adding", layers, block=block, bidirectional=True)
    lags = list(range(1, TASKS["adding"]))
    norms = gradient_norms(model, task, batch, lags)
    expected_TB = reference_of_both_directions(task, model, batch)
    assert apart(10 ** norms.log10(norms.inputs), expected_TB[:-1].flip(0)) <= 1e-12


def test_the_profile_of_both_directions_rises_towards_the_first_step(make_subject) -> None:
    subject = make_subject("rnn", length=40, settings={"bidirectional": True})
    found = GradientProfile(GradientProfileOptions()).measure(subject)
    steps, values = found.curves["gradient/input/by_lag"]
    middle = values[min(range(len(steps)), key=lambda place: abs(steps[place] - 20))]
    assert values[0] > middle + 1
    assert values[-1] > middle + 1
    assert found.scalars["gradient/input/monotone"] == 0
    assert {name.split("/")[1] for name in (*found.scalars, *found.curves)} == {"input"}


@pytest.mark.parametrize("lags", [log_spaced(20, 101), range(1, 102)], ids=["in halves", "every lag"])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_float32_equals_float64_where_the_gradient_is_far_beyond_its_range(
    scale: float, lags: Sequence[int], simple_subject
) -> None:
    U_HH = scale * orthogonal(6)
    logs = {}
    for dtype in (torch.float32, torch.float64):
        subject = simple_subject(U_HH, steps=102)
        subject.model.to(dtype)
        batch = Batch(torch.zeros_like(subject.batch.input, dtype=dtype), subject.batch.target.to(dtype))
        norms = gradient_norms(subject.model, subject.task, batch, lags)
        logs[dtype] = norms.log10(norms.inputs)
        torch.testing.assert_close(
            norms.log10(norms.states[0, 0]), logs[dtype], rtol=0, atol=1e-5
        )  # x enters as h does
    torch.testing.assert_close(logs[torch.float32], logs[torch.float64], rtol=0, atol=1e-5)
    expected_K = torch.tensor([math.log10(scale) * (lag - 1) for lag in lags], dtype=torch.float64)
    assert abs(expected_K[-1]) == pytest.approx(300)
    exact_KB = logs[torch.float64] - logs[torch.float64][0]
    torch.testing.assert_close(exact_KB, expected_K.unsqueeze(1).expand_as(exact_KB), rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_float32_equals_float64_over_800_steps(cell: str) -> None:
    logs = []
    lags = log_spaced(24, 799)
    for double in (False, True):
        task, model, batch = network(cell, "adding", 1, length=800)
        if not double:
            model.float()
            batch = Batch(batch.input.float(), batch.target.float())
        norms = gradient_norms(model, task, batch, lags)
        logs.append(norms.log10(torch.stack([norms.inputs, *norms.states[:, 0]])))
    assert float(logs[1].min()) < -40
    # The forward pass in 32 bits is another trajectory: its error grows with the number of steps.
    assert float((logs[0] - logs[1]).abs().max()) < 1e-4


def test_an_example_that_is_exactly_zero_leaves_the_others_as_they_are(simple_subject) -> None:
    subject = simple_subject(0.5 * torch.eye(3), steps=30, activation=torch.relu)
    inputs = subject.batch.input.abs()
    inputs[0, 20] = -100.0  # relu is closed there: no gradient passes in example 0
    batch = subject.batch._replace(input=inputs)
    measurement = GradientProfile(GradientProfileOptions()).measure(replace(subject, batch=batch))
    curve = measurement.curves["gradient/h/by_lag"]
    assert measurement.scalars["gradient/h/zero_share"] == 0.25
    assert curve.steps[-1] == 29
    assert curve.values == pytest.approx([(1 - lag) * math.log10(2) for lag in curve.steps])


def test_one_example_with_a_large_gradient_does_not_move_the_curve(make_subject) -> None:
    subject = make_subject("lstm", "adding", length=30, examples=64)
    before = GradientProfile(GradientProfileOptions()).measure(subject)
    target = subject.batch.target.clone()
    target[0] *= 1e4
    after = GradientProfile(GradientProfileOptions()).measure(
        replace(subject, batch=subject.batch._replace(target=target))
    )
    for name in ("gradient/input/by_lag", "gradient/c/by_lag", "gradient/h/by_lag/spread"):
        assert after.curves[name].values == pytest.approx(before.curves[name].values, abs=1e-9)
    assert after.scalars["gradient/input/level"] == pytest.approx(before.scalars["gradient/input/level"], abs=0.1)


def measure(cell: str = "lstm", task_name: str = "adding", layers: int = 1, length: int | None = None, lags: int = 32):
    task, model, batch = network(cell, task_name, layers, length)
    state = REGISTRY.cell(cell).state
    subject = Subject(model=model, task=task, batch=batch, state=state, step=0, seconds_per_step=None, batch_size=5)
    return task, model, batch, GradientProfile(GradientProfileOptions(lags=lags)).measure(subject)


def test_the_input_every_state_part_and_every_layer_have_curves() -> None:
    _, _, _, measurement = measure("lstm", layers=2)
    views = {"input"} | {f"{part}{layer}" for part in "hc" for layer in ("", "/layer0", "/layer1")}
    assert set(measurement.curves) == {f"gradient/{view}/by_lag{kind}" for view in views for kind in ("", "/spread")}


def test_the_curve_is_the_geometric_mean_relative_to_lag_1_with_its_spread() -> None:
    task, model, batch, measurement = measure("gru")
    curve = measurement.curves["gradient/h/by_lag"]
    norms = gradient_norms(model, task, batch, curve.steps)
    relative_KB = norms.log10(norms.states[0, 0])
    level = float(relative_KB[0].mean())
    relative_KB = relative_KB - relative_KB[0]
    assert curve.values == pytest.approx(relative_KB.mean(1).tolist(), abs=1e-12)
    assert measurement.curves["gradient/h/by_lag/spread"].values == pytest.approx(relative_KB.std(1).tolist())
    assert measurement.scalars["gradient/h/level"] == pytest.approx(level)


def test_the_gradient_by_the_input_does_not_depend_on_the_coordinates_of_the_state(make_subject) -> None:
    subject = make_subject("lmu", "adding", length=50)
    before = GradientProfile(GradientProfileOptions()).measure(subject)
    cell = subject.model.layers[0]
    with torch.no_grad():  # the memory m times 100, and all that reads it divided by 100: the same function
        cell.B *= 100
        cell.W_m /= 100
        cell.e_m /= 100
    after = GradientProfile(GradientProfileOptions()).measure(subject)
    assert after.curves["gradient/input/by_lag"].values == pytest.approx(
        before.curves["gradient/input/by_lag"].values, abs=1e-10
    )
    assert after.scalars["gradient/m/level"] != pytest.approx(before.scalars["gradient/m/level"], abs=1)


@pytest.mark.parametrize("bias", [-4.0, -8.0])
def test_the_gradient_by_the_input_of_slstm_ignores_the_level_of_its_input_gate(bias: float, make_subject) -> None:
    curves = []
    for shift in (0.0, bias):
        subject = make_subject("slstm", "adding", length=64)
        with torch.no_grad():
            subject.model.layers[0].bias[: subject.model.layers[0].hidden_size] += shift
        curves.append(GradientProfile(GradientProfileOptions()).measure(subject).curves)
    first, second = (each["gradient/input/by_lag"].values for each in curves)
    assert second == pytest.approx(first, abs=1e-10)


def test_gradient_at_the_cue_is_exact_where_the_cue_was_cut() -> None:
    task, model, batch, measurement = measure("gru", "copy")
    lag = TASKS["copy"] - 1 - int(task.cues(batch)[0, 0])
    norms = gradient_norms(model, task, batch, [1, lag])
    logs_KB = norms.log10(norms.states[0, 0])
    expected = float((logs_KB[1] - logs_KB[0]).mean())
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


def test_lives_of_a_geometric_decay_are_the_lags_where_it_has_fallen_so_far() -> None:
    lags = log_spaced(16, 200)
    summary = summarise(lags, [-lag * math.log10(2) / 7.0 for lag in lags])
    assert summary["half_life"] == pytest.approx(1 + 7.0)
    assert summary["tenth_life"] == pytest.approx(1 + 7 * math.log2(10))
    assert summary["reach"] == pytest.approx(1 + 7 * math.log2(1000))
    assert summary["half_life_censored"] == summary["tenth_life_censored"] == summary["reach_censored"] == 0
    assert summary["tail_rate"] == pytest.approx(-math.log10(2) / 7)
    assert summary["tail_r2"] == pytest.approx(1)
    assert summary["monotone"] == 1


def test_nothing_is_extrapolated_beyond_the_longest_lag() -> None:
    summary = summarise([1, 2, 4, 8, 16], [0.0, -0.01, -0.03, -0.07, -0.15])
    for name in ("half_life", "tenth_life", "reach"):
        assert summary[name] == 16
        assert summary[f"{name}_censored"] == 1


def test_a_growing_gradient_never_falls() -> None:
    summary = summarise([1, 2, 4, 8], [lag * math.log10(2) / 3.0 for lag in (1, 2, 4, 8)])
    assert summary["half_life_censored"] == 1
    assert summary["monotone"] == 0
    assert summary["tail_rate"] == pytest.approx(math.log10(2) / 3)


def test_a_curve_of_two_regimes_is_described_by_its_first_crossings_and_by_its_tail() -> None:
    lags = log_spaced(40, 1000)
    logs = [-2 * (lag - 1) / 9 if lag <= 10 else -2 - 1e-4 * (lag - 10) for lag in lags]
    summary = summarise(lags, logs)
    assert summary["half_life"] == pytest.approx(1 + 9 * math.log10(2) / 2, rel=0.02)
    assert summary["reach_censored"] == 1
    assert summary["tail_rate"] == pytest.approx(-1e-4)


def test_a_u_is_not_monotone() -> None:
    summary = summarise([1, 2, 4, 8, 16], [0.0, -1.0, -2.0, -1.0, 0.0])
    assert summary["monotone"] == 0
    assert summary["half_life"] == pytest.approx(1 + math.log10(2))


def test_a_lag_where_the_gradient_is_zero_is_where_it_has_fallen() -> None:
    summary = summarise([1, 2, 4, 8], [-1.0, -1.1, -math.inf, -math.inf])
    assert summary["half_life"] == summary["reach"] == 4
    assert summary["half_life_censored"] == 0
    assert summary["monotone"] == 1
    assert "tail_rate" not in summary


def test_an_unknown_start_has_no_summary() -> None:
    assert summarise([1, 2, 4], [math.nan] * 3) == {}
    assert summarise([1, 2, 4], [-math.inf] * 3) == {}


def test_lags_that_are_not_finite_are_left_out() -> None:
    summary = summarise([1, 2, 4, 8], [0.0, 0.1, math.nan, math.nan])
    assert summary["half_life"] == 2
    assert summary["half_life_censored"] == 1


def test_float32_equals_float64_on_digits_by_pixel_of_512_steps(make_subject) -> None:
    """Drawn at a floor of -50 from lag 178 on as long as the derivative was one number of 32 bits."""
    curves = []
    for dtype in (torch.float32, torch.float64):
        subject = make_subject("gru", "digits-by-pixel", length=512, hidden=16, examples=8, dtype=dtype)
        curves.append(GradientProfile(GradientProfileOptions(lags=16)).measure(subject).curves["gradient/h/by_lag"])
    assert curves[0].steps == curves[1].steps
    assert curves[0].steps[-1] == 511
    assert curves[1].values[-1] < -50
    assert curves[0].values == pytest.approx(curves[1].values, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_of_16_bits_is_measured(dtype: torch.dtype, make_subject, is_recordable) -> None:
    subject = make_subject("rnn", "adding", length=60, hidden=16, dtype=dtype)
    measurement = GradientProfile(GradientProfileOptions(lags=8)).measure(subject)
    is_recordable(measurement)
    exact = GradientProfile(GradientProfileOptions(lags=8)).measure(make_subject("rnn", "adding", length=60, hidden=16))
    name = "gradient/input/by_lag"
    assert measurement.curves[name].steps == exact.curves[name].steps
    assert exact.curves[name].values[-1] < -8  # beyond the range of float16
    assert measurement.curves[name].values == pytest.approx(exact.curves[name].values, abs=0.5)


def test_tokens_are_measured_by_their_embedding(make_subject) -> None:
    subject = make_subject("gru", "copy", length=41)
    model, task, batch = subject.model, subject.task, subject.batch
    norms = gradient_norms(model, task, batch, [1, 7, 40])
    _, inputs_TB = reference_norms(task, model, batch)
    assert apart(10 ** norms.log10(norms.inputs), inputs_TB[[39, 33, 0]]) <= 1e-12
    assert not batch.input.is_floating_point()
