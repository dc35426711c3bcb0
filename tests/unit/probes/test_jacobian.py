"""The Jacobian by lag against products of step Jacobians, known recurrences, and singular values by torch."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from undertow_probes.jacobian import Jacobian, frobenius, jacobian_norms, largest_singular_values
from undertow_probes.options import JacobianOptions

LAGS = [1, 2, 5, 19]
SHORT = [1, 2, 4, 9]
"""Lags of the tests on short sequences, which compare with autograd step by step."""


def encoded(subject):
    return subject.model.encode(subject.batch.input).detach()


def estimate(subject, lags: list[int], vectors: int, seed: int = 0) -> torch.Tensor:
    """The Frobenius norm by state part, layer, lag and example, `(P, L, K, B)`."""
    logs_VPLKB = jacobian_norms(subject.model, encoded(subject), lags, vectors, seed)
    return 10 ** frobenius(logs_VPLKB.flatten(1, 3))[0].unflatten(0, logs_VPLKB.shape[1:4])


def products(J_TBNN: torch.Tensor, lags: list[int]) -> torch.Tensor:
    """The Jacobian of the last state by the state at each lag before it, `(K, B, N, N)`."""
    found = {}
    J_BNN = torch.eye(J_TBNN.shape[-1], dtype=J_TBNN.dtype).expand(J_TBNN.shape[1:])
    for lag in range(1, max(lags) + 1):
        J_BNN = J_BNN @ J_TBNN[-lag]
        found[lag] = J_BNN
    return torch.stack([found[lag] for lag in lags])


def test_an_orthogonal_recurrence_has_the_norm_root_n_at_every_lag(simple_subject) -> None:
    Q_HH = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    norms_PLKB = estimate(simple_subject(Q_HH), LAGS, vectors=2)
    torch.testing.assert_close(norms_PLKB, torch.full((1, 1, 4, 4), math.sqrt(6), dtype=torch.float64))


def test_a_diagonal_recurrence_is_exact_with_any_vectors(simple_subject) -> None:
    """For a diagonal matrix the estimate does not depend on the signs."""
    values = torch.tensor([0.9, -0.5, 0.3], dtype=torch.float64)
    subject = simple_subject(values.diag())
    norms_PLKB = estimate(subject, LAGS, vectors=2)
    for norms_B, lag in zip(norms_PLKB[0, 0], LAGS, strict=True):
        torch.testing.assert_close(norms_B, (values ** (2 * lag)).sum().sqrt().expand(4))


def test_a_scalar_tanh_network_multiplies_its_derivatives(simple_subject) -> None:
    u = 1.3
    subject = simple_subject(torch.tensor([[u]], dtype=torch.float64), activation=torch.tanh)
    h_B, slopes = torch.zeros(4, dtype=torch.float64), []
    for x_B in subject.batch.input[:, :, 0].T:
        h_B = torch.tanh(u * h_B + x_B)
        slopes.append(u * (1 - h_B**2))
    norms_KB = estimate(subject, LAGS, vectors=2)[0, 0]
    for norms_B, lag in zip(norms_KB, LAGS, strict=True):
        torch.testing.assert_close(norms_B, torch.stack(slopes[-lag:]).prod(0).abs())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_many_vectors_approach_the_product_of_step_jacobians(cell, layers, make_subject, step_jacobians) -> None:
    subject = make_subject(cell, length=10, layers=layers, hidden=4, examples=2)
    norms_PLKB = estimate(subject, SHORT, vectors=300)
    J_KBNN = products(step_jacobians(subject), SHORT)
    parts = len(subject.state)
    columns_KBLP = J_KBNN.unflatten(3, (layers, parts, 4)).square().sum((2, 5)).sqrt()
    torch.testing.assert_close(norms_PLKB, columns_KBLP.permute(3, 2, 0, 1), rtol=0.15, atol=0)


def test_the_squared_norm_is_unbiased(simple_subject) -> None:
    U_HH = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 2
    subject = simple_subject(U_HH, examples=20_000, steps=4)
    logs_KB = jacobian_norms(subject.model, encoded(subject), [1, 3], vectors=1, seed=0)[0, 0, 0]
    squares_B = (10 ** logs_KB[1]).square()
    error = squares_B.std() / math.sqrt(len(squares_B))
    assert abs(squares_B.mean() - torch.linalg.matrix_power(U_HH, 3).square().sum()) < 4 * error
    assert squares_B.std() > 0


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_power_iteration_finds_the_largest_singular_value(cell, make_subject, step_jacobians) -> None:
    subject = make_subject(cell, length=10, layers=2, hidden=4, examples=2)
    found_KB = largest_singular_values(subject.model, encoded(subject), SHORT, iterations=40)
    expected_KB = torch.linalg.matrix_norm(products(step_jacobians(subject), SHORT), ord=2)
    torch.testing.assert_close(10**found_KB, expected_KB, rtol=2e-2, atol=0)
    few_KB = 10 ** largest_singular_values(subject.model, encoded(subject), SHORT, iterations=2)
    assert (few_KB <= expected_KB * (1 + 1e-12)).all()
    assert few_KB[-1].tolist() == pytest.approx(expected_KB[-1].tolist(), rel=0.1)


def test_a_known_decay_gives_its_half_life(simple_subject) -> None:
    """Relative to lag 1, half is left after 7 more steps."""
    subject = simple_subject(0.5 ** (1 / 7) * torch.eye(3), steps=100)
    scalars = Jacobian(JacobianOptions(power_iterations=1)).measure(subject).scalars
    for view in ("joint", "sigma_max"):
        assert scalars[f"jacobian/{view}/half_life"] == pytest.approx(1 + 7.0)
        assert scalars[f"jacobian/{view}/half_life_censored"] == 0
        assert scalars[f"jacobian/{view}/tail_rate"] == pytest.approx(-math.log10(2) / 7)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_jacobian_beyond_the_range_of_float32_is_measured(scale: float, simple_subject) -> None:
    subject = simple_subject(scale * torch.eye(3), steps=60)
    subject.model.float()
    subject = replace(subject, batch=subject.batch._replace(input=torch.zeros(4, 60, 3)))
    measurement = Jacobian(JacobianOptions(power_iterations=1)).measure(subject)
    for view, size in (("joint", math.sqrt(3)), ("sigma_max", 1.0)):
        curve = measurement.curves[f"jacobian/{view}/by_lag"]
        assert curve.steps[-1] == 59
        expected = [math.log10(size) + lag * math.log10(scale) for lag in curve.steps]
        assert curve.values == pytest.approx(expected, abs=1e-4)


def test_the_vectors_are_others_at_every_step_and_the_same_at_the_same_step(make_subject) -> None:
    subject = make_subject("gru")
    values = [
        Jacobian(JacobianOptions()).measure(replace(subject, step=step)).curves["jacobian/joint/by_lag"].values
        for step in (0, 100, 200, 100)
    ]
    assert values[1] == values[3]
    assert all(one != other for one, other in pairwise(values))


def test_the_standard_error_is_the_spread_of_independent_estimates(simple_subject) -> None:
    """Every example of a linear recurrence has the same Jacobian, and vectors of its own."""
    U_HH = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 2
    subject = simple_subject(U_HH, examples=2_000, steps=4)
    logs_VPLKB = jacobian_norms(subject.model, encoded(subject), [1, 3], vectors=32, seed=5)
    estimate_KB, error_KB = frobenius(logs_VPLKB[:, 0, 0])
    assert error_KB.mean(1).tolist() == pytest.approx(estimate_KB.std(1).tolist(), rel=0.1)
    scalars = Jacobian(JacobianOptions(lags=2)).measure(replace(subject, step=5)).scalars
    expected = float(error_KB[1].square().mean().sqrt()) / math.sqrt(2_000)
    assert scalars["jacobian/joint/standard_error"] == pytest.approx(expected)


def test_the_loss_does_not_matter(make_subject) -> None:
    subject = make_subject("gru")
    before = Jacobian(JacobianOptions()).measure(subject)
    with torch.no_grad():
        subject.model.head.weight.mul_(100)
    assert Jacobian(JacobianOptions()).measure(subject) == before


@pytest.mark.parametrize(("task", "length"), [("adding", 40), ("copy", 41), ("digits-by-pixel", 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 2])
def test_parts_and_layers_add_up_to_the_joint_norm(
    layers, dtype, task, length, make_subject, is_recordable, leaves_no_trace
) -> None:
    subject = make_subject("lstm", task, length=length, layers=layers, dtype=dtype, examples=1)
    probe = Jacobian(JacobianOptions(lags=8, power_iterations=1))
    measurement = probe.measure(subject)
    is_recordable(measurement)
    names = {"joint", "sigma_max", *"hc"} | {f"{part}/layer{depth}" for part in "hc" for depth in (0, 1) if layers > 1}
    assert set(measurement.curves) == {f"jacobian/{name}/by_lag" for name in names}
    h, c, joint = (10 ** np.array(measurement.curves[f"jacobian/{n}/by_lag"].values) for n in ("h", "c", "joint"))
    np.testing.assert_allclose(np.hypot(h, c), joint, rtol=1e-9)
    leaves_no_trace(probe, subject)


def test_one_step_has_no_lags(make_subject) -> None:
    measurement = Jacobian(JacobianOptions()).measure(make_subject("lstm", "digit", length=1))
    assert not measurement.scalars
    assert not measurement.curves
