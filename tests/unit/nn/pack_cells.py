"""A scratch plugin for the tests of packs: `Right`, and cells of which each does one thing that a pack must notice."""

from collections.abc import Iterable
from typing import Any

import torch

from undertow import Cell, CellSpec, Options, State, hookimpl
from undertow.nn import unroll_by_steps


class Right(Cell):
    """h' = tanh(W x + U h + b + e), where e is a buffer."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.U = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.register_buffer("e", torch.rand(hidden_size))

    def initial_state(self, batch_size: int) -> State:
        return (self.U.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, z: torch.Tensor, state: State) -> State:
        return (torch.tanh(self.W(z) + self.U(state[0]) + self.e),)


class Branching(Right):
    """It depends on a value by the control flow of Python."""

    def step(self, z: torch.Tensor, state: State) -> State:
        return super().step(z, state) if state[0].abs().max() < 2 else state


class Explaining(Branching):
    """The same, with an error of two lines."""

    def step(self, z: torch.Tensor, state: State) -> State:
        try:
            return super().step(z, state)
        except RuntimeError as error:
            raise RuntimeError("it depends on a value\nUse torch.where.") from error


class Reading(Right):
    """It reads a value as a number."""

    def step(self, z: torch.Tensor, state: State) -> State:
        return super().step(z * (1 + z.mean().item()), state)


class Listing(Right):
    """It reads a weight from a list, beside the module that owns it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.weights = [self.U.weight]

    def step(self, z: torch.Tensor, state: State) -> State:
        return (torch.tanh(self.W(z) + state[0] @ self.weights[0].T + self.e),)


class Replacing(Right):
    """It replaces a buffer at each step."""

    def step(self, z: torch.Tensor, state: State) -> State:
        self.e = 0.9 * self.e + 0.1 * z.detach().mean()
        return super().step(z, state)


class Updating(Right):
    """It updates a buffer in place at each step."""

    def step(self, z: torch.Tensor, state: State) -> State:
        after = super().step(z, state)
        self.e.mul_(0.9).add_(0.1 * z.detach().mean())
        return after


class Drawing(Right):
    """It draws random numbers, in training only."""

    def step(self, z: torch.Tensor, state: State) -> State:
        return super().step(z + torch.rand_like(z) if self.training else z, state)


class BranchingScan(Right):
    """Its scan depends on values, its steps do not."""

    def scan(self, x_TBI: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        outputs = []
        for z in self.project(x_TBI):
            state = self.step(z, state) if state[0].abs().max() < 2 else state
            outputs.append(state[0])
        return torch.stack(outputs), state


class NoBackwardInEvaluation(Right):
    """Its scan has no backward in evaluation mode, as torch's kernels on a GPU."""

    def scan(self, x_TBI: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y_TBH, last = unroll_by_steps(self, x_TBI, state)
        return (y_TBH, last) if self.training else (y_TBH.detach(), (last[0].detach(),))


class Turning(Cell):
    """s' = (W x + U s) / 2 with complex weights; the output is Re s."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = torch.nn.Parameter(torch.randn(input_size, hidden_size, dtype=torch.complex128))
        self.U = torch.nn.Parameter(torch.randn(hidden_size, hidden_size, dtype=torch.complex128))

    def initial_state(self, batch_size: int) -> State:
        return (self.U.new_zeros(batch_size, self.hidden_size),)

    def step(self, z: torch.Tensor, state: State) -> State:
        return ((z.to(self.W.dtype) @ self.W + state[0] @ self.U) / 2,)

    def readout(self, z: torch.Tensor, state: State) -> torch.Tensor:
        return state[0].real


CELLS = {
    "right": Right,
    "branching": Branching,
    "explaining": Explaining,
    "reading": Reading,
    "listing": Listing,
    "replacing": Replacing,
    "updating": Updating,
    "drawing": Drawing,
    "branching-scan": BranchingScan,
    "no-backward-in-evaluation": NoBackwardInEvaluation,
    "turning": Turning,
}


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    for name, cell in CELLS.items():
        yield CellSpec(name=name, summary="A cell.", factory=f":{cell.__name__}", state=("h",))
