"""Networks with blocks and with a second direction, against their formulas. B batch, T time, H hidden, C readout."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Batch, Options, UndertowError, Vector
from undertow.config.load import load_mapping
from undertow.nn import SequenceModel, build_model, build_task, unroll_by_steps
from undertow.nn.omega import omega
from undertow.plugins.host import load_plugins

B, T, H = 3, 7, 6
REGISTRY = load_plugins()

WIDE = """
import torch
from undertow import Cell, CellSpec, hookimpl

class Wide(Cell):
    output_size = 4
    def initial_state(self, batch_size):
        return (torch.zeros(batch_size, self.hidden_size),)
    def step(self, z, state):
        return (0.5 * state[0] + z.sum(-1, keepdim=True),)
    def readout(self, z, state):
        return state[0][:, :4]

@hookimpl
def undertow_register_cells():
    yield CellSpec(name="wide", summary="Its readout has 4 numbers", factory=":Wide", state=("h",))
"""


def network(
    *overrides: str, task: str = "adding", cell: str = "ugrnn", length: int = T, dtype: torch.dtype = torch.float64
) -> tuple[Any, Batch]:
    """The network of a configuration in evaluation mode, and one batch of its task."""
    base = {"task": {"name": task, "length": length}, "cell": {"name": cell, "hidden_size": H, "layers": 2}}
    loaded = load_mapping(base, overrides)
    torch.manual_seed(0)
    built = build_task(loaded)
    model = build_model(loaded, built).to(dtype).eval()
    batch = built.batch("val", torch.arange(B).numpy())
    return model, Batch(*(each.to(dtype) if each.is_floating_point() else each for each in batch))


def layer_norm(x: Tensor, norm: nn.Module) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return norm.weight * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() + norm.bias


def rms_norm(x: Tensor, norm: nn.Module) -> Tensor:
    return norm.weight * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def residual(block: nn.Module, u: Tensor) -> Tensor:
    return u @ block.out.weight.T


def glu(block: nn.Module, u: Tensor) -> Tensor:
    u = u * 0.5 * (1 + torch.erf(u / 2**0.5))
    W1, W2 = block.out.weight.chunk(2)
    b1, b2 = block.out.bias.chunk(2)
    return (u @ W1.T + b1) / (1 + torch.exp(-(u @ W2.T + b2)))


NORMS = {"layer": layer_norm, "rms": rms_norm}
BLOCKS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {"residual": residual, "glu": glu}


def randomised(model: SequenceModel) -> None:
    """Norms start as 1 and 0; with these weights each has an effect."""
    torch.manual_seed(1)
    for parameter in model.blocks.parameters():
        nn.init.normal_(parameter)


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_computes_its_formula_after_one_projection(block: str, norm: str) -> None:
    model, batch = network(f"cell.block={block}", f"cell.norm={norm}")
    randomised(model)
    y_TBH = functional.linear(batch.input.transpose(0, 1), model.projection.weight, model.projection.bias)
    for cell, each in zip(model.cells, model.blocks, strict=True):
        u_TBC, _ = unroll_by_steps(cell, NORMS[norm](y_TBH, each.norm), cell.initial_state(B))
        y_TBH = y_TBH + BLOCKS[block](each, u_TBC)
    expected = functional.linear(y_TBH[-1], model.head.weight, model.head.bias)
    torch.testing.assert_close(model(batch.input), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", ["plain", *BLOCKS])
def test_in_pieces_and_by_single_steps_equals_whole(block: str) -> None:
    model, batch = network(f"cell.block={block}", cell="lstm")
    randomised(model)
    x_TBI = model.encode(batch.input)
    whole_TBH, last = model.advance(x_TBI, model.initial_state(B))
    first_TBH, state = model.advance(x_TBI[:3], model.initial_state(B))
    rest_TBH, in_pieces = model.advance(x_TBI[3:], state)
    stepped, state = [], model.initial_state(B)
    for x_BI in x_TBI:
        y_BH, state = model.step(x_BI, state)
        stepped.append(y_BH)
    for y_TBH, end in ((torch.cat([first_TBH, rest_TBH]), in_pieces), (torch.stack(stepped), state)):
        torch.testing.assert_close(y_TBH, whole_TBH, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(end, last, rtol=1e-12, atol=1e-12)


def test_a_plain_network_has_the_parameters_and_the_draws_of_its_cells_and_head_alone() -> None:
    model, _ = network(cell="gru", dtype=torch.float32)
    spec = REGISTRY.cell("gru")
    factory, options = REGISTRY.factory(spec), spec.options()
    torch.manual_seed(0)
    cells = [factory(2, H, options, T), factory(H, H, options, T)]
    expected = {
        f"cells.{depth}.{name}": value for depth, cell in enumerate(cells) for name, value in cell.state_dict().items()
    }
    expected |= {f"head.{name}": value for name, value in nn.Linear(H, 1).state_dict().items()}
    found = model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("block", ["plain", *BLOCKS])
def test_a_readout_may_have_another_width(block: str, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    model, batch = network(f"cell.block={block}", f"plugins.files=[{tmp_path / 'wide.py'}]", cell="wide")
    assert model(batch.input).shape == (B, 1)
    assert model.layers[1].input_size == model.head.in_features == (4 if block == "plain" else H)


def test_tokens_are_embedded_at_the_width_of_the_blocks_and_projected_no_further() -> None:
    model, batch = network("cell.block=glu", task="copy", length=25)
    assert isinstance(model.projection, nn.Identity)
    assert model.encode(batch.input).shape[-1] == H


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_that_writes_has_blocks(norm: str) -> None:
    model, batch = network("cell.block=glu", f"cell.norm={norm}", task="digit-caption", length=6)
    assert model(batch.input, batch.target).shape == model(batch.input).shape == (*batch.target.shape, model.start)


def test_dropout_leaves_out_what_passes_by_the_cell() -> None:
    """With all that the upper cell reads dropped, the upper block still passes on the layer below."""
    model, batch = network("cell.block=residual", "cell.dropout=0.5")
    model.dropout = nn.Dropout(1.0)
    model.train()
    _, upper = model.cell_inputs(model.encode(batch.input))
    assert upper.abs().max() == 0
    assert model(batch.input).std() > 0.01


def test_omega_differentiates_the_steps_of_cells_in_blocks() -> None:
    model, batch = network("cell.block=glu")
    x_TBI = model.encode(batch.input)
    y_TBH, runs = model.projection(x_TBI), []
    for cell, block in zip(model.cells, model.blocks, strict=True):
        z_TB, states, readouts = cell.project(block.before(y_TBH)), [cell.initial_state(B)], []
        for z in z_TB:
            states.append(cell.step(z, states[-1]))
            readouts.append(cell.readout(z, states[-1]))
        y_TBH = block.after(y_TBH, torch.stack(readouts))
        runs.append((cell, z_TB, [h for (h,) in states[1:]]))
    loss, expected = model.decode(y_TBH[-1]).sum(), 0.0
    for cell, z_TB, states in runs:
        arriving = torch.autograd.grad(loss, states, retain_graph=True)
        for k in range(T - 1):
            h = states[k].detach().requires_grad_()
            (passed_on,) = torch.autograd.grad(cell.step(z_TB[k + 1].detach(), (h,))[0], h, arriving[k + 1])
            expected += (passed_on.norm(dim=1) / arriving[k + 1].norm(dim=1) - 1).square().sum() / B
    found = omega(model, x_TBI, lambda y_TBH: model.decode(y_TBH[-1]).sum())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_linear_layers_learn_parity_in_gated_blocks_and_never_without() -> None:
    """All strings of five bits. Without blocks the output is a sum of one term a position, whose best loss is ln 2."""
    bits_BT1 = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5))).unsqueeze(-1)
    odd_B = bits_BT1.sum((1, 2)).long() % 2
    spec, lowest = REGISTRY.cell("lru"), {}
    for block, steps in (("plain", 60), ("glu", 300)):
        torch.manual_seed(0)
        around = REGISTRY.factory(REGISTRY.block(block))
        model = SequenceModel(
            [REGISTRY.factory(spec)(width, 16, spec.options(), 5) for width in (1 if block == "plain" else 16, 16)],
            inputs=Vector(1),
            output_size=2,
            shape="many-to-one",
            blocks=[around(16, 16, Options(), nn.LayerNorm) for _ in range(2)],
        )
        optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), [math.inf]
        while len(losses) <= steps and losses[-1] > 0.1:
            loss = functional.cross_entropy(model(bits_BT1), odd_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        lowest[block] = min(losses)
    assert lowest["glu"] < 0.1
    assert lowest["plain"] > math.log(2) - 1e-5


# --- both directions --------------------------------------------------------------------------------------------------


def torch_weights(cell: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in cell.kernel.named_parameters()}


@pytest.mark.parametrize("layers", [1, 3])
def test_a_plain_bidirectional_lstm_equals_that_of_torch(layers: int) -> None:
    model, batch = network("cell.bidirectional=true", f"cell.layers={layers}", cell="lstm")
    theirs = nn.LSTM(2, H, num_layers=layers, bidirectional=True).double()
    with torch.no_grad():
        for direction, cells in (("", model.cells), ("_reverse", model.backward_cells)):
            for depth, cell in enumerate(cells):
                for name, value in torch_weights(cell).items():
                    getattr(theirs, name.replace("_l0", f"_l{depth}{direction}")).copy_(value)
    _, (h_NBH, _) = theirs(batch.input.transpose(0, 1))
    expected = model.decode(torch.cat([h_NBH[-2], h_NBH[-1]], -1))
    torch.testing.assert_close(model(batch.input), expected, rtol=1e-12, atol=1e-12)


def test_a_block_maps_the_readouts_of_both_directions() -> None:
    model, batch = network("cell.bidirectional=true", "cell.block=glu")
    randomised(model)
    y_TBH = model.projection(batch.input.transpose(0, 1))
    for depth, block in enumerate(model.blocks):
        read_TBH = layer_norm(y_TBH, block.norm)
        forwards, backwards = model.cells[depth], model.backward_cells[depth]
        u_TBC, _ = unroll_by_steps(forwards, read_TBH, forwards.initial_state(B))
        v_TBC, _ = unroll_by_steps(backwards, read_TBH.flip(0), backwards.initial_state(B))
        v_TBC = v_TBC.flip(0)
        if depth == 1:
            u_TBC, v_TBC, y_TBH = u_TBC[-1:], v_TBC[:1], y_TBH[-1:]
        y_TBH = y_TBH + glu(block, torch.cat([u_TBC, v_TBC], -1))
    torch.testing.assert_close(model(batch.input), model.decode(y_TBH[0]), rtol=1e-12, atol=1e-12)


def test_a_bidirectional_network_has_no_state_between_two_pieces() -> None:
    model, batch = network("cell.bidirectional=true")
    x_TBI = model.encode(batch.input)
    _, state = model.advance(x_TBI, model.initial_state(B))
    assert state == ()
    for start, after in ((state, 0), (model.initial_state(B), 1)):
        with pytest.raises(UndertowError, match="runs a whole sequence at once"):
            model.advance(x_TBI, start, after)


def test_a_backward_cell_reads_the_last_step_first() -> None:
    model, batch = network("cell.bidirectional=true")
    x_TBI = model.encode(batch.input)
    forwards, backwards, *_ = model.cell_inputs(x_TBI)
    assert torch.equal(forwards, x_TBI)
    assert torch.equal(backwards, x_TBI.flip(0))
    assert model.layers == [model.cells[0], model.backward_cells[0], model.cells[1], model.backward_cells[1]]
