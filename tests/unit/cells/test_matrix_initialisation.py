"""How the cells with a matrix state start, what their options allow, and that they stay finite at extreme gates."""

import math

import pytest
import torch
from pydantic import ValidationError

from undertow import Cell, RequestError, unroll
from undertow.nn.loop import unroll_by_steps
from undertow_cells.matrix.deltanet import DeltaNet
from undertow_cells.matrix.gla import GLA
from undertow_cells.matrix.hgrn2 import HGRN2
from undertow_cells.matrix.mlstm import MLSTM
from undertow_cells.matrix.options import DeltanetOptions, GlaOptions, Hgrn2Options, MlstmOptions, Rwkv7Options
from undertow_cells.matrix.rwkv7 import RWKV7

MAKERS = {
    "gla": (GLA, GlaOptions),
    "hgrn2": (HGRN2, Hgrn2Options),
    "mlstm": (MLSTM, MlstmOptions),
    "deltanet": (DeltaNet, DeltanetOptions),
    "rwkv7": (RWKV7, Rwkv7Options),
}
GATE_BIASES = {"gla": "bias", "hgrn2": "bias", "mlstm": "bias_gates", "deltanet": "bias_alpha", "rwkv7": "bias_w"}


def make(name: str, I: int = 3, H: int = 8, **options: object) -> Cell:  # noqa: E741
    cell, its_options = MAKERS[name]
    return cell(I, H, its_options(**options), 10)


@pytest.mark.parametrize("name", MAKERS)
def test_heads_that_do_not_divide_the_hidden_size_are_refused(name: str) -> None:
    with pytest.raises(
        RequestError, match=rf"cell\.options\.{name}\.heads: 3 heads .*hidden_size 8; these do: 1, 2, 4, 8"
    ):
        make(name, heads=3)


@pytest.mark.parametrize("name", ["gla", "mlstm", "rwkv7"])
def test_heads_of_one_unit_are_refused_where_the_norm_would_leave_nothing(name: str) -> None:
    with pytest.raises(RequestError, match=rf"cell\.options\.{name}\.heads: with 8 heads each has one unit"):
        make(name, heads=8, norm=True)
    make(name, heads=8, norm=False)


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_is_a_matrix_a_head(name: str) -> None:
    assert make(name).initial_state(2)[0].shape == (2, 1, 8, 8)
    assert make(name, heads=4).initial_state(2)[0].shape == (2, 4, 2, 2)
    assert make(name, heads=4, key_size=5).initial_state(2)[0].shape == (2, 4, 5, 2)


def test_beta_is_limited_to_one_or_two() -> None:
    with pytest.raises(ValidationError):
        DeltanetOptions(max_beta=3)


@pytest.mark.parametrize("size", [-1e4, -30.0, 30.0, 1e4])
@pytest.mark.parametrize("name", MAKERS)
def test_scan_equals_steps_and_is_finite_where_a_gate_is_open_or_closed(name: str, size: float) -> None:
    """The bias of the gate that keeps is extreme in half of its units; in the mLSTM that of the input gate is, too."""
    torch.manual_seed(0)
    cell = make(name, heads=2)
    with torch.no_grad():
        bias = cell.get_parameter(GATE_BIASES[name])
        bias.view(-1)[::2] = size
        bias.view(-1)[1::4] = -size
    x_TBI = torch.randn(70, 2, 3)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        results = []
        for run in (unroll, unroll_by_steps):
            cell = cell.to(dtype)
            x = x_TBI.to(dtype).requires_grad_()
            y_TBH, last = run(cell, x, cell.initial_state(2))
            gradients = torch.autograd.grad(y_TBH.square().sum(), [x, *cell.parameters()])
            results.append([y_TBH, *last, torch.cat([gradient.flatten() for gradient in gradients])])
        for got, expected in zip(*results, strict=True):
            assert got.isfinite().all()
            assert (got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-3)


def test_retention_decays_more_slowly_in_later_heads() -> None:
    cell = make("gla", heads=4, decay="constant")
    decay, kind = cell.gates(cell.project(torch.randn(1, 2, 3)), cell.initial_state(2))["a"]
    assert kind == "sigmoid"
    assert decay[0, 0].tolist() == [1 - 1 / 32, 1 - 1 / 64, 1 - 1 / 128, 1 - 1 / 256]
    assert "alpha" not in dict(cell.named_parameters())


def test_gla_decay_bias_opens_the_gate() -> None:
    cell = make("gla", decay_bias=3.0)
    with torch.no_grad():
        cell.weight_2.zero_()
    decay, _ = cell.gates(cell.project(torch.randn(1, 2, 3)), cell.initial_state(2))["a"]
    torch.testing.assert_close(decay, torch.full_like(decay, (1 / (1 + math.exp(-3))) ** (1 / 16)))


def test_hgrn2_keeps_more_in_upper_layers() -> None:
    x_TBI = torch.randn(3, 2, 3)
    least = []
    for layer in range(4):
        cell = make("hgrn2", forget_bias=-20.0)
        cell.place(layer, 4)
        f, _ = cell.gates(cell.project(x_TBI), cell.initial_state(2))["f"]
        least.append(float(f.detach().min()))
    assert least == pytest.approx([0, 0.25, 0.5, 0.75], abs=1e-6)
    fixed = make("hgrn2", forget_bias=-20.0, lower_bound=0.3)
    fixed.place(3, 4)
    f, _ = fixed.gates(fixed.project(x_TBI), fixed.initial_state(2))["f"]
    assert float(f.detach().min()) == pytest.approx(0.3, abs=1e-6)


def test_mlstm_starts_with_open_forget_gates() -> None:
    torch.manual_seed(0)
    cell = make("mlstm", I=64, H=512, heads=256)
    i, f = cell.bias_gates.detach().chunk(2)
    assert torch.equal(f, torch.linspace(3, 6, 256))
    assert i.std().item() == pytest.approx(0.1, rel=0.15)
    assert not cell.weight_gates.any()
    assert cell.weight.std().item() == pytest.approx(math.sqrt(2 / (5 * 64)), rel=0.05)


def test_mlstm_does_not_depend_on_the_start_of_its_stabiliser() -> None:
    torch.manual_seed(0)
    cell = make("mlstm", heads=2).double()
    x_TBI = torch.randn(40, 2, 3, dtype=torch.float64)
    _, (C, n, m) = unroll(cell, x_TBI[:20], cell.initial_state(2))
    expected, _ = unroll(cell, x_TBI[20:], (C, n, m))
    shift = 3.0
    for run in (unroll, unroll_by_steps):
        shifted, _ = run(cell, x_TBI[20:], (C / math.exp(shift), n / math.exp(shift), m + shift))
        torch.testing.assert_close(shifted, expected, rtol=1e-10, atol=1e-12)


def test_mlstm_with_an_exponential_forget_gate_shows_no_gate_that_keeps() -> None:
    cell = make("mlstm", forget="exponential")
    assert cell.keeps == ""
    assert cell.gates(cell.project(torch.randn(1, 2, 3)), cell.initial_state(2)).keys() == {"o"}


def eigenvalue_of_the_key(beta_bias: float, **options: object) -> torch.Tensor:
    """What is left, after a step of a DeltaNet, of what was stored under its key: a multiple."""
    cell = make("deltanet", gated=False, **options).double()
    with torch.no_grad():
        cell.bias_beta.fill_(beta_bias)
        cell.weight_beta.zero_()
    z = cell.project(torch.randn(1, 1, 3, dtype=torch.float64))[0]
    _, _, _, v, k, *_ = z.split(cell.widths, -1)
    before = k.unsqueeze(-1) * torch.ones_like(v).unsqueeze(-2)
    (after,) = cell.step(z, (before,))
    written = torch.sigmoid(torch.tensor(beta_bias, dtype=torch.float64)) * cell.max_beta * v
    return (k.unsqueeze(-2) @ after).squeeze(-2) - written * k.square().sum()


def test_deltanet_replaces_what_is_stored_and_with_beta_two_reflects_it() -> None:
    torch.manual_seed(0)
    replaced = eigenvalue_of_the_key(20.0)
    torch.testing.assert_close(replaced, torch.zeros_like(replaced), rtol=0, atol=1e-3)
    reflected = eigenvalue_of_the_key(20.0, max_beta=2)
    torch.testing.assert_close(reflected, -torch.ones_like(reflected), rtol=0, atol=1e-3)


def test_deltanet_starts_with_the_decays_of_the_authors() -> None:
    torch.manual_seed(0)
    cell = make("deltanet", H=2048, heads=1024)
    rate = torch.nn.functional.softplus(cell.bias_alpha.detach().double())
    assert rate.min() * 1.001 >= 0.001
    assert rate.max() <= 0.1 * 1.001
    assert rate.log10().mean().item() == pytest.approx(-2, abs=0.05)
    assert cell.A.exp().mean().item() == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("name", ["deltanet", "rwkv7"])
def test_an_input_of_zeros_has_finite_gradients(name: str) -> None:
    """Its key is 0, which has no direction."""
    cell = make(name)
    x_TBI = torch.zeros(5, 2, 3, requires_grad=True)
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(2))
    for gradient in torch.autograd.grad(y_TBH.sum(), [x_TBI, *cell.parameters()]):
        assert gradient.isfinite().all()


def test_rwkv7_starts_as_its_docstring_says() -> None:
    torch.manual_seed(0)
    cell = make("rwkv7", I=16, H=64, heads=4)
    for first, second in (
        (cell.weight_w1, cell.weight_w2),
        (cell.weight_a1, cell.weight_a2),
        (cell.weight_g1, cell.weight_g2),
    ):
        assert not first.any()
        torch.testing.assert_close(second.T @ second, 0.01 * torch.eye(32))
    r, k, v = cell.weight.detach().split(64)
    for block, bound in ((r, 1 / 8), (k, 1 / 80), (v, 1 / 8)):
        assert block.abs().max() <= bound
        assert block.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    bias = cell.bias_w.detach()
    assert bias[0, 0] == pytest.approx(-8)
    assert bias[-1, -1] == pytest.approx(3)
    decay, _ = cell.gates(cell.project(torch.randn(4, 2, 16)), cell.initial_state(2))["w"]
    assert decay.min() > math.exp(-math.exp(-0.5))
