"""The contract of a block, check by check. T time (5), B batch (3), H hidden (4), C width of the cell's readout.

Values are compared in 64 bits, in evaluation mode.
"""

from typing import cast

import torch
from torch import Tensor, nn

from undertow.api.contract import Block, Cell, State, Vector
from undertow.api.spec import BlockSpec, Options
from undertow.nn.blocks import NORMS
from undertow.nn.model import SequenceModel
from undertow.nn.pack import Pack
from undertow.testing.asserts import expect, expect_all_close, expect_close, expect_shape
from undertow.testing.conformance import Conformance

T, B, H = 5, 3, 4
_POINTWISE = "A block sees single steps: no statistics over time, no state, no counter. What mixes steps is the cell."
_PACKED = (
    "Replicates are called together by torch.func.vmap over the weights: no `.item()`, no `if` on a value, no mask as "
    "index, and every weight is read from its parameter. Else declare it in `expected_failures`."
)


class BlockConformance(Conformance):
    """What every block must do."""

    kind = "block"

    def build(self, cell_size: int = H, *, norm: str = "layer", seed: int = 0) -> Block:
        """Make a block with random weights, in 64 bits; torch's random state is left as it was.

        The weights are moved from where they start, since a norm or a gate may start as the identity.
        """
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            spec = cast(BlockSpec, self.entry.spec)
            block: Block = self.registry.factory(spec)(H, cell_size, self.made_options(), NORMS[norm])
            block = block.double().eval()
            with torch.no_grad():
                for parameter in block.parameters():
                    parameter.add_(torch.randn_like(parameter) / 4)
        return block

    # --- the checks --------------------------------------------------------------------------------------------------

    def test_shapes(self) -> None:
        """Have what the cell reads and what the layer passes on the right widths, for every norm and readout?"""
        for norm in NORMS:
            for cell_size in (H, 2 * H, 3):
                block = self.build(cell_size, norm=norm)
                for leading in ((B,), (T, B)):
                    x, u = _noise(*leading, H), _noise(*leading, cell_size, seed=1)
                    at = f"with a readout of {cell_size} numbers and norm `{norm}`"
                    expect_shape(block.before(x), (*leading, H), f"what the cell reads, {at}")
                    expect_shape(block.after(x, u), (*leading, block.output_size), f"what the layer passes on, {at}")

    def test_pointwise_in_time(self) -> None:
        """Is a step the same alone and among other steps, so that a sequence in pieces equals the whole?"""
        self._expect_alike(0, T, "step", _POINTWISE)

    def test_rows_are_independent(self) -> None:
        """Is an example the same alone and in a batch?"""
        self._expect_alike(1, B, "example", "Never reduce over the batch, as a batch norm does.")

    def test_gradients(self) -> None:
        """Do gradients reach the cell, and are backward and forward differentiation the same?"""
        block = self.build()
        x_BH, u_BC, seen_BH = _noise(B, H), _noise(B, H, seed=1), _noise(B, block.output_size, seed=2)
        tangents = (_noise(B, H, seed=3), _noise(B, H, seed=4))

        def both(x_BH: Tensor, u_BC: Tensor) -> tuple[Tensor, Tensor]:
            return block.before(x_BH), block.after(x_BH, u_BC)

        weights = (_noise(B, H, seed=5), seen_BH)
        leaves = [x_BH.clone().requires_grad_(), u_BC.clone().requires_grad_()]
        loss = sum((y * w).sum() for y, w in zip(both(*leaves), weights, strict=True))
        by_x, by_u = torch.autograd.grad(cast(Tensor, loss), leaves, allow_unused=True, materialize_grads=True)
        expect(by_u.abs().max() > 0, "no gradient reaches the cell's readout. Without one the cell learns nothing.")
        try:
            moved = cast(tuple[Tensor, Tensor], torch.func.jvp(both, (x_BH, u_BC), tangents)[1])
        except Exception as error:
            raise AssertionError(
                f"forward-mode differentiation fails: {type(error).__name__}: {error}. The Jacobian and Lyapunov "
                "probes need it. Write what lacks it in torch's basic operations."
            ) from error
        forwards = cast(Tensor, sum((y * w).sum() for y, w in zip(moved, weights, strict=True)))
        backwards = (by_x * tangents[0]).sum() + (by_u * tangents[1]).sum()
        expect_close(forwards, backwards, "the derivative forwards against backwards", "Use no detached values.")

    def test_saving(self) -> None:
        """Does a block that loads the weights of another compute the same?"""
        block, other = self.build(), self.build(seed=1)
        other.load_state_dict(block.state_dict())
        x_TBH, u_TBC = _noise(T, B, H), _noise(T, B, H, seed=1)
        remedy = "What a block computes with must be a parameter or a buffer, or follow from its options."
        expect_close(other.before(x_TBH), block.before(x_TBH), "what the cell reads, after loading", remedy)
        expect_close(other.after(x_TBH, u_TBC), block.after(x_TBH, u_TBC), "the output, after loading", remedy)

    def test_packs(self) -> None:
        """Do replicates side by side compute what each computes alone, with all gradients?"""
        pack, alone = Pack([self._network(seed) for seed in range(3)]), [self._network(seed) for seed in range(3)]
        expect(not pack.reason, f"3 side by side: {pack.reason}. {_PACKED}")
        x_SBTI = _noise(3, B, T, H)
        output = pack(x_SBTI)
        output.square().sum().backward()
        for place, model in enumerate(alone):
            expected = model(x_SBTI[place])
            expected.square().sum().backward()
            at = f"replicate {place} of 3 side by side against alone"
            expect_close(output[place], expected, f"output, {at}", _PACKED)
            names = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
            grads = [cast(Tensor, pack.stack[name].grad)[place] for name in names]
            mine = [cast(Tensor, model.get_parameter(name).grad) for name in names]
            expect_all_close(grads, mine, f"gradient {{}}, {at}", _PACKED)

    # -----------------------------------------------------------------------------------------------------------------

    def _expect_alike(self, dim: int, size: int, what: str, remedy: str) -> None:
        """Fail unless each place along a dimension is computed alone as among the others, first to last and again."""
        block = self.build()
        x_TBH, u_TBC = _noise(T, B, H), _noise(T, B, H, seed=1)
        read_TBH, y_TBH = block.before(x_TBH), block.after(x_TBH, u_TBC)
        for place in (*range(size), 0):
            x, u = (each.narrow(dim, place, 1) for each in (x_TBH, u_TBC))
            at = f"{what} {place} alone against among {size}"
            expect_close(block.before(x), read_TBH.narrow(dim, place, 1), f"what the cell reads, {at}", remedy)
            expect_close(block.after(x, u), y_TBH.narrow(dim, place, 1), f"what the layer passes on, {at}", remedy)

    def _network(self, seed: int) -> SequenceModel:
        """A network in which the block surrounds a cell, in training mode."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = SequenceModel(
                [_Leaky(H, H, Options(), T)],
                inputs=Vector(H),
                output_size=2,
                shape="many-to-one",
                blocks=[self.build(seed=seed)],
            ).double()
        return model.train()


class _Leaky(Cell):
    """h' = (h + tanh(W x)) / 2."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> State:
        return (self.W.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, z: Tensor, state: State) -> State:
        return ((state[0] + torch.tanh(self.W(z))) / 2,)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
