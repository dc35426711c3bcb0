"""The network around the cells: encode the input, run the layers over time, decode the steps that have a target.

    model = SequenceModel(cells, inputs=Vector(1), output_size=10, shape="many-to-one")
    logits_BO = model(x_BTI)

| shape | reads | writes | decodes |
|---|---|---|---|
| one-to-one | one step | | that step |
| many-to-one | T steps | | the last |
| aligned | T steps | | every step |
| one-to-many | one step | U steps | the steps written |
| seq2seq | T steps | U steps | the steps written |

A shape that writes continues for U steps after its input, from the state of the layers after the last step that was
read. At each of these steps the lowest layer reads the embedding of the symbol that was written at the step before; at
the first one it reads that of a start symbol. In training the symbols come from the target (teacher forcing, Williams &
Zipser 1989); otherwise each is the most likely one of the network's own output. The same layers read and write, so a
lag may count steps from one that writes back to one that reads.

A layer is a cell in a block (`blocks`). In a bidirectional network (Schuster & Paliwal 1997, doi 10.1109/78.650093) it
is two cells, of which the second reads the steps in reverse. Their readouts at a step are concatenated, and what comes
next maps the double width: the block, the next layer or the head. So a network without blocks equals torch's. The head
reads both directions when they have read everything: the forward one at the last step, the backward one at the first.

T time read, U time written, B batch, I input, H hidden, O output.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from undertow.api.contract import Block, Cell, State, Tokens, Vector
from undertow.api.spec import Options, Shape
from undertow.errors import UndertowError
from undertow.nn.blocks import NORMS, Plain
from undertow.nn.loop import Unroll, unroll, unroll_by_steps


def parameter_key(name: str) -> str:
    """The key of a cell's parameter in `cell.lr_scale`: the last part of its name, without the modules it is in."""
    return name.rpartition(".")[2]


class SequenceModel(nn.Module):
    """Stacked recurrent layers between an encoder and a linear head.

    Args:
        cells: One per layer, the lowest first; the input width of each is the output width of the layer below.
        inputs: `Vector` inputs go to the first layer unchanged, or through the one projection that blocks need;
            `Tokens` through an embedding of its input width.
        output_size: Width of the output.
        shape: Which steps are decoded.
        writes: How many steps are written; 0 for the shapes that do not write.
        dropout: Probability of dropping an activation that a cell above the first layer reads. What a block passes by
            its cell is not dropped.
        truncate: Steps after which the gradient is cut (truncated backpropagation through time, Williams & Peng 1990,
            doi 10.1162/neco.1990.2.4.490), counted back from the last step; never when None.
        blocks: One per layer, around its cell; the cells alone when None.
        backward_cells: The second cell of each layer, which runs backwards; only for many-to-one. None by default.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        *,
        inputs: Vector | Tokens,
        output_size: int,
        shape: Shape,
        writes: int = 0,
        dropout: float = 0.0,
        truncate: int | None = None,
        blocks: Iterable[Block] | None = None,
        backward_cells: Iterable[Cell] = (),
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.backward_cells = nn.ModuleList(backward_cells)
        self.blocks = nn.ModuleList(self._plain() if blocks is None else blocks)
        width = self.input_size = inputs.width if isinstance(inputs, Vector) else self.layers[0].input_size
        self.encoder: nn.Module = (
            nn.Embedding(inputs.vocabulary, width) if isinstance(inputs, Tokens) else nn.Identity()
        )
        self.head = nn.Linear(cast(Block, self.blocks[-1]).output_size, output_size)
        self.start = output_size
        self.written = nn.Embedding(output_size + 1, width) if writes else None
        projected = isinstance(inputs, Vector) and not isinstance(self.blocks[0], Plain)
        self.projection: nn.Module = nn.Linear(width, self.layers[0].input_size) if projected else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.shape = shape
        self.writes = writes
        self.truncate = truncate
        self._unroll = unroll

    @property
    def layers(self) -> Sequence[Cell]:
        """The cells, the lowest first; of a bidirectional network each with its backward cell after it."""
        return [cell for cells in self._cells_by_layer() for cell in cells]

    @property
    def bidirectional(self) -> bool:
        """Whether each layer has a second cell that runs backwards. Such a network runs whole only."""
        return len(self.backward_cells) > 0

    def encode(self, input: Tensor, target: Tensor | None = None) -> Tensor:
        """What the network reads at each step, before the projection to the width of its blocks, if they need one.

        Args:
            input: `(B, T, I)` numbers or `(B, T)` tokens.
            target: `(B, U)` symbols, for a shape that writes: each is read at the step after its own. Ignored for
                the other shapes.

        Returns:
            `x_TBI`: the steps that read, followed by the steps that write if there is a target.
        """
        x_TBI = cast(Tensor, self.encoder(input)).transpose(0, 1)
        if self.written is None or target is None:
            return x_TBI
        start_B1 = target.new_full((len(target), 1), self.start)
        before_BU = torch.cat([start_B1, target[:, :-1]], dim=1)
        return torch.cat([x_TBI, cast(Tensor, self.written(before_BU)).transpose(0, 1)])

    @contextmanager
    def stepping(self, by_steps: bool = True) -> Iterator[None]:
        """Run every layer by its steps inside the block, even one that has a `scan`; does nothing if not `by_steps`."""
        before = self._unroll
        self._unroll = unroll_by_steps if by_steps else before
        try:
            yield
        finally:
            self._unroll = before

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        """The state of every cell before the first step, in the order of `layers`."""
        return tuple(cell.initial_state(batch_size) for cell in self.layers)

    def advance(self, x_TBI: Tensor, state: tuple[State, ...], after: int = 0) -> tuple[Tensor, tuple[State, ...]]:
        """Run some steps through all layers.

        Args:
            x_TBI: The encoded input, at least one step; all steps if the network is bidirectional.
            state: The state of each of `layers` before the first of them.
            after: How many steps of the sequence follow. The places where `truncate` cuts depend on it, since they
                are counted back from the last step.

        Returns:
            The top layer's readout `y_TBH`, and the state of each of `layers` after the last step. A bidirectional
            network has none that could be continued from.

        Raises:
            UndertowError: A bidirectional network is to run a part of a sequence.
        """
        if self.bidirectional:
            if after or len(state) != len(self.layers):
                raise UndertowError("a bidirectional network runs a whole sequence at once: it has no state in between")
            return self.run(x_TBI, state, self._unroll)[0], ()
        if self.truncate is None:
            return self.run(x_TBI, state, self._unroll)[:2]
        cuts = range((len(x_TBI) + after) % self.truncate, len(x_TBI), self.truncate)
        pieces = []
        for start, stop in pairwise(sorted({0, *cuts, len(x_TBI)})):
            if start in cuts:
                state = tuple(tuple(part.detach() for part in layer) for layer in state)
            y_TBH, state, _ = self.run(x_TBI[start:stop], state, self._unroll)
            pieces.append(y_TBH)
        return torch.cat(pieces), state

    def step(self, x_BI: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Run one step by the `step` of every cell, never truncated; as `advance` without its dimension of time."""
        y_1BH, after, _ = self.run(x_BI.unsqueeze(0), state, unroll_by_steps)
        return y_1BH[0], after

    def cell_inputs(self, x_TBI: Tensor) -> Sequence[Tensor]:
        """What each of `layers` reads at every step of a whole sequence, in the order in which it reads them."""
        return self.run(x_TBI, self.initial_state(x_TBI.shape[1]), self._unroll)[2]

    def run(
        self, x_TBI: Tensor, state: tuple[State, ...], unroll: Unroll
    ) -> tuple[Tensor, tuple[State, ...], list[Tensor]]:
        """Run some steps through all layers, not truncated.

        Args:
            x_TBI: As for `advance`.
            state: As for `advance`.
            unroll: Runs a cell over the steps.

        Returns:
            The top layer's readout `y_TBH`; the state of each of `layers` after the steps that it read; what each of
            them read, in its own order.
        """
        y_TBH: Tensor = self.projection(x_TBI)
        after: list[State] = []
        inputs: list[Tensor] = []
        for depth, (block, cells) in enumerate(zip(self._blocks(), self._cells_by_layer(), strict=True)):
            read_TBH = block.before(y_TBH)
            if depth > 0:
                read_TBH = self.dropout(read_TBH)
            readouts = []
            for backwards, cell in enumerate(cells):
                inputs.append(read_TBH.flip(0) if backwards else read_TBH)
                u_TBC, last = unroll(cell, inputs[-1], state[len(after)])
                readouts.append(u_TBC.flip(0) if backwards else u_TBC)
                after.append(last)
            if len(readouts) > 1 and depth == len(self.blocks) - 1:
                readouts[1] = readouts[1][:1].expand_as(readouts[1])  # the head reads it where it has read all steps
            y_TBH = block.after(y_TBH, readouts[0] if len(readouts) == 1 else torch.cat(readouts, -1))
        return y_TBH, tuple(after), inputs

    def _blocks(self) -> Sequence[Block]:
        return cast(Sequence[Block], self.blocks)

    def _cells_by_layer(self) -> Iterator[tuple[Cell, ...]]:
        """The cell of each layer, in a bidirectional network followed by its backward one."""
        directions = [self.cells, self.backward_cells] if len(self.backward_cells) else [self.cells]
        return zip(*cast(Sequence[Sequence[Cell]], directions), strict=True)

    def _plain(self) -> Iterator[Block]:
        for cells in self._cells_by_layer():
            yield Plain(cells[0].hidden_size, sum(cell.output_size for cell in cells), Options(), NORMS["layer"])

    def decode(self, y: Tensor) -> Tensor:
        """The top layer's readout `(…, H)` to the output `(…, O)`."""
        return cast(Tensor, self.head(y))

    def forward(self, input: Tensor, target: Tensor | None = None, writes: int | None = None) -> Tensor:
        """Compute the output of a batch.

        Args:
            input: As for `encode`.
            target: For a shape that writes, in training. Without it the network reads what it wrote itself.
            writes: How many steps are written, for a task of another length; those of the constructor when None.

        Returns:
            `(B, O)`; `(B, T, O)` for the aligned shape, `(B, U, O)` for those that write.
        """
        writes = self.writes if writes is None else writes
        free_running = writes if target is None else 0
        x_TBI = self.encode(input, target)
        y_TBH, state = self.advance(x_TBI, self.initial_state(x_TBI.shape[1]), free_running)
        return self._write(state, len(input), writes) if free_running else self.output(y_TBH, writes)

    def output(self, y_TBH: Tensor, writes: int | None = None) -> Tensor:
        """Compute the output from the top layer's readout at every step.

        Args:
            y_TBH: The readout at all steps: those that read, and those that write.
            writes: As for `forward`.

        Returns:
            As `forward`.
        """
        writes = self.writes if writes is None else writes
        if writes:
            return self.decode(y_TBH[-writes:].transpose(0, 1))
        return self.decode(y_TBH.transpose(0, 1) if self.shape == "aligned" else y_TBH[-1])

    def _write(self, state: tuple[State, ...], batch_size: int, writes: int) -> Tensor:
        """Write some steps from a state; each symbol is the most likely one, and is read at the next step."""
        assert self.written is not None
        symbol_B = torch.full((batch_size,), self.start, device=self.head.weight.device)
        outputs = []
        for step in range(writes):
            x_1BI = cast(Tensor, self.written(symbol_B)).unsqueeze(0)
            y_1BH, state = self.advance(x_1BI, state, writes - 1 - step)
            outputs.append(self.decode(y_1BH[0]))
            symbol_B = outputs[-1].argmax(-1)
        return torch.stack(outputs, 1)
