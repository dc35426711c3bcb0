"""The base of the cells with an elementwise linear recurrence. T time, B batch, H hidden."""

from abc import abstractmethod

import torch
from torch import Tensor

from undertow import Cell, State
from undertow_cells.linear.scan import linear_scan


class AffineCell(Cell):
    """h' = a ∘ h + b, where a and b are computed from the input alone: a subclass defines `terms`.

    The sequence is run by the parallel scan. A subclass whose output is not h defines `readout` and `output`.
    """

    @abstractmethod
    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor a, the addend b, and then what `output` and `gates` need, `(T, B, H)` each."""

    def output(self, h: Tensor, *rest: Tensor) -> Tensor:
        """The layer's output for states h, given the terms after a and b; default: the state."""
        return h

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (next(self.parameters()).new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """All `terms` side by side."""
        return torch.cat(self.terms(x_TBI), -1)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` begins with a and b."""
        a_BH, b_BH, *_ = z.chunk(z.shape[-1] // self.hidden_size, -1)
        return (torch.addcmul(b_BH, a_BH, state[0]),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan."""
        a_TBH, b_TBH, *rest = self.terms(x_TBI)
        h_TBH, h_BH = linear_scan(a_TBH, b_TBH, state[0])
        return self.output(h_TBH, *rest), (h_BH,)
