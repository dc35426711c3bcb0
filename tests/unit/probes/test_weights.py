"""The recurrent matrix against numpy.linalg, and the gradient by parameter against an ordinary backward pass."""

import math

import numpy as np
import pytest
import torch

from undertow import Options
from undertow_probes.weights import Weights, recurrent_matrix, spectrum


def measure(subject) -> dict[str, float]:
    return dict(Weights(Options()).measure(subject).scalars)


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
    torch.testing.assert_close(recurrent_matrix(subject.model.layers[0]), U_HH)
    for key, value in by_numpy(U_HH.numpy()).items():
        assert measure(subject)[f"weights/recurrent/{key}"] == pytest.approx(value, rel=1e-12)


def test_the_recurrent_matrix_of_a_plain_cell_is_u_times_the_slope(make_subject) -> None:
    (cell,) = make_subject("rnn").model.layers
    slope_H = 1 - torch.tanh(cell.b_W + cell.b_U) ** 2
    torch.testing.assert_close(recurrent_matrix(cell), (slope_H.unsqueeze(1) * cell.U).detach())


@pytest.mark.parametrize("cell", ["lstm", "gru", "ugrnn"])
def test_the_recurrent_matrix_of_any_cell_is_its_steps_jacobian(cell: str, make_subject) -> None:
    (cell,) = make_subject(cell, hidden=4).model.layers
    z = cell.project(torch.zeros(1, 1, cell.input_size, dtype=torch.float64))[0]
    blocks = torch.autograd.functional.jacobian(lambda *state: cell.step(z, state), cell.initial_state(1))
    rows = [torch.cat([block[0, :, 0] for block in row], 1) for row in blocks]
    torch.testing.assert_close(recurrent_matrix(cell), torch.cat(rows))


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
    measurement = Weights(Options()).measure(subject)
    is_recordable(measurement)
    assert "weights/recurrent/norm" not in measurement.scalars
    assert "weights/norm/head.weight" in measurement.scalars


@pytest.mark.parametrize(("task", "length"), [("adding", 20), ("copy", 25), ("digits-by-pixel", 64), ("digit", 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", ["lstm", "ugrnn"])
def test_any_task(cell, task, length, dtype, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject(cell, task, length=length, layers=2, dtype=dtype)
    is_recordable(Weights(Options()).measure(subject))
    leaves_no_trace(Weights(Options()), subject)
