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

T time read, U time written, B batch, I input, H hidden, O output.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from undertow.api.contract import Cell, State, Tokens, Vector
from undertow.api.spec import Shape
from undertow.nn.loop import unroll, unroll_by_steps


def parameter_key(name: str) -> str:
    """The key of a cell's parameter in `cell.lr_scale`: the last part of its name, without the modules it is in."""
    return name.rpartition(".")[2]


class SequenceModel(nn.Module):
    """Stacked recurrent layers between an encoder and a linear head.

    Args:
        cells: One per layer, the lowest first; the input width of each is the output width of the one below.
        inputs: `Vector` inputs go to the first layer unchanged, `Tokens` through an embedding of its input width.
        output_size: Width of the output.
        shape: Which steps are decoded.
        writes: How many steps are written; 0 for the shapes that do not write.
        dropout: Probability of dropping an activation between two layers.
        truncate: Steps after which the gradient is cut (truncated backpropagation through time, Williams & Peng 1990,
            doi 10.1162/neco.1990.2.4.490), counted back from the last step; never when None.
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
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        width = self.layers[0].input_size
        self.encoder: nn.Module = (
            nn.Embedding(inputs.vocabulary, width) if isinstance(inputs, Tokens) else nn.Identity()
        )
        self.head = nn.Linear(self.layers[-1].output_size, output_size)
        self.start = output_size
        self.written = nn.Embedding(output_size + 1, width) if writes else None
        self.dropout = nn.Dropout(dropout)
        self.shape = shape
        self.writes = writes
        self.truncate = truncate
        self._unroll = unroll

    @property
    def layers(self) -> Sequence[Cell]:
        """The cells, the lowest first."""
        return cast(Sequence[Cell], self.cells)

    def encode(self, input: Tensor, target: Tensor | None = None) -> Tensor:
        """What the lowest layer reads.

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
        """The state of every layer before the first step."""
        return tuple(cell.initial_state(batch_size) for cell in self.layers)

    def advance(self, x_TBI: Tensor, state: tuple[State, ...], after: int = 0) -> tuple[Tensor, tuple[State, ...]]:
        """Run some steps through all layers.

        Args:
            x_TBI: The input of the lowest layer, at least one step.
            state: Each layer's state before the first of them.
            after: How many steps of the sequence follow. The places where `truncate` cuts depend on it, since they
                are counted back from the last step.

        Returns:
            The top layer's readout `y_TBH`, and each layer's state after the last step.
        """
        if self.truncate is None:
            return self._advance(x_TBI, state)
        cuts = range((len(x_TBI) + after) % self.truncate, len(x_TBI), self.truncate)
        pieces = []
        for start, stop in pairwise(sorted({0, *cuts, len(x_TBI)})):
            if start in cuts:
                state = tuple(tuple(part.detach() for part in layer) for layer in state)
            y_TBH, state = self._advance(x_TBI[start:stop], state)
            pieces.append(y_TBH)
        return torch.cat(pieces), state

    def _advance(self, x_TBI: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        y_TBH, after = x_TBI, []
        for depth, (cell, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            if depth > 0:
                y_TBH = self.dropout(y_TBH)
            y_TBH, layer_state = self._unroll(cell, y_TBH, layer_state)
            after.append(layer_state)
        return y_TBH, tuple(after)

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
