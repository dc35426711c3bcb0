"""The initial parameters of rnn, lstm, gru and ugrnn. H is large where a distribution is tested."""

import math

import pytest
import torch

from undertow import Cell
from undertow_cells.gated.gru import GRU
from undertow_cells.gated.lstm import LSTM
from undertow_cells.gated.options import GruOptions, LstmOptions, UgrnnOptions
from undertow_cells.gated.ugrnn import UGRNN
from undertow_cells.plain.options import RnnOptions
from undertow_cells.plain.rnn import RNN

H = 512


def total_bias(cell: Cell, gate: int) -> torch.Tensor:
    """The sum of torch's two biases of one gate."""
    return (cell.b_W + cell.b_U).detach()[gate * cell.hidden_size : (gate + 1) * cell.hidden_size]


def every_block_is_a_rotation(U_GHH: torch.Tensor) -> bool:
    eye = torch.eye(U_GHH.shape[-1])
    return all(torch.allclose(U.T @ U, eye, atol=1e-5) for U in U_GHH.detach().split(U_GHH.shape[-1]))


def test_forget_bias_is_the_total_of_both_biases() -> None:
    cell = LSTM(1, 8, LstmOptions(forget_bias=2.5), 10)
    assert torch.equal(total_bias(cell, 1), torch.full((8,), 2.5))


def test_forget_bias_is_one_by_default() -> None:
    assert torch.equal(total_bias(LSTM(1, 8, LstmOptions(), 10), 1), torch.ones(8))


def test_no_forget_bias_keeps_torchs_initialisation() -> None:
    torch.manual_seed(3)
    cell = LSTM(2, 8, LstmOptions(forget_bias=None), 10)
    torch.manual_seed(3)
    layer = torch.nn.LSTM(2, 8)
    for ours, torchs in zip(cell.parameters(), layer.parameters(), strict=True):
        assert torch.equal(ours, torchs)


def test_chrono_spreads_time_scales_over_the_length() -> None:
    length = 200
    torch.manual_seed(0)
    cell = LSTM(1, H, LstmOptions(chrono=True), length)
    scales = total_bias(cell, 1).exp()
    assert scales.min() >= 1
    assert scales.max() <= length - 1
    assert scales.mean() == pytest.approx(length / 2, rel=0.1)
    assert scales.std() == pytest.approx((length - 2) / math.sqrt(12), rel=0.1)
    assert torch.equal(total_bias(cell, 0), -total_bias(cell, 1))


@pytest.mark.parametrize("length", [1, 2])
def test_chrono_is_zero_for_a_task_of_one_or_two_steps(length: int) -> None:
    assert torch.equal(total_bias(LSTM(1, 8, LstmOptions(chrono=True), length), 1), torch.zeros(8))


def test_identity_initialisation_keeps_the_state_of_an_irnn() -> None:
    cell = RNN(3, 8, RnnOptions(nonlinearity="relu", recurrent_init="identity"), 10)
    assert torch.equal(cell.U, torch.eye(8))
    assert torch.equal(total_bias(cell, 0), torch.zeros(8))
    state = cell.initial_state(2)[0] + 0.7
    (kept,) = cell.step(cell.project(torch.zeros(1, 2, 3))[0], (state,))
    assert torch.equal(kept, state)


def test_scales_multiply_the_initial_weights() -> None:
    torch.manual_seed(0)
    plain = RNN(3, 8, RnnOptions(recurrent_init="orthogonal"), 10)
    torch.manual_seed(0)
    scaled = RNN(3, 8, RnnOptions(recurrent_init="orthogonal", recurrent_scale=1.5, input_scale=4.0), 10)
    assert torch.equal(scaled.U, plain.U * 1.5)
    for each in ("W", "b_W", "b_U"):
        assert torch.equal(getattr(scaled, each), getattr(plain, each) * 4.0)


@pytest.mark.parametrize(
    "cell",
    [
        RNN(3, 16, RnnOptions(recurrent_init="orthogonal"), 10),
        LSTM(3, 16, LstmOptions(recurrent_init="orthogonal"), 10),
        GRU(3, 16, GruOptions(recurrent_init="orthogonal"), 10),
    ],
    ids=["rnn", "lstm", "gru"],
)
def test_orthogonal_initialisation_makes_every_gate_a_rotation(cell: Cell) -> None:
    assert every_block_is_a_rotation(cell.U)


def test_orthogonal_is_not_the_default() -> None:
    assert not every_block_is_a_rotation(LSTM(3, 16, LstmOptions(), 10).U)


def test_ugrnn_starts_as_its_docstring_says() -> None:
    torch.manual_seed(0)
    cell = UGRNN(3, H, UgrnnOptions(gate_bias=0.5), 10)
    assert torch.equal(cell.bias, torch.cat([torch.full((H,), 0.5), torch.zeros(H)]))
    for weight in (cell.weight_ih, cell.weight_hh):
        assert weight.abs().max() <= H**-0.5
        assert weight.std().item() == pytest.approx(H**-0.5 / math.sqrt(3), rel=0.05)
