"""The shapes that write, and truncated gradients. T time read, U time written, B batch, O output."""

import pytest
import torch

from undertow import Tokens, Vector
from undertow.nn import SequenceModel
from undertow.plugins.host import load_plugins

REGISTRY = load_plugins()
T, U, B, O = 6, 4, 3, 5  # noqa: E741  (the shape letter)


def network(shape: str, cells: tuple[str, ...] = ("gru",), **settings: object) -> SequenceModel:
    torch.manual_seed(0)
    inputs = Tokens(7) if shape == "seq2seq" else Vector(2)
    width, layers = 2, []
    for name in cells:
        spec = REGISTRY.cell(name)
        layers.append(REGISTRY.factory(spec)(width, 8, spec.options(), T))
        width = 8
    writes = U if shape in ("seq2seq", "one-to-many") else 0
    model = SequenceModel(layers, inputs=inputs, output_size=O, shape=shape, writes=writes, **settings)
    return model.double().eval()


def some_input(shape: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if shape == "seq2seq":
        return torch.randint(7, (B, T), generator=generator)
    return torch.randn(B, 1 if shape == "one-to-many" else T, 2, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("shape", ["seq2seq", "one-to-many"])
def test_without_a_target_the_network_reads_its_own_output(shape: str) -> None:
    model, x = network(shape, ("gru", "lstm")), some_input(shape)
    free = model(x)
    assert free.shape == (B, U, O)
    assert torch.allclose(model(x, free.argmax(-1)), free, atol=1e-12)
    others = (free.argmax(-1) + 1) % O
    forced = model(x, others)
    assert torch.allclose(
        forced[:, 0], free[:, 0], atol=1e-12
    )  # the target has no effect before its first symbol was read
    assert not torch.isclose(forced[:, 1:], free[:, 1:]).any(-1).all()


@pytest.mark.parametrize("shape", ["seq2seq", "one-to-many"])
def test_another_number_of_steps_is_written_without_a_change_of_the_network(shape: str) -> None:
    model, x = network(shape, ("gru", "lstm")), some_input(shape)
    longer = model(x, writes=U + 3)
    assert longer.shape == (B, U + 3, O)
    assert torch.allclose(longer[:, :U], model(x), atol=1e-12)
    assert torch.allclose(model(x, longer.argmax(-1), writes=U + 3), longer, atol=1e-12)
    assert model.writes == U


@pytest.mark.parametrize("shape", ["seq2seq", "one-to-many"])
def test_what_is_written_depends_on_what_was_read_and_on_no_later_target(shape: str) -> None:
    model, x = network(shape), some_input(shape)
    target = torch.zeros(B, U, dtype=torch.int64)
    before = model(x, target)
    changed = target.clone()
    changed[:, 2] = 3
    assert torch.equal(model(x, changed)[:, :3], before[:, :3])
    assert not torch.equal(model(x, changed)[:, 3], before[:, 3])
    other = (x + 1) % 7 if shape == "seq2seq" else x + 1
    assert (model(other, target) != before).flatten(1).any(1).all()


def test_encode_returns_the_steps_that_read_and_then_those_that_write() -> None:
    model, x = network("seq2seq"), some_input("seq2seq")
    assert model.encode(x).shape == (T, B, 2)
    x_TBI = model.encode(x, torch.zeros(B, U, dtype=torch.int64))
    assert x_TBI.shape == (T + U, B, 2)
    assert torch.equal(x_TBI[T], model.written(torch.tensor([model.start] * B)))
    assert torch.equal(x_TBI[T + 1], model.written(torch.zeros(B, dtype=torch.int64)))


def test_the_target_has_no_effect_for_a_shape_that_does_not_write() -> None:
    model, x = network("many-to-one"), some_input("many-to-one")
    assert model.written is None
    assert torch.equal(model(x, torch.zeros(B, dtype=torch.int64)), model(x))


def gradient_by_step(model: SequenceModel, x: torch.Tensor) -> list[bool]:
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    return gradient.flatten(2).ne(0).any(2).any(0).tolist()


@pytest.mark.parametrize("cells", [("lstm",), ("gru", "ugrnn")])
@pytest.mark.parametrize("truncate", [1, 2, 4, 5, 6, 7])
def test_truncate_limits_the_reach_of_the_gradient_and_changes_no_value(cells: tuple[str, ...], truncate: int) -> None:
    x = some_input("many-to-one")
    whole, cut = network("many-to-one", cells), network("many-to-one", cells, truncate=truncate)
    assert torch.allclose(whole(x), cut(x), atol=1e-12)
    assert gradient_by_step(whole, x) == [True] * T
    assert gradient_by_step(cut, x) == [T - step <= truncate for step in range(T)]


@pytest.mark.parametrize("split", range(1, T))
def test_in_pieces_the_gradient_is_cut_at_the_same_steps(split: int) -> None:
    model, x = network("many-to-one", truncate=4), some_input("many-to-one")
    x_TBI = model.encode(x).detach().requires_grad_()
    _, state = model.advance(x_TBI[:split], model.initial_state(B), after=T - split)
    y_TBH, _ = model.advance(x_TBI[split:], state)
    (gradient,) = torch.autograd.grad(model.decode(y_TBH[-1]).sum(), x_TBI)
    assert gradient.ne(0).flatten(1).any(1).tolist() == [T - step <= 4 for step in range(T)]
