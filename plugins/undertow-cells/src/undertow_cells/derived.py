"""The base of cells whose step uses a weight that is computed from their parameters.

A rotation is a matrix exponential, a bounded weight is a clamp. To compute it at every step would cost more than the
step; here it is computed once for a sequence, or for a piece of one, and all steps use the same tensor.

T time, B batch, I input, H hidden.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from undertow import Cell, State


class DerivedCell(Cell):
    """Write `weight` and `advance` in place of `step`; `scan` and `step` follow."""

    @abstractmethod
    def weight(self) -> Tensor:
        """The weight that `advance` uses: a function of the parameters alone."""

    @abstractmethod
    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step with a `weight` that is already computed."""

    def step(self, z: Tensor, state: State) -> State:
        """One step, for which the weight is computed."""
        return self.advance(z, state, self.weight())

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in a loop, with the weight computed once."""
        weight = self.weight()
        outputs = []
        for z in self.project(x_TBI).unbind(0):
            state = self.advance(z, state, weight)
            outputs.append(self.readout(z, state))
        return torch.stack(outputs), state
