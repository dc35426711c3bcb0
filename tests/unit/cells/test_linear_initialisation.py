"""The initial parameters of the linear recurrences, and that they stay finite at the ends of their range."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.signal import cont2discrete
from scipy.special import eval_legendre

from undertow import Cell, unroll
from undertow.nn.loop import unroll_by_steps
from undertow_cells.linear.lmu import LMU, legendre_memory
from undertow_cells.linear.lru import LRU
from undertow_cells.linear.mingru import MinGRU
from undertow_cells.linear.minlstm import MinLSTM
from undertow_cells.linear.options import (
    LmuOptions,
    LruOptions,
    MinGruOptions,
    MinLstmOptions,
    RgLruOptions,
    S4dOptions,
    S6Options,
    SruOptions,
)
from undertow_cells.linear.rg_lru import RGLRU
from undertow_cells.linear.s4d import S4D
from undertow_cells.linear.s6 import S6
from undertow_cells.linear.sru import SRU

H = 2048


def test_minimal_cells_start_as_torchs_linear_layer() -> None:
    for cell in (MinGRU(16, H, MinGruOptions(), 10), MinLSTM(16, H, MinLstmOptions(), 10)):
        for each in (cell.weight, cell.bias):
            assert each.abs().max() <= 0.25
            assert each.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.05)


def test_minlstm_forget_bias_sets_the_forget_gate_alone() -> None:
    torch.manual_seed(0)
    plain = MinLSTM(3, 8, MinLstmOptions(), 10)
    torch.manual_seed(0)
    raised = MinLSTM(3, 8, MinLstmOptions(forget_bias=2.0), 10)
    assert torch.equal(raised.bias[:8], torch.full((8,), 2.0))
    assert torch.equal(raised.bias[8:], plain.bias[8:])


@pytest.mark.parametrize("size", [-200.0, 200.0])
def test_minlstm_is_finite_where_both_gates_are_closed(size: float) -> None:
    cell = MinLSTM(1, 2, MinLstmOptions(), 10)
    with torch.no_grad():
        cell.weight.fill_(size)
        cell.bias.zero_()
    x_TBI = torch.ones(3, 1, 1, requires_grad=True)
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(1))
    y_TBH.sum().backward()
    assert torch.allclose(y_TBH[:, 0, 0], size * torch.tensor([0.5, 0.75, 0.875]))
    assert all(p.grad.isfinite().all() for p in cell.parameters())


@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0.0, 1.0, 6.28), (0.9, 0.999, 0.3)])
def test_lru_starts_uniform_over_its_ring(r_min: float, r_max: float, max_phase: float) -> None:
    torch.manual_seed(0)
    cell = LRU(4, H, LruOptions(r_min=r_min, r_max=r_max, max_phase=max_phase), 10)
    lam = cell.lambda_N.detach()
    assert lam.abs().min() >= r_min - 1e-6
    assert lam.abs().max() <= r_max
    assert lam.abs().max() < 1
    area = (lam.abs() ** 2 - r_min**2) / (r_max**2 - r_min**2)
    turn = cell.theta.detach().exp() / max_phase
    for uniform in (area, turn):
        assert uniform.mean().item() == pytest.approx(0.5, abs=0.03)
        assert uniform.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)


def test_lru_scales_the_input_so_that_the_variance_is_kept() -> None:
    cell = LRU(4, H, LruOptions(r_min=0.5, r_max=0.99), 10).double()
    assert torch.allclose(cell.gamma.exp() ** 2, 1 - cell.lambda_N.abs() ** 2, rtol=1e-4)
    assert cell.B.std().item() == pytest.approx(1 / math.sqrt(8), rel=0.05)
    assert cell.C.std().item() == pytest.approx(1 / math.sqrt(H), rel=0.05)
    assert cell.D.shape == (H, 4)
    assert LRU(4, 4, LruOptions(), 10).D.shape == (4,)


def test_lru_state_is_real_and_twice_as_wide() -> None:
    (h,) = LRU(4, 6, LruOptions(state_size=10), 10).initial_state(3)
    assert h.shape == (3, 20)
    assert not h.is_complex()


def test_empty_ranges_of_radii_and_decays_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be below r_max"):
        LruOptions(r_min=0.9, r_max=0.5)
    with pytest.raises(ValidationError, match="must be below max_decay"):
        RgLruOptions(min_decay=0.99, max_decay=0.9)
    with pytest.raises(ValidationError, match="must not be above dt_max"):
        S4dOptions(dt_min=0.1, dt_max=0.01)


def test_s4d_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = S4D(4, H, S4dOptions(state_size=3), 10)
    turn = (cell.log_dt.detach() - math.log(0.001)) / math.log(100)
    assert turn.min() >= -1e-6
    assert turn.max() <= 1 + 1e-6
    assert turn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert turn.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)
    torch.testing.assert_close(cell.alpha.exp(), torch.full((H, 3), 0.5))
    torch.testing.assert_close(cell.omega.detach(), torch.tensor([0.0, math.pi, 2 * math.pi]).repeat(H, 1))
    for part in cell.C.unbind(-1):
        assert part.std().item() == pytest.approx(math.sqrt(0.5), rel=0.05)
    assert cell.D.std().item() == pytest.approx(1, rel=0.05)
    assert cell.weight_in is not None
    assert cell.weight_in.std().item() == pytest.approx(0.5, rel=0.05)
    assert S4D(4, 4, S4dOptions(), 10).weight_in is None
    assert S4D(4, 4, S4dOptions(), 10).initial_state(3)[0].shape == (3, 4, 64)


def test_s4d_inverse_frequencies() -> None:
    """The paper's example, N = 64: from 1283 down to 0.32."""
    omega = S4D(1, 1, S4dOptions(init="inv"), 10).omega.detach()[0].double().numpy()
    np.testing.assert_allclose(omega, [64 / np.pi * (64 / (2 * n + 1) - 1) for n in range(32)], rtol=1e-6)


def hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """HiPPO-LegS: A without its part of rank 1 (normal), and B."""
    A = np.array(
        [
            [-math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else -(n + 1) if n == k else 0.0 for k in range(size)]
            for n in range(size)
        ]
    )
    P = np.sqrt(np.arange(size) + 0.5)
    return A + np.outer(P, P), np.sqrt(2 * np.arange(size) + 1)


def test_s4d_legs_frequencies_are_eigenvalues_of_hippo() -> None:
    A, _ = hippo(16)
    eigenvalues = np.linalg.eigvals(A)
    np.testing.assert_allclose(eigenvalues.real, -0.5, atol=1e-10)
    omega = S4D(1, 2, S4dOptions(init="legs", state_size=8), 10).omega.detach().double().numpy()
    np.testing.assert_allclose(omega[1], np.sort(eigenvalues.imag)[8:], rtol=1e-5)


def test_s4d_legs_weights_are_the_input_of_hippo_in_its_basis() -> None:
    """The energy of B/2 is spread over the conjugate pairs as in the basis of the eigenvectors."""
    A, B = hippo(8)
    _, basis = np.linalg.eig(A)
    order = np.argsort(np.linalg.eigvals(A).imag)[4:]
    expected = np.abs(np.linalg.inv(basis) @ B)[order] / 2
    torch.manual_seed(0)
    C = S4D(1, H, S4dOptions(init="legs", state_size=4), 10).C.detach()
    np.testing.assert_allclose(C.square().sum(-1).mean(0).sqrt(), expected, rtol=0.05)


def test_s4d_is_finite_and_does_not_grow_at_the_longest_step() -> None:
    cell = S4D(1, 4, S4dOptions(dt_min=100.0, dt_max=100.0, init="legs"), 10)
    y_TBH, _ = unroll(cell, torch.ones(50, 2, 1), cell.initial_state(2))
    y_TBH.sum().backward()
    assert all(p.grad.isfinite().all() for p in cell.parameters())
    a_HN, _ = cell.sampled()
    assert a_HN.abs().max() < 1


def test_s6_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = S6(4, H, S6Options(), 10)
    log_dt = torch.nn.functional.softplus(cell.bias_dt.detach().double()).log()
    turn = (log_dt - math.log(0.001)) / math.log(100)
    assert turn.min() >= -1e-3
    assert turn.max() <= 1 + 1e-3
    assert turn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert turn.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)
    torch.testing.assert_close(cell.alpha.exp(), torch.arange(1.0, 17).repeat(H, 1))
    assert torch.equal(cell.D, torch.ones(H))
    assert cell.weight.shape == (H // 16 + 32, H)
    for weight, fan_in in ((cell.weight, H), (cell.weight_dt, H // 16)):
        assert weight.abs().max() <= fan_in**-0.5
        assert weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.05)
    assert cell.bias_in is not None
    assert cell.bias_in.abs().max() <= 0.5
    assert cell.bias_in.std().item() == pytest.approx(0.5 / math.sqrt(3), rel=0.05)
    assert S6(4, 17, S6Options(), 10).weight_dt.shape == (17, 2)
    assert S6(4, 17, S6Options(dt_rank=5), 10).weight_dt.shape == (17, 5)
    assert S6(4, 4, S6Options(), 10).weight_in is None


def test_s6_names_the_share_it_keeps_unless_its_factors_are_signed() -> None:
    for signed, keeps in ((False, "keep"), (True, "")):
        cell = S6(2, 4, S6Options(signed=signed), 10)
        assert cell.keeps == keeps
        (name,) = cell.gates(cell.project(torch.randn(5, 3, 2)), cell.initial_state(3))
        assert name == ("factor" if signed else "keep")


def test_s6_with_signed_factors_computes_parity_and_with_positive_ones_cannot() -> None:
    """One unit, set by hand: its state changes sign at a 1 (Δ A = -∞) and stays at a 0 (Δ = 0)."""
    bits = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 1])
    for signed, expected in ((True, 1 - 2 * (bits.cumsum(0) % 2)), (False, 0.0 * bits)):
        cell = S6(1, 1, S6Options(state_size=1, signed=signed), 8).double()
        with torch.no_grad():
            cell.weight.copy_(torch.tensor([[1.0], [0.0], [0.0]]))  # nothing is added: Δ alone reads the input
            cell.weight_dt.fill_(120.0)
            cell.bias_dt.fill_(-60.0)
        (last,) = unroll(cell, bits.double().view(-1, 1, 1), (torch.ones(1, 1, 1).double(),))[1]
        torch.testing.assert_close(last.item(), expected[-1].item(), rtol=0, atol=1e-12)


def test_s6_reads_its_state_at_a_blank_step() -> None:
    torch.manual_seed(0)
    cell = S6(1, 4, S6Options(), 10)
    x_TBI = torch.randn(3, 2, 1)
    x_TBI[-1] = 0
    x_TBI.requires_grad_()
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(2))
    (gradient,) = torch.autograd.grad(y_TBH[-1].square().sum(), x_TBI)
    assert gradient.all()


@pytest.mark.parametrize("signed", [False, True])
def test_s6_is_finite_and_does_not_grow_at_large_inputs(signed: bool) -> None:
    torch.manual_seed(0)
    cell = S6(1, 4, S6Options(signed=signed), 10)
    (h,) = cell.initial_state(2)
    y_TBH, _ = unroll(cell, 1e4 * torch.randn(50, 2, 1), (h + 1,))
    y_TBH.sum().backward()
    assert all(p.grad.isfinite().all() for p in cell.parameters())


SEVERAL = {
    "s4d": lambda: S4D(3, 5, S4dOptions(state_size=4), 10),
    "s6": lambda: S6(3, 5, S6Options(state_size=4), 10),
    "s6-signed": lambda: S6(3, 5, S6Options(state_size=4, signed=True), 10),
}
"""The cells with several numbers in each unit."""


@pytest.mark.parametrize("make", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("steps", [7, 300])
def test_several_numbers_a_unit_by_scan_are_those_by_steps(make: Callable[[], Cell], steps: int) -> None:
    torch.manual_seed(0)
    cell = make().double()
    x_TBI = torch.randn(steps, 2, 3).double()
    start = tuple(torch.randn_like(part) for part in cell.initial_state(2))
    for got, expected in zip(unroll(cell, x_TBI, start), unroll_by_steps(cell, x_TBI, start), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_rg_lru_starts_with_uniform_decays() -> None:
    torch.manual_seed(0)
    decay = torch.sigmoid(RGLRU(4, H, RgLruOptions(), 10).Lambda.detach().double()) ** 8
    assert decay.min() >= 0.9 - 1e-4
    assert decay.max() <= 0.999 + 1e-4
    assert decay.mean().item() == pytest.approx(0.9495, abs=0.003)
    assert decay.std().item() == pytest.approx(0.099 / math.sqrt(12), rel=0.05)


def test_rg_lru_of_the_released_code_starts_on_a_ring_whose_eighth_power_is_the_factor() -> None:
    torch.manual_seed(0)
    cell = RGLRU(4, H, RgLruOptions(init="released"), 10)
    square = torch.sigmoid(cell.Lambda.detach().double()) ** 2
    assert square.min() >= 0.9**2 - 1e-4
    assert square.max() <= 0.999**2 + 1e-4
    assert square.mean().item() == pytest.approx((0.9**2 + 0.999**2) / 2, abs=0.003)
    with torch.no_grad():
        cell.bias[:H] = 300.0  # the recurrence gate fully open
        cell.weight.zero_()
    a_TBH, *_ = cell.terms(torch.ones(1, 1, 4))
    torch.testing.assert_close(a_TBH[0, 0].double(), square**4, rtol=1e-4, atol=0)


@pytest.mark.parametrize("pieces", [[5], [1, 4], [2, 1, 2]])
def test_rg_lru_of_the_released_code_leaves_the_first_step_of_a_sequence_unscaled(pieces: list[int]) -> None:
    """Also where the sequence runs in pieces, and where its first inputs are 0."""
    torch.manual_seed(0)
    cell = RGLRU(3, 3, RgLruOptions(first_step="released"), 10).double()
    x_TBI = torch.randn(5, 2, 3, dtype=torch.float64)
    x_TBI[:2, 1] = 0
    a_TBH, _, _, i_TBH, _ = cell.terms(x_TBI)
    h_BH, expected = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(5):
        scale = 1.0 if t == 0 else (1 - a_TBH[t] ** 2).sqrt()
        h_BH = a_TBH[t] * h_BH + scale * i_TBH[t] * x_TBI[t]
        expected.append(h_BH)
    for run in (unroll, unroll_by_steps):
        state, outputs = cell.initial_state(2), []
        for piece in x_TBI.split(pieces):
            y_TBH, state = run(cell, piece, state)
            outputs.append(y_TBH)
        torch.testing.assert_close(torch.cat(outputs), torch.stack(expected))
        assert state[1].tolist() == [5, 5]


def test_sru_of_version_2_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = SRU(64, H, SruOptions(version=2, rescale=False), 10)
    assert cell.weight_c is not None
    assert cell.weight_c.abs().max() <= math.sqrt(1.5)
    assert cell.weight_c.std().item() == pytest.approx(math.sqrt(0.5), rel=0.05)
    candidate, f, r, x = cell.weight.chunk(4)
    for block, std in ((candidate, 1 / 8), (f, math.sqrt(0.5) / 8), (r, math.sqrt(0.5) / 8), (x, 1 / 8)):
        assert block.std().item() == pytest.approx(std, rel=0.05)


def test_rg_lru_is_finite_where_its_recurrence_gate_is_closed() -> None:
    cell = RGLRU(2, 2, RgLruOptions(), 10)
    with torch.no_grad():
        cell.bias.fill_(-300.0)
    h_BH, t_B = cell.initial_state(1)
    y_TBH, _ = unroll(cell, torch.ones(3, 1, 2), (h_BH + 0.7, t_B))
    y_TBH.sum().backward()
    assert torch.allclose(y_TBH, torch.full((3, 1, 2), 0.7))
    assert all(p.grad.isfinite().all() for p in cell.parameters())


def test_sru_projects_an_input_of_another_width() -> None:
    torch.manual_seed(0)
    same, other = SRU(64, 64, SruOptions(), 10), SRU(64, H, SruOptions(highway_bias=-1.0), 10)
    assert same.weight.shape == (3 * 64, 64)
    assert other.weight.shape == (4 * H, 64)
    assert torch.equal(other.bias, torch.cat([torch.zeros(H), torch.full((H,), -1.0)]))
    assert same.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    scale = math.sqrt(1 + 2 * math.exp(-1))
    assert other.weight[3 * H :].std().item() == pytest.approx(scale / 8, rel=0.05)
    assert other.weight[: 3 * H].std().item() == pytest.approx(1 / 8, rel=0.05)


@pytest.mark.parametrize(("order", "theta"), [(1, 1.0), (6, 64.0), (64, 300.0), (256, 784.0)])
def test_lmu_memory_is_the_exact_zero_order_hold(order: int, theta: float) -> None:
    i, j = np.mgrid[:order, :order]
    A = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) / theta
    B = (2 * i[:, :1] + 1) * (-1.0) ** i[:, :1] / theta
    expected_A, expected_B, *_ = cont2discrete((A, B, np.eye(order), np.zeros((order, 1))), 1.0, "zoh")
    got_A, got_B = legendre_memory(order, theta)
    assert np.abs(got_A.numpy() - expected_A).max() <= 1e-11
    assert np.abs(got_B.numpy() - expected_B[:, 0]).max() <= 1e-11


def test_lmu_memory_reconstructs_its_window() -> None:
    theta, order = 100, 12
    A, B = (each.numpy() for each in legendre_memory(order, theta))
    u = np.sin(np.arange(400) / 25)
    m = np.zeros(order)
    for value in u:
        m = A @ m + B * value
    for lag in (0, 10, 50, 90):
        reconstructed = sum(m[i] * eval_legendre(i, 2 * lag / theta - 1) for i in range(order))
        assert reconstructed == pytest.approx(u[-1 - lag], abs=0.05)


def test_lmu_window_is_the_task_length_by_default() -> None:
    assert LMU(1, 4, LmuOptions(), 77).theta == 77
    assert LMU(1, 4, LmuOptions(theta=12.5), 77).theta == 12.5
    assert LMU(1, 4, LmuOptions(order=9), 77).initial_state(2)[1].shape == (2, 9)


def test_lmu_starts_as_its_docstring_says() -> None:
    torch.manual_seed(0)
    cell = LMU(300, 512, LmuOptions(order=256), 784)
    assert not cell.e_m.any()
    for encoder, width in ((cell.e_x, 300), (cell.e_h, 512)):
        assert encoder.abs().max() <= math.sqrt(3 / width)
        assert encoder.std().item() == pytest.approx(width**-0.5, rel=0.1)
    for kernel in (cell.W_x, cell.W_h, cell.W_m):
        assert kernel.std().item() == pytest.approx(math.sqrt(2 / sum(kernel.shape)), rel=0.05)


def test_lmu_memory_is_exact_in_64_bits_after_any_conversion() -> None:
    original = LMU(1, 4, LmuOptions(), 10)
    converted = copy.deepcopy(original).half().double()
    A, B = legendre_memory(4, 10.0)
    assert original.A.dtype == torch.float32
    assert torch.equal(converted.A, A)
    assert torch.equal(converted.B, B)
