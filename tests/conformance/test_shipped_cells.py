"""Every shipped cell against the kit, with its default options and with each option that changes what it computes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from undertow.api.contract import Cell
from undertow.plugins.host import load_plugins
from undertow.testing import CellConformance
from undertow.testing.cell._base import IN

REGISTRY = load_plugins()
ADAPTED = {
    "torchrecurrent/fastgrnn": "one state part",
    "torchrecurrent/lem": "two",
    "torchrecurrent/mclstm": "an output beside them",
    "torchrecurrent/tgru": "the last input, of another width",
    "torchrecurrent/tau-gru": "a delayed state",
}
"""One of each kind of the 41 cells of the adapter; `tests/unit/cells/test_torchrecurrent.py` compares all of them with
the library."""
SHIPPED = [
    name
    for name, entry in REGISTRY.cells.items()
    if entry.plugin.distribution.startswith("undertow-")
    and (entry.plugin.distribution != "undertow-torchrecurrent" or name in ADAPTED)
]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "rnn": [
        {"nonlinearity": "relu", "recurrent_init": "identity"},
        {"recurrent_init": "orthogonal", "recurrent_scale": 1.5, "input_scale": 4.0},
        {"input_init": "small"},
    ],
    "lstm": [{"chrono": True, "recurrent_init": "orthogonal"}, {"forget_bias": None}],
    "lstm-coupled": [{"chrono": True}],
    "lstm-layernorm": [{"chrono": True}],
    "ur-lstm": [{"refine": False}, {"forget_init": "chrono"}],
    "lstm-peephole": [{"chrono": True}],
    "gru": [{"recurrent_init": "orthogonal"}, {"reset": "before"}],
    "ugrnn": [{"gate_bias": -1.0}],
    "janet": [{"chrono": False, "forget_bias": 1.0, "beta": 0.0}],
    "slstm": [{"heads": 2, "forget": "exponential", "recurrent_init": "uniform"}, {"forget_init": "linspace"}],
    "clockwork": [{"periods": [1, 3]}],
    "antisymmetric": [{"gated": True}],
    "indrnn": [{"recurrent_init": "long"}, {"recurrent_init": "long-last"}],
    "brc": [{"recurrent_weight": -0.5}],
    "nru": [{"memory_size": 8, "heads": 2, "relu": False}],
    "nbrc": [{"recurrent_init": "glorot"}],
    "orthogonal": [{"map": "cayley", "recurrent_init": "cayley"}],
    "lmu": [{"order": 3, "theta": 5.0}],
    "lru": [{"state_size": 6, "r_min": 0.9, "r_max": 0.99, "max_phase": 0.3}],
    "mingru": [{"candidate": "positive"}],
    "minlstm": [{"candidate": "positive", "forget_bias": 1.0}],
    "rg-lru": [{"init": "released", "first_step": "released"}],
    "s4d": [
        {"init": "inv", "state_size": 2},
        {"init": "legs", "state_size": 3, "dt_min": 0.1, "dt_max": 1.0},
    ],
    "s6": [{"signed": True, "state_size": 3}, {"dt_rank": 3, "dt_min": 0.1, "dt_max": 1.0}],
    "gla": [{"decay": "constant", "heads": 2}, {"key_size": 3, "norm": False, "output_gate": False}],
    "hgrn2": [{"lower_bound": 0.5, "heads": 2, "norm": False}],
    "mlstm": [{"forget": "exponential", "key_size": 3, "norm": True}, {"heads": 2}],
    "deltanet": [{"max_beta": 2, "heads": 2}, {"gated": False, "norm": False, "output_gate": False}],
    "rwkv7": [{"heads": 2, "key_size": 3, "norm": False, "output_gate": False}],
    "sru": [{"activation": "tanh", "rescale": False, "highway_bias": -2.0}, {"version": 2}],
    "torchrecurrent/tau-gru": [{"delay": 3}],
}
"""Options that are not the defaults. Some, such as chrono, change only the initial weights."""


SKIPS = {"no CUDA device", "no scan", "no gates", "with the default options only"}


class ShippedCell(CellConformance):
    def test_learns_to_add(self) -> None:
        if self.options:  # some of them are starts to study, not to train from
            self.skip("with the default options only")
        super().test_learns_to_add()


def cases() -> Iterator[Any]:
    for name in SHIPPED:
        for options in ({}, *VARIANTS.get(name, ())):
            settings = ",".join(f"{key}={value}" for key, value in options.items())
            yield pytest.param(name, options, id=f"{name}({settings})" if options else name)


@pytest.mark.parametrize(("name", "options"), [*cases()])
def test_a_shipped_cell_passes_every_check(
    name: str, options: dict[str, Any], assert_conforms: Callable[..., None]
) -> None:
    assert_conforms(ShippedCell.of(name, options=options), SKIPS)


def test_every_variant_is_of_a_shipped_cell() -> None:
    assert VARIANTS.keys() <= set(SHIPPED)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "ugrnn"])
def test_the_first_state_is_zero_and_the_output_a_state(name: str) -> None:
    spec = REGISTRY.cell(name)
    cell: Cell = REGISTRY.factory(spec)(2, 4, spec.options(), 8)
    assert cell.output_size == cell.hidden_size
    for part in cell.initial_state(3):
        assert part.shape == (3, 4)
        assert not part.any()
    values, _ = next(iter(cell.gates(cell.project(torch.ones(1, 3, 2))[0], cell.initial_state(3)).values()))
    assert values.shape == (3, 4)


class AsWideAsItsInput(CellConformance):
    """The one adapted cell that has as many units as inputs."""

    def build(self, *given: Any, **more: Any) -> Cell:
        return super().build(*given, hidden_size=IN, **more)


@pytest.mark.parametrize("name", [name for name in REGISTRY.cells if name.startswith("torchrecurrent/")])
def test_every_adapted_cell_packs(name: str) -> None:
    kit = AsWideAsItsInput if name == "torchrecurrent/intersection-rnn" else CellConformance
    kit.of(name).test_packs()
