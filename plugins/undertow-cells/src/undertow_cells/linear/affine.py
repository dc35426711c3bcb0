"""What the cells with an elementwise linear recurrence have in common. T time, B batch, H hidden."""

from abc import abstractmethod

import torch
from torch import Tensor

from undertow import Cell, State
from undertow_cells.linear.scan import linear_scan


class AffineCell(Cell):
    """h' = a ∘ h + b, where a and b come from the input alone: a cell writes `parts`.

    The sequence is run by the parallel scan. A cell that does not show h itself writes `readout` and `shown`.
    """

    @abstractmethod
    def parts(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor a, the addend b, and what `shown` and `gates` need, `(T, B, H)` each."""

    def shown(self, h: Tensor, *rest: Tensor) -> Tensor:
        """What the layer shows of the state after a step, given the parts after a and b; default: the state."""
        return h

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (next(self.parameters()).new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """All `parts` side by side."""
        return torch.cat(self.parts(x_TBI), -1)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` begins with a and b."""
        a_BH, b_BH, *_ = z.chunk(z.shape[-1] // self.hidden_size, -1)
        return (torch.addcmul(b_BH, a_BH, state[0]),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan."""
        a_TBH, b_TBH, *rest = self.parts(x_TBI)
        h_TBH, h_BH = linear_scan(a_TBH, b_TBH, state[0])
        return self.shown(h_TBH, *rest), (h_BH,)
