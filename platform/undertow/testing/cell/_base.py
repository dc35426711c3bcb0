"""What the checks of a cell share: a new cell, the ways to run it, inputs, and states that the cell itself reached.

T time (8), B batch (3), I input (2), H hidden (4).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from undertow.api.contract import Cell, Scans, State
from undertow.api.spec import CellSpec
from undertow.nn.loop import Unroll, unroll, unroll_by_steps
from undertow.testing.conformance import Conformance

T, B, IN, H = 8, 3, 2, 4


class CellChecks(Conformance):
    """Base of the groups of checks."""

    kind = "cell"

    @property
    def spec(self) -> CellSpec:
        """The spec of the cell."""
        return cast(CellSpec, self.entry.spec)

    def build(
        self,
        input_size: int = IN,
        hidden_size: int = H,
        length: int = T,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> Cell:
        """Make a cell in evaluation mode; torch's random state is left as it was."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            cell: Cell = self.registry.factory(self.spec)(input_size, hidden_size, self.made_options(), length)
        return converted(cell, dtype).eval()

    def unrolls(self, cell: Cell) -> dict[str, Unroll]:
        """The functions that run it over a sequence, by name: by its `scan`, if it has one, and step by step."""
        by_steps: dict[str, Unroll] = {"step by step": unroll_by_steps}
        return {"by scan": unroll, **by_steps} if isinstance(cell, Scans) else by_steps

    def need_scan(self, cell: Cell) -> None:
        """Skip the check for a cell without `scan`."""
        if not isinstance(cell, Scans):
            self.skip("no scan")


def converted(cell: Cell, dtype: torch.dtype) -> Cell:
    """The cell with real tensors in `dtype`, complex ones in the same precision; `cell.to` drops imaginary parts."""
    cell = cell.double() if dtype == torch.float64 else cell.float()  # neither converts complex tensors
    for tensor in (*cell.parameters(), *cell.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(dtype.to_complex())
    return cell


def noise(
    steps: int = T, batch: int = B, width: int = IN, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Normal numbers `(steps, batch, width)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, batch, width, dtype=torch.float64, generator=generator).to(dtype)


def reached_state(cell: Cell) -> State:
    """The state of the cell after three steps of noise: some cells have parts that only make sense together."""
    with torch.no_grad():
        like = next((p for p in cell.parameters()), torch.empty(0, dtype=torch.float64))
        x_TBI = noise(3, B, cell.input_size, seed=1, dtype=like.dtype.to_real()).to(like.device)
        _, state = unroll_by_steps(cell, x_TBI, cell.initial_state(B))
    return tuple(part.detach().clone() for part in state)


def leaves(state: State) -> State:
    """The same state as leaves of a graph; integer parts have no gradient."""
    return tuple(part.clone().requires_grad_(part.is_floating_point() or part.is_complex()) for part in state)


def gradients_of(loss: Tensor, inputs: Sequence[Tensor], *, retain: bool = False) -> list[Tensor]:
    """The gradient by each input; zero where there is none."""
    if not inputs:
        return []
    found = torch.autograd.grad(loss, inputs, retain_graph=retain, allow_unused=True, materialize_grads=True)
    return list(found)


def all_gradients(cell: Cell, run: Unroll) -> dict[str, Tensor]:
    """The gradients of a loss over all outputs and the last state: by the input, each state part and each weight."""
    device = next((p.device for p in cell.parameters()), torch.device("cpu"))
    x_TBI = noise().to(device).requires_grad_()
    start = leaves(reached_state(cell))
    y_TBH, last = run(cell, x_TBI, start)
    loss = (y_TBH * torch.arange(1, T + 1, device=device).view(T, 1, 1)).sum()
    loss = loss + sum(part.abs().square().sum() for part in last if part.requires_grad)
    inputs = {"the input": x_TBI} | {f"state part {i}": part for i, part in enumerate(start) if part.requires_grad}
    inputs |= {f"`{name}`": parameter for name, parameter in cell.named_parameters()}
    return dict(zip(inputs, gradients_of(loss, list(inputs.values())), strict=True))
