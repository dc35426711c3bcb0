"""The cost of a network against counts by hand."""

from dataclasses import replace

import pytest
import torch

from undertow import Options
from undertow.plugins.host import load_plugins
from undertow_probes.cost import Cost

CELLS = [name for name, entry in load_plugins().cells.items() if entry.plugin.distribution == "undertow-cells"]
INPUT, H, OUTPUT, T = 2, 6, 1, 40  # the adding task


def measure(subject) -> dict[str, float]:
    return dict(Cost(Options()).measure(subject).scalars)


@pytest.mark.parametrize(("cell", "gates", "parts"), [("rnn", 1, 1), ("gru", 3, 1), ("lstm", 4, 2)])
def test_parameters_state_and_products_are_as_counted_by_hand(cell, gates, parts, make_subject) -> None:
    scalars = measure(make_subject(cell))
    assert scalars["cost/cell_parameters"] == gates * H * (INPUT + H + 2)
    assert scalars["cost/parameters"] == scalars["cost/cell_parameters"] + (H + 1) * OUTPUT
    assert scalars["cost/state"] == parts * H
    assert scalars["cost/flops"] == 2 * gates * H * (INPUT + H)


def test_layers_add_up(make_subject) -> None:
    scalars = measure(make_subject("lstm", layers=2))
    assert scalars["cost/cell_parameters"] == 4 * H * (INPUT + H + 2) + 4 * H * (H + H + 2)
    assert scalars["cost/state"] == 4 * H
    assert scalars["cost/flops"] == 2 * 4 * H * (INPUT + H) + 2 * 4 * H * (H + H)


@pytest.mark.parametrize("cell", CELLS)
def test_the_products_of_an_example_do_not_depend_on_the_batch(cell: str, make_subject) -> None:
    one, many = (measure(make_subject(cell, length=10, examples=examples)) for examples in (1, 128))
    assert one["cost/flops"] == many["cost/flops"] > 0


def test_a_product_of_weights_is_not_counted_for_every_example(make_subject) -> None:
    """W (W_u x) is computed as (W W_u) x: 2H × I for the gates, H × I for u."""
    assert measure(make_subject("rg-lru"))["cost/flops"] == 2 * (2 * H + H) * INPUT


def test_speed_is_that_of_training(make_subject) -> None:
    subject = make_subject("rnn")
    assert not {name for name in measure(subject) if "per_second" in name}
    scalars = measure(replace(subject, seconds_per_step=0.25, batch_size=32))
    assert scalars["cost/steps_per_second"] == 4
    assert scalars["cost/sequence_steps_per_second"] == 32 * T * 4


def test_activations_of_an_example_grow_with_the_length_and_not_with_the_batch(make_subject) -> None:
    short, long = (measure(make_subject("ugrnn", length=T)) for T in (20, 80))
    assert long["cost/activation_bytes"] / short["cost/activation_bytes"] == pytest.approx(4.0, rel=0.1)
    many = measure(make_subject("ugrnn", length=20, examples=50))
    assert many["cost/activation_bytes"] == pytest.approx(short["cost/activation_bytes"], rel=0.1)
    assert short["cost/activation_bytes"] >= 8 * 20 * H  # the states alone, in 64 bits
    assert short["cost/peak_bytes"] > 1e6


@pytest.mark.parametrize(("task", "length"), [("copy", 25), ("digits-by-pixel", 64), ("digit", 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_task(task, length, dtype, make_subject, is_recordable, leaves_no_trace) -> None:
    subject = make_subject("lstm", task, length=length, layers=2, dtype=dtype)
    is_recordable(Cost(Options()).measure(subject))
    leaves_no_trace(Cost(Options()), subject)
