"""The recurrent matrix against numpy.linalg, and the gradient by parameter against an ordinary backward pass."""

import math

import numpy as np
import pytest
import torch

from undertow.nn import isolated
from undertow_probes.activations import trajectories
from undertow_probes.options import WeightsOptions
from undertow_probes.weights import Weights, spectrum, step_jacobians


def measure(subject, points: int = 8) -> dict[str, float]:
    with isolated(subject.model):
        return dict(Weights(WeightsOptions(points=points)).measure(subject).scalars)


def jacobians(subject, points: int):
    """Those of the first layer."""
    return step_jacobians(*next(trajectories(subject.model, subject.task, subject.batch)), points)


def random_matrix(size: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_numpy(A_NN: np.ndarray) -> dict[str, float]:
    return {
        "spectral_radius": np.abs(np.linalg.eigvals(A_NN)).max(),
        "norm": np.linalg.svd(A_NN, compute_uv=False)[0],
        "non_normality": np.linalg.norm(A_NN @ A_NN.T - A_NN.T @ A_NN) / np.linalg.norm(A_NN) ** 2,
    }


def test_the_recurrent_matrix_of_a_linear_cell_is_its_own(simple_subject) -> None:
    U_HH = random_matrix(5)
    subject = simple_subject(U_HH)
    for A_HH in jacobians(subject, 5):
        torch.testing.assert_close(A_HH, U_HH)
    for key, value in by_numpy(U_HH.numpy()).items():
        assert measure(subject)[f"weights/recurrent/{key}"] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "ugrnn"])
def test_every_point_of_the_trajectory_has_its_steps_jacobian(cell: str, make_subject, step_jacobians) -> None:
    subject = make_subject(cell, hidden=4, length=8, examples=3)
    expected = step_jacobians(subject).flatten(0, 1)[[3, 8, 13, 18, 23]]  # step 1 of example 0 to step 7 of example 2
    torch.testing.assert_close(torch.stack(list(jacobians(subject, 5))), expected)
    radii = torch.linalg.eigvals(expected).abs().amax(1)
    assert measure(subject, points=5)["weights/recurrent/spectral_radius"] == pytest.approx(float(radii.mean()))


@pytest.mark.parametrize("cell", ["rnn", "orthogonal", "indrnn", "antisymmetric"])
def test_the_matrix_that_a_cell_names_multiplies_its_state(cell: str, make_subject) -> None:
    """By differences: the derivative of the step where its activation has the slope 1."""
    (cell,) = make_subject(cell).model.layers
    U_HH = cell.recurrent_matrix().detach()
    h_BH = torch.rand(3, 6, dtype=torch.float64)
    z = cell.project(torch.zeros(1, 1, cell.input_size, dtype=torch.float64))[0].expand(3, -1)
    if type(cell).__name__ == "AntisymmetricRNN":
        inside = ((cell.step(z, (h_BH,))[0] - h_BH) / cell.epsilon).atanh()
    elif type(cell).__name__ == "OrthogonalRNN":
        after_BH = cell.step(z + 5 * torch.ones_like(z), (h_BH,))[0]  # far from the kink of modReLU
        inside = after_BH - cell.bias - 5
    elif type(cell).__name__ == "IndRNN":
        inside = cell.step(z, (h_BH,))[0]
    else:
        inside = cell.step(z, (h_BH,))[0].atanh() - z
    torch.testing.assert_close(inside.detach(), h_BH @ U_HH.T)


@pytest.mark.parametrize(
    ("cell", "options"),
    [("orthogonal", {}), ("indrnn", {}), ("rnn", {"nonlinearity": "relu", "recurrent_init": "identity"})],
)
def test_a_relu_that_is_closed_at_rest_is_measured_where_the_network_is(cell: str, options, make_subject) -> None:
    scalars = measure(make_subject(cell, hidden=16, **options), points=16)
    assert 0.3 < scalars["weights/recurrent/spectral_radius"] <= 1.01
    assert 0.5 < scalars["weights/matrix/spectral_radius"] <= 1.02  # indrnn: at most 2^(1/40)


def test_a_layer_norm_is_measured_where_the_network_is(make_subject) -> None:
    """At rest its input is constant, and its derivative is limited by the small number in its root alone."""
    assert measure(make_subject("lstm-layernorm", hidden=16))["weights/recurrent/spectral_radius"] < 10


def test_the_matrix_of_an_orthogonal_network_is_a_rotation(make_subject) -> None:
    scalars = measure(make_subject("orthogonal", layers=2))
    for name in ("spectral_radius", "spectral_radius/layer1", "norm"):
        assert scalars[f"weights/matrix/{name}"] == pytest.approx(1.0)
    assert scalars["weights/matrix/non_normality"] == pytest.approx(0.0, abs=1e-12)


def test_a_cell_that_names_no_matrix_has_none(make_subject) -> None:
    assert not [name for name in measure(make_subject("lstm")) if name.startswith("weights/matrix")]


def test_the_spectrum_of_a_complex_matrix() -> None:
    turned = spectrum(torch.diag(torch.tensor([0.5j, 0.25 + 0j], dtype=torch.complex128)))
    assert turned == pytest.approx({"spectral_radius": 0.5, "norm": 0.5, "non_normality": 0.0})


def test_non_normality_lies_between_that_of_a_rotation_and_that_of_a_shift() -> None:
    Q_NN = torch.linalg.qr(random_matrix(6)).Q
    assert spectrum(Q_NN)["non_normality"] == pytest.approx(0.0, abs=1e-14)
    assert spectrum(Q_NN)["spectral_radius"] == pytest.approx(1.0)
    shift = spectrum(torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64))
    assert shift == pytest.approx({"spectral_radius": 0.0, "norm": 1.0, "non_normality": math.sqrt(2)})
    assert spectrum(torch.zeros(3, 3, dtype=torch.float64)) == {
        "spectral_radius": 0.0, "norm": 0.0, "non_normality": 0.0
    }  # fmt: skip


def test_the_value_of_several_layers_is_the_largest(simple_subject) -> None:
    scalars = measure(simple_subject(0.5 * torch.eye(3), 0.9 * torch.eye(3)))
    assert scalars["weights/recurrent/norm"] == pytest.approx(0.9)
    assert scalars["weights/recurrent/norm/layer0"] == pytest.approx(0.5)
    assert scalars["weights/recurrent/norm/layer1"] == pytest.approx(0.9)


@pytest.mark.parametrize("task", ["adding", "copy"])
def test_gradients_are_those_of_the_mean_loss(task: str, make_subject) -> None:
    subject = make_subject("gru", task, length=25, layers=2)
    scalars = measure(subject)
    subject.task.loss(subject.model(subject.batch.input), subject.batch.target).mean().backward()
    squares = 0.0
    for name, parameter in subject.model.named_parameters():
        norm = float(parameter.grad.norm())
        squares += norm**2
        assert scalars[f"weights/gradient/{name}"] == pytest.approx(norm, rel=1e-10)
        assert scalars[f"weights/norm/{name}"] == pytest.approx(float(parameter.detach().norm()), rel=1e-12)
    assert scalars["weights/gradient"] == pytest.approx(math.sqrt(squares), rel=1e-10)
    assert squares > 0


def test_weights_that_are_not_finite_are_left_out(make_subject, is_recordable) -> None:
    subject = make_subject("rnn")
    with torch.no_grad():
        subject.model.layers[0].U[0, 0] = math.inf
    measurement = Weights(WeightsOptions()).measure(subject)
    is_recordable(measurement)
    assert "weights/recurrent/norm" not in measurement.scalars
    assert "weights/norm/head.weight" in measurement.scalars


@pytest.mark.parametrize(("task", "length"), [("adding", 20), ("copy", 25), ("digits-by-pixel", 64), ("digit", 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", ["lstm", "ugrnn"])
def test_any_task(cell, task, length, dtype, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject(cell, task, length=length, layers=2, dtype=dtype)
    is_recordable(Weights(WeightsOptions()).measure(subject))
    leaves_no_trace(Weights(WeightsOptions()), subject)
