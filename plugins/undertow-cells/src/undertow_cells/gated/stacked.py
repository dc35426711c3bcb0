"""The base of the gated cells that are written as steps: the input weights of all gates in one matrix.

Under autocast a matrix product has 16 bits while the state has 32. `torch.lerp` needs one dtype, so its other arguments
are converted with `.to(h_BH.dtype)`, which costs nothing where the dtypes are equal.

T time, B batch, I input, H hidden, G gates: the blocks of H rows that are stacked in one matrix.
"""

import torch
from torch import Tensor, nn

from undertow import Cell, Options, State
from undertow_cells.projection import projection


class StackedCell(Cell):
    """A cell with W and b stacked by gate; the subclass defines the weights of the state and the step.

    Args:
        input_size: I.
        hidden_size: H.
        options: The cell's options.
        length: Time steps of the task.
        rows: One letter per gate, in the order in which the blocks are stacked.
        parts: Number of state parts, `(B, H)` each.

    Attributes:
        weight_ih: W, `(GH, I)`, from U(-1/√H, 1/√H) unless the cell changes it.
        bias: b, `(GH,)`, zeros unless the cell changes it.
    """

    def __init__(
        self, input_size: int, hidden_size: int, options: Options, length: int, *, rows: str, parts: int = 1
    ) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self._rows = rows
        self._parts = parts
        self.weight_ih = self._uniform(len(rows) * hidden_size, input_size)
        self.bias = nn.Parameter(torch.zeros(len(rows) * hidden_size))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)` for each part."""
        return tuple(self.bias.new_zeros(batch_size, self.hidden_size) for _ in range(self._parts))

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b of every gate, `(T, B, GH)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def _uniform(self, *shape: int) -> nn.Parameter:
        """A weight from torch's U(-1/√H, 1/√H)."""
        bound = self.hidden_size**-0.5
        return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def _set_bias(self, gate: str, value: Tensor | float) -> None:
        """Set the bias of a gate: one number for all units, or `(H,)`."""
        with torch.no_grad():
            self.bias.view(-1, self.hidden_size)[self._rows.index(gate)] = value
