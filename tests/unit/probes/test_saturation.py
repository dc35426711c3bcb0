"""Saturation of gates that depend on their biases alone: shares, and the mean and root mean square of derivatives."""

import math

import pytest
import torch

from undertow_probes.options import SaturationOptions
from undertow_probes.saturation import Saturation


def test_the_derivative_of_a_gate_by_mean_and_by_root_mean_square(make_subject) -> None:
    subject = make_subject("rnn", hidden=2, length=20)
    (cell,) = subject.model.layers
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.b_W.copy_(torch.tensor([0.5, 3.0]))  # tanh 3 is 0.995
    slopes = [1 - math.tanh(bias) ** 2 for bias in (0.5, 3.0)]
    measurement = Saturation(SaturationOptions()).measure(subject)
    assert measurement.scalars["saturation/h"] == pytest.approx(0.5)
    assert measurement.scalars["saturation/h/derivative"] == pytest.approx(sum(slopes) / 2)
    root_mean_square = math.sqrt(sum(slope**2 for slope in slopes) / 2)
    assert measurement.scalars["saturation/h/derivative_rms"] == pytest.approx(root_mean_square)
    assert measurement.curves["saturation/h/by_time"].values == pytest.approx([0.5] * 20)


def test_of_several_layers_the_root_is_taken_of_the_mean_square(make_subject) -> None:
    subject = make_subject("rnn", hidden=3, layers=2, length=20)
    with torch.no_grad():
        for cell, bias in zip(subject.model.layers, (0.0, 1.0), strict=True):
            for parameter in cell.parameters():
                parameter.zero_()
            cell.b_W.fill_(bias)
    scalars = Saturation(SaturationOptions()).measure(subject).scalars
    second = 1 - math.tanh(1.0) ** 2
    assert scalars["saturation/h/layer0/derivative_rms"] == 1
    assert scalars["saturation/h/layer1/derivative_rms"] == pytest.approx(second)
    assert scalars["saturation/h/derivative_rms"] == pytest.approx(math.sqrt((1 + second**2) / 2))


@pytest.mark.parametrize(
    ("kind", "function", "slope"),
    [
        ("exp", torch.exp, torch.exp),
        ("softplus", torch.nn.functional.softplus, torch.sigmoid),
    ],
)
def test_a_gate_without_an_upper_limit_saturates_at_0_alone(make_subject, kind: str, function, slope) -> None:
    subject = make_subject("rnn", hidden=3, length=20)
    (cell,) = subject.model.layers
    before = torch.tensor([-4.0, -2.0, 30.0])  # e^-4 is 0.018, e^-2 0.135
    cell.gates = lambda z, state: {"g": (function(before).expand(*z.shape[:-1], 3), kind)}
    scalars = Saturation(SaturationOptions()).measure(subject).scalars
    assert scalars["saturation/g"] == pytest.approx(1 / 3)
    assert scalars["saturation/g/derivative"] == pytest.approx(slope(before).mean().item())
