"""What cells have in common whose step uses a weight that is made from their parameters.

A rotation is a matrix exponential, a bounded weight is a clamp. To make it once a step would cost more than the step;
here it is made once a sequence, or once a piece of one, and every step of it takes the same tensor.

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
        """What `advance` needs beside the parameters: a function of the parameters alone."""

    @abstractmethod
    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step with a `weight` that is already made."""

    def step(self, z: Tensor, state: State) -> State:
        """One step, for which the weight is made anew."""
        return self.advance(z, state, self.weight())

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in a loop, with one weight."""
        weight = self.weight()
        outputs = []
        for z in self.project(x_TBI).unbind(0):
            state = self.advance(z, state, weight)
            outputs.append(self.readout(z, state))
        return torch.stack(outputs), state
