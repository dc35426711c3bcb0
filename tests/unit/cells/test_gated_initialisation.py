"""The initial parameters of the gated cells. H is large where a distribution is tested."""

import math
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from undertow import Cell, RequestError, unroll
from undertow_cells.gated.brc import BRC
from undertow_cells.gated.fastgrnn import FastGRNN
from undertow_cells.gated.gru import GRU
from undertow_cells.gated.janet import JANET
from undertow_cells.gated.lstm_coupled import CoupledLSTM
from undertow_cells.gated.lstm_layernorm import LayerNormLSTM
from undertow_cells.gated.lstm_no_forget import NoForgetLSTM
from undertow_cells.gated.lstm_peephole import PeepholeLSTM
from undertow_cells.gated.mgu import MGU
from undertow_cells.gated.nbrc import NBRC
from undertow_cells.gated.nru import NRU
from undertow_cells.gated.options import (
    BrcOptions,
    FastgrnnOptions,
    ForgetOptions,
    GruOptions,
    JanetOptions,
    LstmCoupledOptions,
    LstmLayernormOptions,
    LstmNoForgetOptions,
    LstmOptions,
    LstmPeepholeOptions,
    MguOptions,
    NbrcOptions,
    NruOptions,
    SlstmOptions,
    UrLstmOptions,
)
from undertow_cells.gated.slstm import SLSTM
from undertow_cells.gated.ur_lstm import URLSTM

H, IN, LENGTH = 512, 3, 200

# Each cell with its options and the order of its gates in the stacked bias.
FORGETTING = {
    "lstm-peephole": (PeepholeLSTM, LstmPeepholeOptions, "ifgo"),
    "lstm-coupled": (CoupledLSTM, LstmCoupledOptions, "fog"),
    "lstm-layernorm": (LayerNormLSTM, LstmLayernormOptions, "ifog"),
    "janet": (JANET, JanetOptions, "fn"),
}
EVERY_FORGET_OPTIONS = [LstmOptions, *(options for _, options, _ in FORGETTING.values())]


def biases(cell: Cell, rows: str) -> dict[str, torch.Tensor]:
    return dict(zip(rows, cell.bias.detach().chunk(len(rows)), strict=True))


def is_rotation(U_HH: torch.Tensor) -> bool:
    return torch.allclose(U_HH.T @ U_HH, torch.eye(len(U_HH)), atol=1e-5)


def is_uniform(weight: torch.Tensor, bound: float) -> bool:
    return weight.abs().max() <= bound and math.isclose(weight.std().item(), bound / math.sqrt(3), rel_tol=0.05)


@pytest.mark.parametrize("name", FORGETTING)
def test_chrono_spreads_the_time_scales_over_the_length(name: str) -> None:
    make, options, rows = FORGETTING[name]
    torch.manual_seed(0)
    b = biases(make(1, H, options(chrono=True), LENGTH), rows)
    scales = b["f"].exp()
    assert scales.min() >= 1
    assert scales.max() <= LENGTH - 1
    assert scales.mean() == pytest.approx(LENGTH / 2, rel=0.1)
    assert scales.std() == pytest.approx((LENGTH - 2) / math.sqrt(12), rel=0.1)
    if "i" in rows:
        assert torch.equal(b["i"], -b["f"])
    assert not any(b[gate].any() for gate in rows if gate not in "if")


@pytest.mark.parametrize("name", FORGETTING)
def test_forget_bias_sets_every_unit_and_no_other_gate(name: str) -> None:
    make, options, rows = FORGETTING[name]
    b = biases(make(1, 8, options(forget_bias=2.5), LENGTH), rows)
    assert torch.equal(b.pop("f"), torch.full((8,), 2.5))
    assert not any(value.any() for value in b.values())


@pytest.mark.parametrize("name", FORGETTING)
def test_without_forget_bias_or_chrono_it_starts_at_zero(name: str) -> None:
    make, options, _ = FORGETTING[name]
    assert not make(1, 8, options(forget_bias=None, chrono=False), LENGTH).bias.any()


@pytest.mark.parametrize("options", EVERY_FORGET_OPTIONS)
def test_chrono_and_a_forget_bias_exclude_each_other(options: type[ForgetOptions]) -> None:
    with pytest.raises(ValidationError, match="leave forget_bias out"):
        options(chrono=True, forget_bias=1.0)


@pytest.mark.parametrize("options", EVERY_FORGET_OPTIONS)
def test_chrono_and_forget_bias_each_replace_the_others_default(options: type[ForgetOptions]) -> None:
    assert (options(chrono=True).chrono, options(chrono=True).forget_bias) == (True, None)
    assert (options(forget_bias=2.0).chrono, options(forget_bias=2.0).forget_bias) == (False, 2.0)


@pytest.mark.parametrize("options", EVERY_FORGET_OPTIONS)
def test_resolved_forget_options_load_back_unchanged(options: type[ForgetOptions]) -> None:
    for given in ({}, {"chrono": True}, {"chrono": False}, {"forget_bias": None}, {"forget_bias": 2.0}):
        resolved = options.model_validate(given)
        assert options.model_validate(resolved.model_dump()) == resolved


def test_default_is_chrono_for_janet_and_a_bias_of_one_for_the_lstms() -> None:
    assert JanetOptions().chrono
    for options in EVERY_FORGET_OPTIONS[:-1]:
        assert (options().chrono, options().forget_bias) == (False, 1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PeepholeLSTM(IN, H, LstmPeepholeOptions(), LENGTH),
        lambda: CoupledLSTM(IN, H, LstmCoupledOptions(), LENGTH),
        lambda: NoForgetLSTM(IN, H, LstmNoForgetOptions(), LENGTH),
        lambda: MGU(IN, H, MguOptions(), LENGTH),
    ],
    ids=["lstm-peephole", "lstm-coupled", "lstm-no-forget", "mgu"],
)
def test_weights_are_torchs_uniform_where_the_paper_leaves_them_open(make: Callable[[], Cell]) -> None:
    torch.manual_seed(0)
    for name, parameter in make().named_parameters():
        assert name == "bias" or is_uniform(parameter, H**-0.5), name


def test_no_forget_lstm_starts_from_its_two_biases() -> None:
    b = biases(NoForgetLSTM(1, 8, LstmNoForgetOptions(input_bias=-3.0, output_bias=-1.0), LENGTH), "iog")
    assert torch.equal(b["i"], torch.full((8,), -3.0))
    assert torch.equal(b["o"], torch.full((8,), -1.0))
    assert not b["g"].any()


def test_mgu_starts_from_its_gate_bias() -> None:
    b = biases(MGU(1, 8, MguOptions(gate_bias=-2.0), LENGTH), "fn")
    assert torch.equal(b["f"], torch.full((8,), -2.0))
    assert not b["n"].any()


def test_layernorm_starts_with_gains_of_one_and_rotations() -> None:
    cell = LayerNormLSTM(IN, 16, LstmLayernormOptions(), LENGTH)
    for gain in (cell.gain_ih, cell.gain_hh, cell.gain_c):
        assert torch.equal(gain, torch.ones_like(gain))
    assert not cell.bias_c.any()
    assert all(is_rotation(U_HH) for U_HH in cell.weight_hh.detach().chunk(4))


def test_layernorm_output_does_not_depend_on_the_scale_of_the_weights() -> None:
    cell = LayerNormLSTM(IN, 16, LstmLayernormOptions(), LENGTH).double()
    x_TBI, (h, c) = torch.randn(1, 2, IN).double(), (torch.randn(2, 16).double() for _ in range(2))
    before = cell.step(cell.project(x_TBI)[0], (h, c))
    with torch.no_grad():
        cell.weight_ih.mul_(10)
        cell.weight_hh.mul_(10)
    for got, expected in zip(cell.step(cell.project(x_TBI)[0], (h, c)), before, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_janet_starts_from_glorots_uniform() -> None:
    torch.manual_seed(0)
    cell = JANET(IN, H, JanetOptions(), LENGTH)
    assert is_uniform(cell.weight_ih, math.sqrt(6 / (IN + 2 * H)))
    assert is_uniform(cell.weight_hh, math.sqrt(6 / (H + 2 * H)))


def test_fastgrnn_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = FastGRNN(IN, H, FastgrnnOptions(), LENGTH)
    for weight in (cell.weight_ih, cell.weight_hh):
        assert weight.mean().item() == pytest.approx(0, abs=0.01)
        assert weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(cell.bias, torch.ones(2, H))
    assert (cell.zeta.item(), cell.nu.item()) == (1.0, -4.0)


@pytest.mark.parametrize("init", ["orthogonal", "glorot"])
def test_nbrc_starts_as_either_of_the_authors_codes(init: str) -> None:
    torch.manual_seed(0)
    cell = NBRC(IN, H, NbrcOptions(recurrent_init=init), LENGTH)
    for W_HI in cell.weight_ih.detach().chunk(3):
        assert is_uniform(W_HI, math.sqrt(6 / (IN + H)))
    for U_HH in cell.weight_hh.detach().chunk(2):
        assert is_rotation(U_HH) if init == "orthogonal" else is_uniform(U_HH, math.sqrt(6 / (2 * H)))
    assert not cell.bias.any()


def test_brc_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = BRC(IN, H, BrcOptions(), LENGTH)
    for W_HI in cell.weight_ih.detach().chunk(3):
        assert is_uniform(W_HI, math.sqrt(6 / (IN + H)))
    assert torch.equal(cell.weight_hh, torch.ones(2, H))
    assert not cell.bias.any()


def test_brc_units_read_their_own_state_alone() -> None:
    cell = BRC(IN, 4, BrcOptions(), LENGTH)
    z, h = cell.project(torch.randn(1, 1, IN))[0], torch.rand(1, 4)
    jacobian = torch.autograd.functional.jacobian(lambda h: cell.step(z, (h,))[0].sum(0), h)[:, 0]
    assert jacobian.diag().all()
    assert torch.equal(jacobian, jacobian.diag().diag())


def test_brc_keeps_either_of_two_values_without_input() -> None:
    """With a = 2 and c = 0: h' = tanh(2 h), which has the stable values ±0.9575."""
    cell = BRC(IN, 2, BrcOptions(recurrent_weight=0.0), LENGTH).double()
    with torch.no_grad():
        cell.bias.view(3, 2)[:2] = torch.tensor([[40.0], [-40.0]])
    h = torch.tensor([[0.1, -0.1]], dtype=torch.float64)
    (last,) = unroll(cell, torch.zeros(60, 1, IN, dtype=torch.float64), (h,))[1]
    torch.testing.assert_close(last, torch.tensor([[0.957504, -0.957504]], dtype=torch.float64), rtol=0, atol=1e-6)


def test_ur_lstm_starts_with_uniform_forget_gates_and_the_opposite_refine_gates() -> None:
    torch.manual_seed(0)
    cell = URLSTM(IN, H, UrLstmOptions(), LENGTH)
    b = biases(cell, "fgor")
    f = b["f"].sigmoid()
    assert f.min() >= 1 / H - 1e-6
    assert f.max() <= 1 - 1 / H + 1e-6
    assert f.mean().item() == pytest.approx(0.5, abs=0.05)
    assert f.std().item() == pytest.approx((1 - 2 / H) / math.sqrt(12), rel=0.05)
    assert torch.equal(b["r"], -b["f"])
    assert not b["g"].any()
    assert not b["o"].any()
    assert is_uniform(cell.weight_hh, H**-0.5)


def test_ur_lstm_of_one_unit_starts_half_open() -> None:
    assert not URLSTM(IN, 1, UrLstmOptions(), LENGTH).bias.any()


def test_ur_lstm_can_start_from_chrono() -> None:
    torch.manual_seed(0)
    b = biases(URLSTM(IN, H, UrLstmOptions(forget_init="chrono"), LENGTH), "fgor")
    assert b["f"].exp().mean() == pytest.approx(LENGTH / 2, rel=0.1)
    assert torch.equal(b["r"], -b["f"])


def test_ur_lstm_without_refinement_is_the_coupled_lstm() -> None:
    """The equations say so; here both compute the same from the same weights."""
    torch.manual_seed(0)
    ours, other = (
        URLSTM(IN, 8, UrLstmOptions(refine=False), LENGTH).double(),
        CoupledLSTM(IN, 8, LstmCoupledOptions(), LENGTH).double(),
    )
    order = torch.cat([torch.arange(8), torch.arange(16, 24), torch.arange(8, 16)])  # f, g, o as f, o, g
    other.load_state_dict({name: value[order] for name, value in ours.state_dict().items()})
    x_TBI = torch.randn(LENGTH, 2, IN, dtype=torch.float64)
    (one, _), (two, _) = (unroll(cell, x_TBI, cell.initial_state(2)) for cell in (ours, other))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_nru_starts_as_torchs_linear_layer() -> None:
    torch.manual_seed(0)
    cell = NRU(IN, H, NruOptions(), LENGTH)
    assert is_uniform(cell.weight_hh, (H + 64 + IN) ** -0.5)
    assert is_uniform(cell.weight_ih, (H + 64 + IN) ** -0.5)
    assert is_uniform(cell.weight_heads, (H + 64) ** -0.5)
    assert cell.weight_heads.shape == (2 * 4 + 4 * 16, H + 64)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e9])
def test_nru_writes_directions_of_norm_1_at_any_size(size: float, relu: bool) -> None:
    cell = NRU(IN, 4, NruOptions(memory_size=9, relu=relu), LENGTH)
    torch.manual_seed(0)
    p, q = (size * torch.rand(2, 6)).requires_grad_(), torch.rand(2, 6)
    v = cell._direct(p, q)
    torch.testing.assert_close((v.abs() ** 5).sum(2), torch.full((2, 4), float(size > 0)), rtol=1e-4, atol=0)
    assert torch.autograd.grad(v.sum(), p)[0].isfinite().all()


def test_nru_memory_and_heads_must_make_a_square_and_near_sizes_are_listed() -> None:
    with pytest.raises(ValidationError, match=r"60 \* 4 = 240.*must be a square.*49, 64, 81"):
        NruOptions(memory_size=60)
    assert NruOptions(memory_size=18, heads=2).memory_size == 18


def test_slstm_starts_as_the_authors_code() -> None:
    torch.manual_seed(0)
    cell = SLSTM(IN, H, SlstmOptions(heads=2), LENGTH)
    assert cell.weight_ih.std().item() == pytest.approx(math.sqrt(2 / (5 * IN)), rel=0.05)
    assert not cell.weight_hh.any()
    b = biases(cell, "ifzo")
    D = H // 2
    expected = [-(-5 + 12 * (j / (D - 1)) ** 0.3) for j in range(D)]
    torch.testing.assert_close(b.pop("f"), torch.tensor(expected * 2))
    assert not any(value.any() for value in b.values())


def test_slstm_offers_the_authors_other_initialisations() -> None:
    torch.manual_seed(0)
    cell = SLSTM(IN, H, SlstmOptions(heads=2, forget_init="linspace", recurrent_init="uniform"), LENGTH)
    assert is_uniform(cell.weight_hh, H**-0.5)
    torch.testing.assert_close(biases(cell, "ifzo")["f"], torch.linspace(3, 6, H // 2).repeat(2))


def test_slstm_with_one_unit_per_head_starts_each_at_the_first_bias() -> None:
    assert torch.equal(biases(SLSTM(1, 4, SlstmOptions(heads=4), LENGTH), "ifzo")["f"], torch.full((4,), 5.0))


def test_heads_that_do_not_divide_the_hidden_size_are_refused_and_valid_ones_listed() -> None:
    with pytest.raises(RequestError, match=r"cell\.options\.slstm\.heads: 4 .*hidden_size 6; these do: 1, 2, 3, 6"):
        SLSTM(IN, 6, SlstmOptions(heads=4), LENGTH)


def test_heads_are_independent() -> None:
    torch.manual_seed(0)
    cell = SLSTM(IN, 6, SlstmOptions(heads=2, recurrent_init="uniform"), LENGTH)
    z = cell.project(torch.randn(1, 1, IN))[0]
    h, c, n, m = (torch.rand(1, 6).requires_grad_() for _ in range(4))
    after = cell.step(z, (h, c, n, m))[0]
    (gradient,) = torch.autograd.grad(after[0, :3].sum(), h)
    assert gradient[0, :3].all()
    assert not gradient[0, 3:].any()


def test_position_of_the_reset_gate_changes_no_weight() -> None:
    torch.manual_seed(0)
    after = GRU(IN, 8, GruOptions(), LENGTH)
    torch.manual_seed(0)
    before = GRU(IN, 8, GruOptions(reset="before"), LENGTH)
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)
