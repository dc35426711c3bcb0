"""The initial parameters of the oscillators; H is large, since distributions are tested."""

import math

import pytest
import torch
from pydantic import ValidationError

from undertow_cells.oscillators.cornn import CoRNN
from undertow_cells.oscillators.lem import LEM
from undertow_cells.oscillators.options import CornnOptions, LemOptions, UnicornnOptions
from undertow_cells.oscillators.unicornn import UnICORNN

IN, H, T = 3, 256, 100


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


def test_cornn_starts_as_a_layer_over_input_and_both_states() -> None:
    cell = CoRNN(IN, H, CornnOptions(), T)
    bound = 1 / math.sqrt(IN + 2 * H)
    for parameter in cell.parameters():
        assert is_uniform(parameter.detach(), -bound, bound)


def test_unicornn_starts_as_its_docstring_says() -> None:
    cell = UnICORNN(IN, H, UnicornnOptions(dt=0.5), T)
    bound = math.sqrt(6 / 65 / IN)
    assert is_uniform(cell.weight_hh.detach(), 0.0, 1.0)
    assert is_uniform(cell.pace.detach(), -0.1, 0.1)
    assert is_uniform(cell.weight_ih.detach(), -bound, bound)
    assert not cell.bias.any()
    assert cell.weight().mean().item() == pytest.approx(0.25, rel=0.02)  # half of dt


def test_lem_weights_start_uniform_and_its_bias_as_the_sum_of_two_uniforms() -> None:
    cell, bound = LEM(IN, H, LemOptions(), T), 1 / math.sqrt(H)
    for weight in (cell.weight_ih, cell.weight_hh, cell.weight_zy):
        assert is_uniform(weight.detach(), -bound, bound)
    assert cell.bias.std().item() == pytest.approx(bound * math.sqrt(2 / 3), rel=0.1)
    assert bound < cell.bias.abs().max() <= 2 * bound


@pytest.mark.parametrize(
    ("options", "bad"),
    [
        (CornnOptions, {"dt": 0.0}),
        (CornnOptions, {"gamma": 0.0}),
        (UnicornnOptions, {"alpha": -1.0}),
        (LemOptions, {"dt": 3.0}),
    ],
)
def test_option_out_of_range_is_refused(options: type, bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        options(**bad)
