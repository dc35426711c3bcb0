"""Every shipped cell against the kit, as its spec has it and with each of the options that change what it computes."""

from typing import Any

import pytest
import torch

from undertow.contract import Cell
from undertow.plugins import load_plugins
from undertow.testing import CellConformance

REGISTRY = load_plugins()
SHIPPED = [name for name, entry in REGISTRY.cells.items() if entry.plugin.distribution.startswith("undertow-")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "rnn": [
        {"nonlinearity": "relu", "recurrent_init": "identity"},
        {"recurrent_init": "orthogonal", "recurrent_scale": 1.5, "input_scale": 4.0},
    ],
    "lstm": [{"chrono": True, "recurrent_init": "orthogonal"}, {"forget_bias": None}],
    "gru": [{"recurrent_init": "orthogonal"}],
    "ugrnn": [{"gate_bias": -1.0}],
}
"""Options that are not the defaults; a start alone may make a cell another, as chrono does."""


def cases() -> list[Any]:
    made = []
    for name in SHIPPED:
        for options in ({}, *VARIANTS.get(name, ())):
            said = ",".join(f"{key}={value}" for key, value in options.items())
            made.append(pytest.param((name, options), id=f"{name}({said})" if options else name))
    return made


class TestShippedCell(CellConformance):
    @pytest.fixture(autouse=True, params=cases())
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name, self.options = request.param

    def test_learns_to_add(self) -> None:
        if self.options:
            pytest.skip("with the defaults only: a start to study is not one to train from")
        super().test_learns_to_add()


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
