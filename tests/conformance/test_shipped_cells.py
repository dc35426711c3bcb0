"""Every shipped cell against the contract. T time, B batch, I input, H hidden."""

import copy
import io
import pickle

import pytest
import torch

from undertow.contract import Cell
from undertow.nn.loop import trajectory, unroll, unroll_by_steps
from undertow.plugins import load_plugins
from undertow.spec import CellSpec

REGISTRY = load_plugins()
SHIPPED = [entry.spec for entry in REGISTRY.cells.values() if entry.plugin.distribution == "undertow-cells"]
T, B, IN, H = 8, 3, 2, 4

pytestmark = pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.name)


def build(spec: CellSpec, seed: int = 0, dtype: torch.dtype = torch.float64) -> Cell:
    torch.manual_seed(seed)
    return REGISTRY.factory(spec)(IN, H, spec.options(), T).to(dtype)


def some_input(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(T, B, IN, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def some_state(cell: Cell, batch: int = B) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in cell.initial_state(batch))


def equal_to_rounding(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((got - expected).abs().max() <= 1e-12 * expected.abs().max())


def test_its_parameters_hold_everything_it_was_made_with(spec: CellSpec) -> None:
    cell = build(spec)
    assert (cell.input_size, cell.hidden_size, cell.length, cell.options) == (IN, H, T, spec.options())
    assert cell.output_size == H
    assert all(p.requires_grad for p in cell.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_state_is_what_its_spec_names(spec: CellSpec, dtype: torch.dtype) -> None:
    cell = build(spec, dtype=dtype)
    first = cell.initial_state(B)
    y_TBH, last = unroll(cell, some_input(dtype=dtype), first)
    assert y_TBH.shape == (T, B, H)
    assert y_TBH.dtype == dtype
    for state in (first, last, cell.step(cell.project(some_input(dtype=dtype))[0], first)):
        assert isinstance(state, tuple)
        assert len(state) == len(spec.state)
        for part in state:
            assert part.shape == (B, H)
            assert part.dtype == dtype
    assert not any(part.any() for part in first)
    assert len({part.data_ptr() for part in first}) == len(first)


def test_one_seed_gives_one_start_and_another_another(spec: CellSpec) -> None:
    one, same, other = (list(build(spec, seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(p, q) for p, q in zip(one, same, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def test_scan_equals_its_steps(spec: CellSpec) -> None:
    cell, x_TBI = build(spec), some_input()
    y_TBH, state = unroll(cell, x_TBI, some_state(cell))
    stepped_TBH, stepped = unroll_by_steps(cell, x_TBI, some_state(cell))
    assert equal_to_rounding(y_TBH, stepped_TBH)
    assert all(equal_to_rounding(p, q) for p, q in zip(state, stepped, strict=True))


def test_scan_has_the_gradients_of_its_steps(spec: CellSpec) -> None:
    cell, x_TBI = build(spec), some_input().requires_grad_()
    gradients = []
    for way in (unroll, unroll_by_steps):
        state = tuple(part.requires_grad_() for part in some_state(cell))
        y_TBH, last = way(cell, x_TBI, state)
        loss = (y_TBH * torch.arange(T).view(T, 1, 1)).sum() + sum(part.square().sum() for part in last)
        gradients.append(torch.autograd.grad(loss, [x_TBI, *state, *cell.parameters()]))
    assert all(equal_to_rounding(p, q) for p, q in zip(*gradients, strict=True))


@pytest.mark.parametrize("way", [unroll, unroll_by_steps])
@pytest.mark.parametrize("cuts", [(1,), (3, 4), range(1, T)], ids=["once", "twice", "everywhere"])
def test_in_pieces_it_gives_what_it_gives_whole(spec: CellSpec, way, cuts) -> None:
    cell, x_TBI = build(spec), some_input()
    whole_TBH, whole_state = way(cell, x_TBI, some_state(cell))
    state, pieces = some_state(cell), []
    for piece in x_TBI.tensor_split(list(cuts)):
        y_TBH, state = way(cell, piece, state)
        pieces.append(y_TBH)
    assert equal_to_rounding(torch.cat(pieces), whole_TBH)
    assert all(equal_to_rounding(p, q) for p, q in zip(state, whole_state, strict=True))


@pytest.mark.parametrize("way", [unroll, unroll_by_steps])
def test_no_output_depends_on_a_later_input_and_all_later_ones_on_an_earlier(spec: CellSpec, way) -> None:
    cell, x_TBI = build(spec), some_input()
    changed_TBI = x_TBI.clone()
    changed_TBI[5] += 1
    before, after = (way(cell, x, some_state(cell))[0] for x in (x_TBI, changed_TBI))
    assert torch.equal(before[:5], after[:5])
    assert (before[5:] != after[5:]).flatten(1).any(1).all()


@pytest.mark.parametrize("way", [unroll, unroll_by_steps])
def test_a_row_of_the_batch_does_not_depend_on_the_others(spec: CellSpec, way) -> None:
    cell, x_TBI = build(spec), some_input()
    y_TBH, _ = way(cell, x_TBI, some_state(cell))
    for row in range(B):
        alone, _ = way(cell, x_TBI[:, row : row + 1], tuple(p[row : row + 1] for p in some_state(cell)))
        assert equal_to_rounding(alone[:, 0], y_TBH[:, row])


@pytest.mark.parametrize("way", [unroll, unroll_by_steps])
def test_its_gradient_is_that_of_finite_differences(spec: CellSpec, way) -> None:
    cell, x_TBI = build(spec), some_input()[:3].requires_grad_()
    state = tuple(part.requires_grad_() for part in some_state(cell))

    def output(x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y_TBH, last = way(cell, x, rest[: len(state)])
        return (y_TBH, *last)

    assert torch.autograd.gradcheck(output, (x_TBI, *state, *cell.parameters()))


def test_its_gates_have_the_leading_dimensions_of_their_arguments(spec: CellSpec) -> None:
    cell, x_TBI = build(spec), some_input()
    gates = cell.gates(cell.project(x_TBI), trajectory(cell, x_TBI, some_state(cell)))
    assert gates
    for values, kind in gates.values():
        assert values.shape == (T, B, H)
        assert kind in ("sigmoid", "tanh", "relu")


def test_it_survives_copying_pickling_and_saving(spec: CellSpec) -> None:
    cell, x_TBI = build(spec), some_input()
    expected, _ = unroll(cell, x_TBI, some_state(cell))
    saved = io.BytesIO()
    torch.save(cell.state_dict(), saved)
    loaded = build(spec, seed=9)
    loaded.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), loaded):
        with torch.no_grad():
            y_TBH, _ = unroll(twin, x_TBI, some_state(twin))
            stepped_TBH, _ = unroll_by_steps(twin, x_TBI, some_state(twin))
            for p in twin.parameters():
                p.zero_()
        assert torch.equal(y_TBH, expected)
        assert equal_to_rounding(stepped_TBH, expected)
    assert torch.equal(unroll(cell, x_TBI, some_state(cell))[0], expected)


def test_no_weight_is_saved_twice(spec: CellSpec) -> None:
    cell = build(spec)
    assert sum(value.numel() for value in cell.state_dict().values()) == sum(p.numel() for p in cell.parameters())
