"""Lyapunov exponents against known spectra, and against the QR of full step Jacobians."""

import math

import numpy as np
import pytest
import torch

from undertow_probes.lyapunov import Lyapunov, first_frame, log_growth
from undertow_probes.options import LyapunovOptions


def rotation(size: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def measure(subject, **options):
    return Lyapunov(LyapunovOptions(**options)).measure(subject)


def exponents(measurement) -> list[float]:
    return [measurement.scalars[f"lyapunov/{i}"] for i in range(1, len(measurement.scalars) + 1)]


def test_an_orthogonal_recurrence_neither_grows_nor_shrinks(simple_subject) -> None:
    measurement = measure(simple_subject(rotation(6)), exponents=6)
    np.testing.assert_allclose(exponents(measurement), 0.0, atol=1e-13)
    np.testing.assert_allclose(measurement.curves["lyapunov/3/by_time"].values, 0.0, atol=1e-13)


@pytest.mark.parametrize("normal", [True, False])
def test_a_linear_recurrence_has_the_logs_of_its_eigenvalues(normal: bool, simple_subject) -> None:
    values = torch.tensor([1.1, -0.9, 0.6, 0.2], dtype=torch.float64)
    V_HH = (
        rotation(4)
        if normal
        else rotation(4) @ torch.diag(torch.tensor([1.0, 2.0, 1.0, 0.5]).double()) @ rotation(4, 2)
    )
    U_HH = V_HH @ values.diag() @ torch.linalg.inv(V_HH)
    measurement = measure(simple_subject(U_HH, steps=400), exponents=4, burn_in=100)
    np.testing.assert_allclose(exponents(measurement), values.abs().log(), atol=1e-10)
    whole = measure(simple_subject(U_HH, steps=30), exponents=4, burn_in=0)
    assert sum(exponents(whole)) == pytest.approx(float(values.abs().log().sum()), rel=1e-12)


def test_a_scalar_tanh_network_has_the_mean_log_of_its_derivatives(simple_subject) -> None:
    u = torch.tensor([[1.7]], dtype=torch.float64)
    subject = simple_subject(u, activation=torch.tanh, steps=50)
    h_B, logs = torch.zeros(4, dtype=torch.float64), []
    for x_B in subject.batch.input[:, :, 0].T:
        h_B = torch.tanh(1.7 * h_B + x_B)
        logs.append((1.7 * (1 - h_B**2)).log().mean())
    measurement = measure(subject, burn_in=10, points=40)
    assert measurement.scalars == {"lyapunov/1": pytest.approx(float(torch.stack(logs[10:]).mean()), rel=1e-12)}
    curve = measurement.curves["lyapunov/1/by_time"]
    assert curve.steps == list(range(10, 50))
    running = torch.stack(logs[10:]).cumsum(0) / torch.arange(1, 41)
    np.testing.assert_allclose(curve.values, running, rtol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_exponents_of_any_cell_are_those_of_the_qr_of_its_step_jacobians(
    cell, layers, make_subject, step_jacobians
) -> None:
    subject = make_subject(cell, length=12, layers=layers, hidden=4, examples=2)
    growth_TBM = log_growth(subject.model, subject.model.encode(subject.batch.input).detach(), 5)
    J_TBNN = step_jacobians(subject).numpy()
    frame = first_frame(J_TBNN.shape[-1], 5).numpy()
    for example in range(2):
        Q_NM = frame
        for t in range(12):
            Q_NM, R_MM = np.linalg.qr(J_TBNN[t, example] @ Q_NM)
            np.testing.assert_allclose(growth_TBM[t, example], np.log(np.abs(np.diag(R_MM))), rtol=1e-8)


def test_the_path_along_c_of_an_lstm_is_included(make_subject) -> None:
    """Without U the derivative of h by h is 0, and that of c by c is the forget gate."""
    subject = make_subject("lstm", length=300, hidden=3, forget_bias=2.0)
    (cell,) = subject.model.layers
    with torch.no_grad():
        cell.U.zero_()
        cell.W.zero_()
    found = exponents(measure(subject, exponents=6, burn_in=100))
    np.testing.assert_allclose(found[:3], math.log(1 / (1 + math.exp(-2.0))), atol=1e-6)
    assert max(found[3:]) < math.log(1e-15)


def test_the_sum_of_all_exponents_is_the_log_determinant(make_subject, step_jacobians) -> None:
    subject = make_subject("lstm", length=12, hidden=3)
    volume_TB = torch.linalg.slogdet(step_jacobians(subject)).logabsdet
    assert sum(exponents(measure(subject, exponents=6, burn_in=0))) * 12 == pytest.approx(
        float(volume_TB.sum(0).mean()), rel=1e-9
    )


def test_the_first_quarter_does_not_count_by_default(make_subject) -> None:
    """The random directions at the start are no eigenvectors: with them the exponents would be too small."""
    subject = make_subject("lru", length=50, hidden=32, r_min=0.0, r_max=0.95)
    (cell,) = subject.model.layers
    exact = float(cell.lambda_N.detach().abs().log().max())
    found = measure(subject).scalars["lyapunov/1"]
    whole = measure(subject, burn_in=0).scalars["lyapunov/1"]
    assert found == pytest.approx(exact, abs=0.006)
    assert whole < exact - 0.02


def test_a_direction_that_a_step_removes_is_at_the_floor(simple_subject, is_recordable) -> None:
    measurement = measure(simple_subject(torch.diag(torch.tensor([0.5, 0.0]))), exponents=2)
    is_recordable(measurement)
    assert measurement.scalars["lyapunov/2"] == pytest.approx(-50 * math.log(10))


@pytest.mark.parametrize(("task", "length"), [("adding", 20), ("copy", 25), ("digits-by-pixel", 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_are_at_most_as_many_exponents_as_numbers(
    task, length, dtype, make_subject, is_recordable, leaves_no_trace
) -> None:
    subject = make_subject("lstm", task, length=length, layers=2, hidden=2, dtype=dtype)
    probe = Lyapunov(LyapunovOptions(exponents=50, burn_in=1000))
    measurement = probe.measure(subject)
    is_recordable(measurement)
    assert len(measurement.scalars) == len(measurement.curves) == 2 * 2 * 2
    assert all(curve.steps == [length - 1] for curve in measurement.curves.values())
    leaves_no_trace(probe, subject)


def test_one_step_has_no_exponents(make_subject) -> None:
    measurement = measure(make_subject("gru", "digit", length=1))
    assert not measurement.scalars
    assert not measurement.curves
