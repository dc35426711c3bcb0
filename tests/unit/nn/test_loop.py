"""The time loop and the network: pieces equal the whole, scans equal steps, a probe has no effect on training."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from undertow.api.contract import Tokens, Vector
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
from undertow.nn import SequenceModel, build_model, build_task, isolated, trajectory, unroll, unroll_by_steps
from undertow.plugins.host import load_plugins

REGISTRY = load_plugins()
CELLS = ("rnn", "lstm", "gru", "ugrnn")


def make_cell(name: str, inputs: int = 3, hidden: int = 5):
    torch.manual_seed(0)
    spec = REGISTRY.cell(name)
    return REGISTRY.factory(spec)(inputs, hidden, spec.options(), 20).double()


@pytest.mark.parametrize("name", CELLS)
def test_scan_equals_steps(name: str) -> None:
    cell = make_cell(name)
    x_TBI = torch.randn(20, 4, 3, dtype=torch.float64)
    y, state = unroll(cell, x_TBI, cell.initial_state(4))
    y_steps, state_steps = unroll_by_steps(cell, x_TBI, cell.initial_state(4))
    torch.testing.assert_close(y, y_steps, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(state, state_steps, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", CELLS)
def test_running_in_pieces_equals_running_whole(name: str, layers: int) -> None:
    cells = [make_cell(name)] + [make_cell(name, 5) for _ in range(layers - 1)]
    model = SequenceModel(cells, inputs=Vector(3), output_size=2, shape="aligned").double()
    x_TBI = torch.randn(17, 4, 3, dtype=torch.float64)
    whole, last = model.advance(x_TBI, model.initial_state(4))
    state, pieces = model.initial_state(4), []
    for piece in x_TBI.split([1, 6, 3, 7]):
        y, state = model.advance(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_trajectory_is_the_state_before_every_step(name: str) -> None:
    cell = make_cell(name)
    x_TBI = torch.randn(6, 2, 3, dtype=torch.float64)
    states = trajectory(cell, x_TBI, cell.initial_state(2))
    for step in range(6):
        _, expected = unroll(cell, x_TBI[:step], cell.initial_state(2)) if step else (None, cell.initial_state(2))
        for part, value in zip(states, expected, strict=True):
            torch.testing.assert_close(part[step], value, rtol=1e-12, atol=1e-14)


def test_aligned_output_decodes_every_step_and_many_to_one_the_last() -> None:
    cell = make_cell("gru").float()
    aligned = SequenceModel([cell], inputs=Vector(3), output_size=2, shape="aligned")
    last = SequenceModel([cell], inputs=Vector(3), output_size=2, shape="many-to-one")
    last.load_state_dict(aligned.state_dict())
    x = torch.randn(4, 9, 3)
    assert aligned(x).shape == (4, 9, 2)
    torch.testing.assert_close(last(x), aligned(x)[:, -1])


def test_tokens_are_embedded() -> None:
    model = SequenceModel([make_cell("rnn").float()], inputs=Tokens(7), output_size=2, shape="aligned")
    assert model(torch.randint(7, (4, 9))).shape == (4, 9, 2)


def test_isolated_restores_modes_buffers_and_random_states() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.LSTM(3, 3))
    model.train()
    model[1].eval()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = (torch.rand(1), random.random(), np.random.rand())
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with isolated(model):
        assert not model[0].training
        assert model[2].training  # cuDNN has no backward otherwise
        model[0].train()(torch.randn(8, 3))
        torch.rand(3), random.random(), np.random.rand()
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


BROKEN = {
    "two parts for one": ("return (z, z)", r"step returned 2 parts, expected a tuple of 1: \('h',\)"),
    "wrong width": ("return (z[:, :1],)", r"step, state part `h` has shape \(2, 1\), expected \(2, 4\)"),
    "not a tensor": ("return (1.0,)", r"step, state part `h` returned float, expected a tensor"),
    "raises": ("raise KeyError('w')", r"a first step fails: KeyError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_cell_that_breaks_its_contract_is_refused_with_what_it_returned(case: str, tmp_path) -> None:
    body, message = BROKEN[case]
    plugin = tmp_path / f"broken_{case.replace(' ', '_')}.py"
    plugin.write_text(
        "import torch\n"
        "from undertow import Cell, CellSpec, hookimpl\n"
        "class Broken(Cell):\n"
        "    def initial_state(self, batch_size):\n"
        "        return (torch.zeros(batch_size, self.hidden_size),)\n"
        f"    def step(self, z, state):\n        {body}\n"
        "@hookimpl\n"
        "def undertow_register_cells():\n"
        "    return [CellSpec(name='broken', summary='x', factory=':Broken', state=('h',))]\n"
    )
    registry = load_plugins(files=[plugin])
    config = ExperimentConfig.model_validate(
        {"task": {"name": "adding", "length": 10}, "cell": {"name": "broken", "hidden_size": 4}}
    )
    loaded = LoadedExperiment(config, registry)
    with pytest.raises(RequestError, match=message):
        build_model(loaded, build_task(loaded))
