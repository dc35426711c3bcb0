"""Packs against the single networks. S replicates, B batch, T time, I input, H hidden, O output."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from undertow import Options, Tokens, Vector
from undertow.nn import SequenceModel
from undertow.nn.blocks import NORMS
from undertow.nn.pack import Pack, draws_random_numbers
from undertow.plugins.host import load_plugins

REGISTRY = load_plugins(files=[Path(__file__).with_name("pack_cells.py")])
S, B, T, U, I, H, O = 3, 4, 9, 3, 2, 5, 6  # noqa: E741  (the shape letters)


def network(
    cell: str,
    seed: int = 0,
    *,
    layers: int = 1,
    shape: str = "many-to-one",
    block: str = "plain",
    norm: str = "layer",
    bidirectional: bool = False,
    **settings: Any,
) -> SequenceModel:
    spec = REGISTRY.cell(cell)
    make = REGISTRY.factory(spec)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        writes = U if shape in ("seq2seq", "one-to-many") else 0
        directions = 2 if bidirectional else 1
        widths = [I if block == "plain" else H, *[directions * H if block == "plain" else H] * (layers - 1)]
        around = REGISTRY.factory(REGISTRY.block(block))
        model = SequenceModel(
            [make(width, H, spec.options(), T) for width in widths],
            inputs=Tokens(7) if shape == "seq2seq" else Vector(I),
            output_size=O,
            shape=shape,
            writes=writes,
            blocks=[around(H, directions * H, Options(), NORMS[norm]) for _ in widths],
            backward_cells=[make(width, H, spec.options(), T) for width in widths if bidirectional],
            **settings,
        ).double()
    for tensor in (*model.parameters(), *model.buffers()):  # `double` leaves complex tensors as they are
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
    return model


def networks(cell: str, replicates: int = S, **settings: Any) -> list[SequenceModel]:
    return [network(cell, seed, **settings) for seed in range(replicates)]


def pack_of(cell: str, replicates: int = S, **settings: Any) -> tuple[Pack, list[SequenceModel]]:
    """A pack, and the same networks with weights of their own."""
    return Pack(networks(cell, replicates, **settings)), networks(cell, replicates, **settings)


def some_input(model: SequenceModel, replicates: int = S) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Input and target of every replicate."""
    generator = torch.Generator().manual_seed(7)
    target = torch.randint(O, (replicates, B, U), generator=generator) if model.writes else None
    if model.shape == "seq2seq":
        return torch.randint(7, (replicates, B, T), generator=generator), target
    steps = 1 if model.shape == "one-to-many" else T
    return torch.randn(replicates, B, steps, I, generator=generator, dtype=torch.float64), target


def loss_of(output: torch.Tensor) -> torch.Tensor:
    return (output * torch.arange(1, output.numel() + 1).view_as(output)).square().sum()


def step(pack: Pack) -> torch.Tensor:
    """Forward and backward of all replicates; the gradients are in the stack."""
    pack.zero_grad()
    output = pack(*some_input(pack.models[0], len(pack)))
    loss_of(output).backward()
    if not pack.together:
        pack.collect_gradients()
    return output.detach()


def close(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return got.shape == expected.shape and bool((got - expected).abs().max() <= 1e-12 * expected.abs().max())


def values(model: SequenceModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in (*model.named_parameters(), *model.named_buffers())}


def assert_equal_to_single(pack: Pack, singles: Sequence[SequenceModel]) -> None:
    """Outputs, and the gradients in the stack."""
    input, target = some_input(singles[0], len(singles))
    expected = torch.stack(
        [single(input[s], None if target is None else target[s]) for s, single in enumerate(singles)]
    )
    loss_of(expected).backward()
    assert close(step(pack), expected.detach())
    for s, single in enumerate(singles):
        for name, parameter in single.named_parameters():
            stacked, alone = pack.stack[name].grad, parameter.grad
            assert (stacked is None) == (alone is None)
            assert stacked is None or close(stacked[s], alone), name
    for single in singles:
        single.zero_grad()


# --- what is computed -------------------------------------------------------------------------------------------------

CASES = {
    "steps": ("ugrnn", {}),
    "a fused kernel": ("lstm", {}),
    "a scan": ("mingru", {}),
    "a complex scan": ("lru", {}),
    "two layers": ("gru", {"layers": 2}),
    "complex weights": ("turning", {}),
    "a step-by-step output": ("lem", {"shape": "aligned"}),
    "truncated": ("lstm", {"truncate": 4}),
    "writing from tokens": ("gru", {"shape": "seq2seq"}),
    "writing, truncated, two layers": ("lstm", {"shape": "seq2seq", "truncate": 5, "layers": 2}),
    "writing from numbers": ("rnn", {"shape": "one-to-many"}),
    "gated blocks": ("lru", {"layers": 2, "block": "glu"}),
    "residual blocks, writing": ("gru", {"layers": 2, "block": "residual", "shape": "seq2seq"}),
    "both directions": ("lstm", {"layers": 2, "bidirectional": True}),
    "both directions in blocks": ("lru", {"layers": 2, "block": "residual", "norm": "rms", "bidirectional": True}),
}


@pytest.mark.parametrize("together", [True, False], ids=["side-by-side", "one-by-one"])
@pytest.mark.parametrize("replicates", [1, S])
@pytest.mark.parametrize("case", CASES)
def test_a_pack_computes_what_its_networks_compute_alone(case: str, replicates: int, together: bool) -> None:
    cell, settings = CASES[case]
    pack, singles = pack_of(cell, replicates, **settings)
    assert pack.reason == ""
    assert pack.together
    pack.together = together
    assert_equal_to_single(pack, singles)


@pytest.mark.parametrize("shape", ["seq2seq", "one-to-many"])
def test_without_a_target_each_network_reads_what_it_wrote_itself(shape: str) -> None:
    pack, singles = pack_of("gru", shape=shape)
    input, _ = some_input(singles[0])
    with torch.no_grad():
        expected = torch.stack([single(x, writes=U + 2) for single, x in zip(singles, input, strict=True)])
        assert expected.argmax(-1).flatten(1).unique(dim=0).shape[0] == S
        assert close(pack(input, writes=U + 2), expected)


@pytest.mark.parametrize(("cell", "by_steps"), [("ugrnn", False), ("lru", False), ("lstm", True), ("rnn", True)])
def test_a_scan_is_used_unless_it_is_a_kernel_of_torch(cell: str, by_steps: bool) -> None:
    assert pack_of(cell)[0].by_steps == by_steps


def test_a_cell_whose_scan_cannot_be_called_side_by_side_is_run_by_its_steps() -> None:
    pack, singles = pack_of("branching-scan")
    assert (pack.reason, pack.by_steps) == ("", True)
    assert_equal_to_single(pack, singles)


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "lru", "right"])
def test_networks_are_views_of_the_stack(cell: str) -> None:
    pack, singles = pack_of(cell)
    before = [values(model) for model in pack.models]
    for one, start in zip(singles, before, strict=True):
        assert all(torch.equal(value, start[name]) for name, value in values(one).items())
    step(pack)
    torch.optim.SGD(pack.parameters(), lr=0.5).step()
    for s, model in enumerate(pack.models):
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, pack.stack[name][s])
            assert torch.equal(parameter, before[s][name] - 0.5 * pack.stack[name].grad[s])
            assert not torch.equal(parameter, before[s][name])
    assert {id(p) for p in pack.parameters()} == {id(p) for p in pack.stack.values()}


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_one_optimizer_trains_every_network_as_one_of_its_own_would(optimizer: Any) -> None:
    pack, singles = pack_of("lstm")
    of_pack, of_each = optimizer(pack.parameters(), lr=0.01), [optimizer(m.parameters(), lr=0.01) for m in singles]
    input, _ = some_input(singles[0])
    for together in (True, False, True):
        pack.together = together
        step(pack)
        of_pack.step()
        for one in singles:
            one.zero_grad()
        loss_of(torch.stack([one(x) for one, x in zip(singles, input, strict=True)])).backward()
        for own_optimizer in of_each:
            own_optimizer.step()
    for model, one in zip(pack.models, singles, strict=True):
        for name, parameter in one.named_parameters():
            assert close(model.get_parameter(name), parameter)


@pytest.mark.parametrize("together", [True, False], ids=["side-by-side", "one-by-one"])
def test_a_buffer_that_is_updated_in_place_is_that_of_its_network(together: bool) -> None:
    pack, singles = pack_of("updating")
    pack.together = together
    for _ in range(2):
        assert_equal_to_single(pack, singles)
    for model, one in zip(pack.models, singles, strict=True):
        assert close(model.cells[0].e, one.cells[0].e)


def test_a_changed_buffer_of_one_network_changes_that_network_in_the_pack() -> None:
    pack, singles = pack_of("right")
    with torch.no_grad():
        for changed in (pack.models[1], singles[1]):
            changed.cells[0].e.mul_(2)
    assert_equal_to_single(pack, singles)


def test_the_mode_is_that_of_all_networks() -> None:
    pack, _ = pack_of("right")
    assert not any(model.training for model in pack.eval().models)
    assert all(model.cells[0].training for model in pack.train().models)


def test_conversion_converts_all_networks() -> None:
    pack, singles = pack_of("right")
    pack.float()
    assert {p.dtype for p in (*pack.parameters(), *pack.models[2].parameters(), *pack.models[2].buffers())} == {
        torch.float32
    }
    pack.double()
    singles = [single.float().double() for single in singles]
    assert_equal_to_single(pack, singles)
    with torch.no_grad():
        pack.stack["head.bias"][2] = 3.0
        pack.models[1].cells[0].e.fill_(-1.0)
        singles[2].head.bias.fill_(3.0)
        singles[1].cells[0].e.fill_(-1.0)
    assert_equal_to_single(pack, singles)


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_collected_by_adding() -> None:
    """As accumulated batches need it: some of them side by side, some one by one."""
    pack, _ = pack_of("ugrnn")
    input, _ = some_input(pack.models[0])
    pack.together = False
    loss_of(pack(input)).backward()
    assert all(p.grad is None for p in pack.parameters())
    pack.collect_gradients()
    once = {name: stack.grad.clone() for name, stack in pack.stack.items()}
    assert all(p.grad is None for model in pack.models for p in model.parameters())
    loss_of(pack(input)).backward()
    pack.collect_gradients()
    pack.together = True
    loss_of(pack(input)).backward()
    assert all(close(stack.grad, 3 * once[name]) for name, stack in pack.stack.items())


def test_a_replicate_without_a_gradient_gets_zeros() -> None:
    pack, _ = pack_of("ugrnn")
    pack.together = False
    input, _ = some_input(pack.models[0])
    loss_of(pack.models[0](input[0])).backward()
    pack.collect_gradients()
    for stack in pack.stack.values():
        assert stack.grad[0].any()
        assert not stack.grad[1:].any()


@pytest.mark.parametrize("cell", ["gru", "turning"])
def test_the_norm_of_a_gradient_is_that_of_its_network(cell: str) -> None:
    pack, singles = pack_of(cell)
    step(pack)
    input, _ = some_input(singles[0])
    loss_of(torch.stack([one(x) for one, x in zip(singles, input, strict=True)])).backward()
    norms = [torch.cat([p.grad.abs().flatten() for p in one.parameters()]).norm() for one in singles]
    assert close(pack.gradient_norms(), torch.stack(norms))


# --- changes of the networks ------------------------------------------------------------------------------------------


def test_what_a_cell_has_replaced_is_linked_again() -> None:
    pack, singles = pack_of("right")
    for changed in (pack.models[1], singles[1]):
        cell = changed.cells[0]
        cell.U.weight.data = cell.U.weight.data / 2
        cell.e = cell.e / 2
    pack.relink()
    assert_equal_to_single(pack, singles)
    with torch.no_grad():
        pack.stack["cells.0.U.weight"].zero_()
    assert not pack.models[1].cells[0].U.weight.any()
    assert singles[1].cells[0].U.weight.any()


def test_those_that_stay_keep_the_state_of_their_optimizer() -> None:
    (pack, _), (other, _) = pack_of("right"), pack_of("right")
    optimizer, of_other = (torch.optim.Adam(each.parameters(), lr=0.05) for each in (pack, other))
    for _ in range(2):
        for each, own_optimizer in ((pack, optimizer), (other, of_other)):
            step(each)
            own_optimizer.step()
    removed, before = pack.models[1], values(pack.models[1])
    kept = pack.models[2], pack.models[0]
    pack.keep([2, 0], [optimizer])
    assert tuple(pack.models) == kept
    assert len(pack) == 2
    for name, stack in pack.stack.items():
        expected, got = of_other.state[other.stack[name]], optimizer.state[stack]
        assert got["step"] == 2
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(got[key], expected[key][[2, 0]])
        assert torch.equal(stack.grad, other.stack[name].grad[[2, 0]])

    input, _ = some_input(pack.models[0], S)
    for each, x, own_optimizer in ((pack, input[[2, 0]], optimizer), (other, input, of_other)):
        each.zero_grad()
        each(x).square().sum().backward()
        own_optimizer.step()
    for model, expected in zip(pack.models, (other.models[2], other.models[0]), strict=True):
        assert all(close(value, values(expected)[name]) for name, value in values(model).items())
    assert all(torch.equal(value, before[name]) for name, value in values(removed).items())


def test_one_that_was_taken_out_has_tensors_of_its_own() -> None:
    pack, singles = pack_of("right")
    removed = pack.models[1]
    pack.keep([0, 2])
    assert_equal_to_single(pack, [singles[0], singles[2]])
    with torch.no_grad():
        for tensor in (*pack.parameters(), *pack.models[0].buffers(), *pack.models[1].buffers()):
            tensor.zero_()
    input, _ = some_input(removed)
    assert close(removed(input[1]), singles[1](input[1]))
    own_tensors = (*removed.parameters(), *removed.buffers())
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in own_tensors)


def test_what_a_cell_has_replaced_is_kept_when_others_are_taken_out() -> None:
    pack, singles = pack_of("right")
    for changed in (pack.models[1], singles[1]):
        changed.cells[0].U.weight.data = changed.cells[0].U.weight.data / 2
    pack.keep([1, 2])
    assert_equal_to_single(pack, singles[1:])


# --- what cannot be called side by side -------------------------------------------------------------------------------


@pytest.mark.parametrize("replicates", [1, S])
@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("branching", "data-dependent control flow"),
        ("explaining", "it depends on a value"),
        ("reading", r"\.item\(\)"),
        ("listing", "side by side its networks compute something else than alone"),
        ("replacing", "side by side its networks compute something else than alone"),
        ("drawing", "randomness"),
    ],
)
def test_a_cell_that_cannot_is_run_one_by_one_and_the_reason_is_given(cell: str, reason: str, replicates: int) -> None:
    pack = Pack(networks(cell, replicates))
    assert not pack.together
    assert re.search(reason, pack.reason), pack.reason
    assert "\n" not in pack.reason
    if cell != "drawing":
        assert_equal_to_single(pack, networks(cell, replicates))


def test_a_kernel_without_backward_in_evaluation_mode_is_no_reason() -> None:
    pack = Pack([model.eval() for model in networks("no-backward-in-evaluation")])
    assert (pack.reason, pack.by_steps) == ("", True)


def test_weights_that_are_not_trained_stay_so() -> None:
    models, singles = (networks("right") for _ in range(2))
    for model in (*models, *singles):
        model.cells[0].U.weight.requires_grad_(requires_grad=False)
    pack = Pack(models)
    assert not pack.reason
    assert not pack.stack["cells.0.U.weight"].requires_grad
    assert_equal_to_single(pack, singles)


def test_finding_the_reason_changes_nothing() -> None:
    for cell in ("right", "updating", "replacing", "drawing"):
        before = torch.get_rng_state()
        pack, singles = pack_of(cell)
        assert torch.equal(torch.get_rng_state(), before)
        for model, one in zip(pack.models, singles, strict=True):
            assert draws_random_numbers(model) == (cell == "drawing")
            assert all(torch.equal(value, values(one)[name]) for name, value in values(model).items())
            assert all(parameter.grad is None for parameter in (*model.parameters(), *pack.parameters()))


def test_a_network_draws_by_its_dropout_and_by_its_cell_in_training_only() -> None:
    for model in (network("drawing"), network("gru", layers=2, dropout=0.2)):
        assert draws_random_numbers(model)
        assert not draws_random_numbers(model.eval())
    assert not draws_random_numbers(network("gru", layers=2))
