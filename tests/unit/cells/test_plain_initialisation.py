"""The initial parameters of the plain networks. H is large where a distribution is tested."""

import math

import pytest
import torch
from pydantic import ValidationError

from undertow import RequestError
from undertow_cells.plain.antisymmetric import AntisymmetricRNN
from undertow_cells.plain.clockwork import Clockwork
from undertow_cells.plain.indrnn import IndRNN
from undertow_cells.plain.options import (
    AntisymmetricOptions,
    ClockworkOptions,
    IndrnnOptions,
    OrthogonalOptions,
    RnnOptions,
)
from undertow_cells.plain.orthogonal import OrthogonalRNN
from undertow_cells.plain.rnn import RNN
from undertow_cells.plain.skew import skew, upper

IN, H, T = 3, 512, 100


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def is_uniform(values: torch.Tensor, low: float, high: float) -> bool:
    """Within the bounds, with a mean within four standard errors and the standard deviation within 10 %."""
    error = (high - low) / math.sqrt(12 * values.numel())
    return bool(
        values.min() >= low - 1e-6
        and values.max() <= high + 1e-6
        and abs(values.mean().item() - (low + high) / 2) < 4 * error
        and values.std().item() == pytest.approx((high - low) / math.sqrt(12), rel=0.1)
    )


def is_normal(values: torch.Tensor, std: float) -> bool:
    """The mean within four standard errors, the standard deviation within 10 %, and tails wider than a uniform's."""
    return bool(
        abs(values.mean().item()) < 4 * std / math.sqrt(values.numel())
        and values.std().item() == pytest.approx(std, rel=0.1)
        and values.abs().max() > 2 * std
    )


def test_irnn_initialisation() -> None:
    cell = RNN(IN, H, RnnOptions(nonlinearity="relu", recurrent_init="identity", input_init="small"), T)
    assert is_normal(cell.W.detach(), 0.001)
    assert torch.equal(cell.U, torch.eye(H))
    assert not cell.b_W.any()
    assert not cell.b_U.any()


def test_input_scale_multiplies_the_small_initial_weights_too() -> None:
    cell = RNN(IN, H, RnnOptions(input_init="small", input_scale=100.0), T)
    assert is_normal(cell.W.detach(), 0.1)


def test_indrnn_starts_uniform() -> None:
    cell = IndRNN(IN, H, IndrnnOptions(), T)
    assert is_uniform(cell.weight_hh.detach(), 0.0, 1.0)
    assert is_uniform(cell.weight_ih.detach(), -math.sqrt(6 / 65 / IN), math.sqrt(6 / 65 / IN))
    assert not cell.bias.any()


@pytest.mark.parametrize("length", [1, 10, 1000])
def test_indrnn_long_initialisation_keeps_values_over_the_whole_length(length: int) -> None:
    u = IndRNN(IN, H, IndrnnOptions(recurrent_init="long"), length).weight_hh.detach().double()
    assert is_uniform(u, 2 ** (-1 / length), 2 ** (1 / length))
    assert (u**length).max() <= 2.001
    assert (u**length).min() >= 0.499


def test_indrnn_long_initialisation_of_the_last_layer_leaves_the_others_uniform() -> None:
    layers = 3
    cells = [IndRNN(IN, H, IndrnnOptions(recurrent_init="long-last"), 10) for _ in range(layers)]
    for layer, cell in enumerate(cells):
        cell.place(layer, layers)
    for cell in cells[:-1]:
        assert is_uniform(cell.weight_hh.detach(), 0.0, 1.0)
    assert is_uniform(cells[-1].weight_hh.detach(), 2 ** (-1 / 10), 2 ** (1 / 10))


def test_antisymmetric_starts_as_in_the_papers_appendix() -> None:
    cell = AntisymmetricRNN(IN, H, AntisymmetricOptions(recurrent_scale=4.0, gated=True), T)
    assert is_normal(cell.weight_hh.detach(), 4.0 / math.sqrt(H))
    assert is_normal(cell.weight_ih.detach(), 1 / math.sqrt(IN))
    assert not cell.bias.any()


def test_antisymmetric_matrix_is_skew_except_for_the_friction() -> None:
    M = AntisymmetricRNN(IN, 16, AntisymmetricOptions(gamma=0.25), T).weight()
    assert torch.allclose(M + M.T, -0.5 * torch.eye(16))


def test_antisymmetric_has_one_number_for_each_pair_of_units() -> None:
    cell = AntisymmetricRNN(IN, 16, AntisymmetricOptions(), T)
    assert sum(p.numel() for p in cell.parameters()) == 16 * 15 // 2 + 16 * IN + 16


@pytest.mark.parametrize("size", [1, 2, 5])
def test_skew_is_the_inverse_of_upper(size: int) -> None:
    A = torch.randn(size, size)
    A = A - A.T
    assert torch.equal(skew(upper(A), size), A)


@pytest.mark.parametrize("size", [6, 7])
def test_orthogonal_starts_with_rotations_of_two_units_each(size: int) -> None:
    A = skew(OrthogonalRNN(IN, size, OrthogonalOptions(), T).weight_hh.detach(), size)
    for i in range(size):
        for j in range(i + 1, size):
            in_a_block = i % 2 == 0 and j == i + 1
            assert (A[i, j] != 0) == in_a_block


@pytest.mark.parametrize(("init", "low", "high"), [("henaff", -math.pi, math.pi), ("cayley", -math.pi / 2, 0.0)])
def test_orthogonal_initial_angles_are_those_of_the_named_paper(init: str, low: float, high: float) -> None:
    cell = OrthogonalRNN(IN, H, OrthogonalOptions(recurrent_init=init), T)
    s = skew(cell.weight_hh.detach(), H)[range(0, H, 2), range(1, H, 2)]
    assert is_uniform(s if init == "henaff" else 2 * s.arctan(), low, high)
    assert is_normal(cell.weight_ih.detach(), math.sqrt(2 / IN))
    assert is_uniform(cell.bias.detach(), -0.01, 0.01)


@pytest.mark.parametrize(
    ("options", "bad"),
    [
        (IndrnnOptions, {"growth": 0.9}),
        (AntisymmetricOptions, {"epsilon": 0.0}),
        (AntisymmetricOptions, {"gamma": -0.1}),
        (OrthogonalOptions, {"map": "qr"}),
        (RnnOptions, {"input_init": "tiny"}),
    ],
)
def test_option_out_of_range_is_refused(options: type, bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        options(**bad)


@pytest.mark.parametrize(
    ("units", "length", "periods"),
    [
        (16, 100, [1, 1, 1, 2, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64]),
        (16, 10_000, [2**k for k in range(8) for _ in range(2)]),
        (3, 100, [1, 2, 4]),
        (4, 2, [1, 1, 1, 1]),
        (4, 1, [1, 1, 1, 1]),
    ],
)
def test_clockwork_periods_are_powers_of_two_below_the_length(units: int, length: int, periods: list[int]) -> None:
    assert Clockwork(IN, units, ClockworkOptions(), length).periods.tolist() == periods


def test_clockwork_weights_start_normal_and_biases_at_zero() -> None:
    cell = Clockwork(IN, H, ClockworkOptions(), T)
    assert is_normal(cell.weight_ih.detach(), 0.1)
    assert is_normal(cell.weight_hh.detach(), 0.1)
    assert not cell.bias.any()
    assert is_normal(Clockwork(IN, H, ClockworkOptions(weight_std=0.5), T).weight_hh.detach(), 0.5)


def test_clockwork_groups_read_their_own_and_slower_ones() -> None:
    U_HH = Clockwork(IN, 6, ClockworkOptions(periods=(1, 5, 9)), T).recurrent_matrix()
    blocks = U_HH.detach().view(3, 2, 3, 2).transpose(1, 2)
    for to in range(3):
        for source in range(3):
            assert blocks[to, source].all() if source >= to else not blocks[to, source].any()


@pytest.mark.parametrize("periods", [[], [2, 1], [1, 1, 2], [0, 1]])
def test_clockwork_periods_that_do_not_rise_are_refused(periods: list[int]) -> None:
    with pytest.raises(ValidationError, match="periods"):
        ClockworkOptions(periods=periods)


def test_clockwork_options_of_a_file_load_back_unchanged() -> None:
    options = ClockworkOptions.model_validate({"periods": [1, 3]})
    assert options.periods == (1, 3)
    assert ClockworkOptions.model_validate(options.model_dump(mode="json")) == options


def test_clockwork_with_more_periods_than_units_is_refused() -> None:
    with pytest.raises(RequestError, match=r"cell\.options\.clockwork\.periods: 3 periods for 2 units"):
        Clockwork(IN, 2, ClockworkOptions(periods=(1, 2, 4)), T)
