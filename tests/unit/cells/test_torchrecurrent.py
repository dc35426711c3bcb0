"""The cells of torchrecurrent: that the wrapper changes nothing, and how they differ from those of undertow-cells."""

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchrecurrent
from torch import Tensor, nn

from undertow import Cell, RequestError, State
from undertow.config.schema import ExperimentConfig
from undertow.nn import unroll
from undertow.plugins.host import load_plugins
from undertow_torchrecurrent.table import TABLE, Line

REGISTRY = load_plugins(allow=["undertow-cells", "undertow-torchrecurrent"], strict=True)
LINES = pytest.mark.parametrize("line", TABLE, ids=[line.name for line in TABLE])
T, B, IN, H = 7, 3, 2, 4


def build(name: str, options: dict[str, Any] | None = None, width: int = IN) -> Any:
    spec = REGISTRY.cell(name)
    torch.manual_seed(0)
    cell: Cell = REGISTRY.factory(spec)(width, H, spec.options.model_validate(options or {}), T)
    return cell.double().eval()


def adapted(line: Line, options: dict[str, Any] | None = None) -> Any:
    return build(f"torchrecurrent/{line.name}", options, H if line.name == "intersection-rnn" else IN)


def noise(cell: Cell) -> Tensor:
    return torch.randn(T, B, cell.input_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# --- the adapter -----------------------------------------------------------------------------------------------------


def test_every_exported_cell_is_registered_once() -> None:
    exported = sorted(name for name in torchrecurrent.__all__ if name.endswith("Cell"))
    assert sorted(line.cell for line in TABLE) == exported
    assert len({line.name for line in TABLE}) == len(TABLE) == 41


@LINES
def test_options_are_the_arguments_of_the_library(line: Line) -> None:
    parameters = inspect.signature(getattr(torchrecurrent, line.cell)).parameters
    numbers = {name: each.default for name, each in parameters.items() if isinstance(each.default, float | str)}
    initialisers = [name for name in parameters if name.endswith("_init") and name not in numbers]
    other = ["input_size", "hidden_size", "device", "dtype", *initialisers]
    expected = {name: each.default for name, each in parameters.items() if name not in other}
    if line.name == "tau-gru":
        expected["delay"] = inspect.signature(torchrecurrent.tauGRU).parameters["delay"].default
    if line.name == "unicornn":
        expected.pop("control_kernel_init")  # an initialiser given by name
    assert line.options().model_dump() == expected
    assert all(field.description for field in line.options.model_fields.values())


@LINES
@torch.no_grad()
def test_output_equals_the_library_whole_and_in_pieces(line: Line) -> None:
    _compare_with_library(line, {}, {})


@torch.no_grad()
def test_delayed_state_is_that_of_the_library() -> None:
    (line,) = (line for line in TABLE if line.name == "tau-gru")
    _compare_with_library(line, {"delay": 3}, {"delay": 3})


def _compare_with_library(line: Line, options: dict[str, Any], layer_options: dict[str, Any]) -> None:
    cell = adapted(line, options)
    layer = getattr(torchrecurrent, line.cell.removesuffix("Cell"))(cell.input_size, H, **layer_options).double()
    layer.cells[0].load_state_dict(cell.cell.state_dict())
    x_TBI = noise(cell)
    expected_TBH, _ = layer(x_TBI)
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(B))
    torch.testing.assert_close(y_TBH, expected_TBH, rtol=0, atol=1e-14)
    first_TBH, state = unroll(cell, x_TBI[:3], cell.initial_state(B))
    second_TBH, last = unroll(cell, x_TBI[3:], state)
    torch.testing.assert_close(torch.cat([first_TBH, second_TBH]), expected_TBH, rtol=0, atol=1e-14)
    assert len(last) == len(line.state)
    assert expected_TBH.any()


def test_every_weight_of_the_library_is_trained() -> None:
    for line in TABLE:
        cell = adapted(line)
        y_TBH, _ = unroll(cell, noise(cell), cell.initial_state(B))
        y_TBH.square().sum().backward()
        assert [name for name, each in cell.named_parameters() if each.grad is None] == [], line.name


def test_cell_that_needs_equal_widths_names_both_in_the_error() -> None:
    with pytest.raises(RequestError, match=r"torchrecurrent/intersection-rnn.*input_size=2, hidden_size=4"):
        build("torchrecurrent/intersection-rnn")


def test_missing_library_is_named_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrecurrent", None)
    with pytest.raises(RequestError, match=r"torchrecurrent is not installed: pip install undertow-torchrecurrent"):
        REGISTRY.factory(REGISTRY.cell("torchrecurrent/lem"))


def test_unknown_class_is_no_attribute() -> None:
    from undertow_torchrecurrent import cells

    assert not hasattr(cells, "NoSuchCell")
    assert cells.LEMCell is cells.LEMCell


def test_slash_in_the_cell_name_is_replaced_in_the_run_name() -> None:
    options = {"torchrecurrent/lem": {"dt": 0.5}}
    section = {"name": "torchrecurrent/lem", "options": options}
    config = ExperimentConfig.model_validate({"task": {"name": "adding", "length": 9}, "cell": section})
    assert re.fullmatch(r"[a-z0-9A-Z-]+", config.run_name)
    assert config.run_name == "torchrecurrent-lem-T9-s0"


# --- against the cells of undertow-cells -----------------------------------------------------------------------------

Weights = dict[str, Tensor]


def _rows(weight: Tensor, order: str, ours: str) -> Tensor:
    """Blocks of rows that are stacked in the order `ours`, restacked in `order`."""
    blocks = dict(zip(ours, weight.chunk(len(ours)), strict=True))
    return torch.cat([blocks[letter] for letter in order])


def _stacked(order: str, ours: str) -> Callable[[Any], Weights]:
    """For cells that differ in the order of their gates alone; a gate without a recurrent matrix is the last one."""

    def weights(cell: Any) -> Weights:
        named = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias_ih": cell.bias}
        return {
            name: _rows(weight, order[: len(weight) // H], ours[: len(weight) // H]) for name, weight in named.items()
        }

    return weights


def _antisymmetric(cell: Any) -> Weights:
    M_HH = cell.weight().t() + cell.gamma * torch.eye(H, dtype=torch.float64)
    return {"weight_ih": cell.weight_ih, "weight_hh": M_HH.triu(1), "bias_ih": cell.bias}


def _brc(cell: Any) -> Weights:
    return {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh.view(-1), "bias_ih": cell.bias}


def _mingru(cell: Any) -> Weights:
    """Its gate is the share that is written, the library's the share that is kept: 1 - σ(a) = σ(-a)."""
    stacked = {"weight_ih": cell.weight, "bias_ih": cell.bias}
    return {name: torch.cat([new, -gate]) for name, (gate, new) in ((n, each.chunk(2)) for n, each in stacked.items())}


def _cornn(cell: Any) -> Weights:
    U_HH, V_HH = cell.weight_hh.chunk(2, 1)
    return {"weight_ih": cell.weight_ih, "weight_hh": U_HH, "weight_ch": V_HH, "bias_ih": cell.bias}


def _fastgrnn(cell: Any) -> Weights:
    scalars = {"zeta": cell.zeta.view(1), "nu": cell.nu.view(1)}
    return {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias_ih": cell.bias.view(-1), **scalars}


def _indrnn(cell: Any) -> Weights:
    return {"weight_ih": cell.weight_ih, "vector_u": cell.weight_hh, "bias_ih": cell.bias}


def _janet(cell: Any) -> Weights:
    return {**_stacked("fn", "fn")(cell), "beta": torch.tensor(cell.beta)}


def _lem(cell: Any) -> Weights:
    return {
        "weight_ih": _rows(cell.weight_ih, "bazy", "abzy"),  # a for the step of z, b for that of y
        "weight_hh": _rows(cell.weight_hh, "baz", "abz"),
        "weight_ch": cell.weight_zy,
        "bias_ih": _rows(cell.bias, "bazy", "abzy"),
    }


def _mgu(cell: Any) -> Weights:
    weight_hh = torch.cat([cell.weight_hf, cell.weight_hn])
    return {"weight_ih": cell.weight_ih, "weight_hh": weight_hh, "bias_ih": cell.bias}


def _peephole(cell: Any) -> Weights:
    weight_ph = torch.cat([cell.peephole_if.view(-1), cell.peephole_o])
    return {**_stacked("ifgo", "ifgo")(cell), "weight_ph": weight_ph}


def _unicornn(cell: Any) -> Weights:
    return {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "weight_ch": cell.pace, "bias_ih": cell.bias}


_EULER = {"epsilon": 0.1, "gamma": 0.01}
PAIRS: dict[str, tuple[str, dict[str, Any], dict[str, Any], Callable[[Any], Weights]]] = {
    "antisymmetric-rnn": ("antisymmetric", _EULER, _EULER, _antisymmetric),
    "gated-antisymmetric-rnn": ("antisymmetric", {"gated": True, **_EULER}, _EULER, _antisymmetric),
    "brc": ("brc", {"recurrent_weight": 0.7}, {}, _brc),
    "nbrc": ("nbrc", {}, {}, _stacked("acn", "acn")),
    "cornn": ("cornn", {}, {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7}, _cornn),
    "fastgrnn": ("fastgrnn", {}, {"nonlinearity": "sigmoid"}, _fastgrnn),
    "indrnn": ("indrnn", {}, {"nonlinearity": "relu"}, _indrnn),
    "janet": ("janet", {}, {}, _janet),
    "mgu": ("mgu", {}, {}, _mgu),
    "original-lstm": ("lstm-no-forget", {}, {}, _stacked("igo", "iog")),
    "peephole-lstm": ("lstm-peephole", {}, {}, _peephole),
    "trnn": ("mingru", {}, {}, _mingru),
    "ugrnn": ("ugrnn", {}, {}, _stacked("cg", "gc")),
    "unicornn": ("unicornn", {}, {"dt": 0.19, "alpha": 30.65}, _unicornn),
}
"""Library's name -> ours, our options and theirs that make both one formula, and our weights by the library's names."""


def both(theirs: str, ours: str, own: dict[str, Any], others: dict[str, Any], weights: Any) -> tuple[Any, Any]:
    """Our cell with random biases, and the library's with the same weights; its additional biases are zero."""
    cell, other = build(ours, own), build(f"torchrecurrent/{theirs}", others)
    nn.init.normal_(cell.bias)
    state = {name: torch.zeros_like(value) for name, value in other.cell.state_dict().items()}
    other.cell.load_state_dict(state | weights(cell))
    return cell, other


def max_difference(cell: Any, other: Any) -> float:
    """The largest difference of the outputs of both cells, from their initial states."""
    with torch.no_grad():
        x_TBI = noise(cell)
        y_TBH, other_TBH = (unroll(each, x_TBI, each.initial_state(B))[0] for each in (cell, other))
    assert y_TBH.any()
    return float((y_TBH - other_TBH).abs().max())


@pytest.mark.parametrize("theirs", PAIRS)
@torch.no_grad()
def test_cells_in_both_libraries_have_the_same_formula(theirs: str) -> None:
    assert max_difference(*both(theirs, *PAIRS[theirs])) < 1e-12


@torch.no_grad()
def test_library_lem_updates_its_state_with_the_old_memory() -> None:
    cell, other = both("lem", "lem", {}, {}, _lem)
    x_BI = noise(cell)[0]
    state: State = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(2))
    ours, theirs = cell.step(cell.project(x_BI[None])[0], state), other.step(x_BI, state)
    torch.testing.assert_close(theirs[1], ours[1], rtol=0, atol=1e-14)  # the memories are equal

    h_BH, c_BH = state
    _, d_bar, _ = (h_BH @ cell.weight_hh.t() + cell.project(x_BI[None])[0][:, : 3 * H]).chunk(3, 1)
    candidate_BH = (c_BH @ cell.weight_zy.t() + cell.project(x_BI[None])[0][:, 3 * H :]).tanh()
    torch.testing.assert_close(theirs[0], h_BH.lerp(candidate_BH, d_bar.sigmoid()), rtol=0, atol=1e-14)
    assert (theirs[0] - ours[0]).abs().max() > 1e-2


@torch.no_grad()
def test_library_fastgrnn_has_a_gate_with_negative_values() -> None:
    cell, other = both("fastgrnn", "fastgrnn", {}, {}, _fastgrnn)
    assert max_difference(cell, other) > 1e-2
    assert REGISTRY.cell("torchrecurrent/fastgrnn").options().model_dump()["nonlinearity"] == "tanh"


@torch.no_grad()
def test_library_scrn_reads_its_output_and_not_its_hidden_layer() -> None:
    """The paper and the library's own equations have s = σ(W x + U s + P c'), y = tanh(V s + Q c')."""
    cell = build("torchrecurrent/scrn")
    w, x_TBI = cell.cell, noise(cell)
    outputs = {}
    for fed_back in ("output", "hidden layer"):
        back = c = torch.zeros(B, H, dtype=torch.float64)
        outputs[fed_back] = []
        for x_BI in x_TBI:
            of_context, of_hidden = (x_BI @ w.weight_ih.t() + w.bias_ih).chunk(2, 1)
            c = (1 - w.alpha) * of_context + w.alpha * c
            P, Q = (c @ w.weight_ch.t() + w.bias_ch).chunk(2, 1)
            (U, V), (b_U, b_V) = w.weight_hh.chunk(2), w.bias_hh.chunk(2)
            s = torch.sigmoid(of_hidden + back @ U.t() + b_U + P)
            y = torch.tanh(s @ V.t() + b_V + Q)
            back = y if fed_back == "output" else s
            outputs[fed_back].append(y)
    y_TBH, _ = unroll(cell, x_TBI, cell.initial_state(B))
    torch.testing.assert_close(y_TBH, torch.stack(outputs["output"]), rtol=0, atol=1e-14)
    assert (y_TBH - torch.stack(outputs["hidden layer"])).abs().max() > 1e-2


@torch.no_grad()
def test_library_nas_adds_where_the_authors_code_multiplies() -> None:
    """The authors' NASCell, of TensorFlow, has relu(W x * U h) in its fourth place; all others are sums."""
    cell = build("torchrecurrent/nas")
    w, x_BI = cell.cell, noise(cell)[0]
    h, c = (torch.randn(B, H, dtype=torch.float64) for _ in range(2))
    of_x, of_h = x_BI @ w.weight_ih.t() + w.bias_ih, h @ w.weight_hh.t() + w.bias_hh
    a = list((of_x + of_h).chunk(8, 1))
    (after, memory) = cell.step(x_BI, (h, c))
    for fourth, equal in ((a[3], True), (of_x.chunk(8, 1)[3] * of_h.chunk(8, 1)[3], False)):
        kept = torch.tanh(torch.tanh(a[0].sigmoid() * a[1].relu()) + c) * torch.tanh(a[2].sigmoid() + fourth.relu())
        mixed = torch.tanh(torch.tanh(a[4].tanh() * a[5].sigmoid()) + torch.sigmoid(a[6].tanh() + a[7].sigmoid()))
        assert torch.allclose(memory, kept, rtol=0, atol=1e-14) is equal
        assert torch.allclose(after, torch.tanh(kept * mixed), rtol=0, atol=1e-14) is equal


def test_library_janet_trains_beta() -> None:
    cell, other = build("janet"), build("torchrecurrent/janet")
    assert "cell.beta" in dict(other.named_parameters())
    assert "beta" not in dict(cell.named_parameters())


def test_library_indrnn_starts_with_weights_above_one() -> None:
    spec = REGISTRY.cell("torchrecurrent/indrnn")
    torch.manual_seed(0)
    cell = REGISTRY.factory(spec)(IN, 4096, spec.options(), T)
    assert 0.30 < float((cell.cell.vector_u.detach().abs() > 1).float().mean()) < 0.34  # of a normal number: 0.317
    assert spec.options().model_dump()["nonlinearity"] == "tanh"


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("antisymmetric-rnn", "weight_hh"),
        ("gated-antisymmetric-rnn", "weight_hh"),
        ("atr", "weight_hh"),
        ("brc", "weight_hh"),
        ("indrnn", "vector_u"),
        ("multiplicative-lstm", "weight_mh"),
        ("scrn", "weight_ch"),
        ("peephole-lstm", "weight_ph"),
        ("reslstm", "weight_ph"),
    ],
)
def test_some_library_weights_start_with_the_same_deviation_at_any_size(name: str, weight: str) -> None:
    spec = REGISTRY.cell(f"torchrecurrent/{name}")
    torch.manual_seed(0)
    cell = REGISTRY.factory(spec)(IN, 256, spec.options(), T)
    assert 0.9 < float(getattr(cell.cell, weight).detach().std()) < 1.1
