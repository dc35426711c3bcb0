"""The network around the cells: encode the input, run the layers through time, decode the steps that have a target.

    model = SequenceModel(cells, inputs=Vector(1), output_size=10, shape="many-to-one")
    logits_BO = model(x_BTI)

| shape | runs over | decodes |
|---|---|---|
| one-to-one | one step | that step |
| many-to-one | T steps | the last |
| aligned | T steps | every one |

One-to-many and seq2seq run over more steps than they read; they will be further ways to `forward`, over the same
`encode`, `advance` and `decode`.

T time, B batch, I input, H hidden, O output.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from undertow.contract import Cell, State, Tokens, Vector
from undertow.nn.loop import unroll
from undertow.spec import Shape


class SequenceModel(nn.Module):
    """Stacked recurrent layers between an encoder and a linear head.

    Args:
        cells: One a layer, the lowest first; each takes the width of the one below.
        inputs: `Vector` inputs go to the first layer as they are, `Tokens` through an embedding of its input width.
        output_size: Width of the output.
        shape: Which steps are decoded.
        dropout: Probability of dropping an activation between two layers.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        *,
        inputs: Vector | Tokens,
        output_size: int,
        shape: Shape,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.encoder: nn.Module = (
            nn.Embedding(inputs.vocabulary, self.layers[0].input_size) if isinstance(inputs, Tokens) else nn.Identity()
        )
        self.head = nn.Linear(self.layers[-1].output_size, output_size)
        self.dropout = nn.Dropout(dropout)
        self.shape = shape

    @property
    def layers(self) -> Sequence[Cell]:
        """The cells, the lowest first."""
        return cast(Sequence[Cell], self.cells)

    def encode(self, input: Tensor) -> Tensor:
        """`(B, T, I)` numbers or `(B, T)` tokens to `x_TBI`."""
        return cast(Tensor, self.encoder(input)).transpose(0, 1)

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        """The state of every layer before the first step."""
        return tuple(cell.initial_state(batch_size) for cell in self.layers)

    def advance(self, x_TBI: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Run some steps through all layers.

        Args:
            x_TBI: The input of the lowest layer, at least one step.
            state: Each layer's state before the first of them.

        Returns:
            The top layer's readout `y_TBH`, and each layer's state to hand on.
        """
        y_TBH, handed_on = x_TBI, []
        for depth, (cell, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            if depth > 0:
                y_TBH = self.dropout(y_TBH)
            y_TBH, layer_state = unroll(cell, y_TBH, layer_state)
            handed_on.append(layer_state)
        return y_TBH, tuple(handed_on)

    def decode(self, y: Tensor) -> Tensor:
        """The top layer's readout `(…, H)` to the output `(…, O)`."""
        return cast(Tensor, self.head(y))

    def forward(self, input: Tensor) -> Tensor:
        """A batch's input to its output: `(B, O)`, or `(B, T, O)` for the aligned shape."""
        x_TBI = self.encode(input)
        y_TBH, _ = self.advance(x_TBI, self.initial_state(x_TBI.shape[1]))
        return self.decode(y_TBH.transpose(0, 1) if self.shape == "aligned" else y_TBH[-1])
