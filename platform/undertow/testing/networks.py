"""Small networks on which a probe is checked, so that the kit needs no plugin but the one under test.

T time, B batch, I input, H hidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from undertow.api.contract import Batch, Block, Cell, GateKind, Split, State, Subject, Task, Tokens, Vector
from undertow.api.spec import Options, Shape
from undertow.draws import integers, uniforms
from undertow.nn.blocks import NORMS, Glu, Plain
from undertow.nn.model import SequenceModel

HIDDEN, EXAMPLES = 8, 6


class Tanh(Cell):
    """h' = tanh(W x + U h), with a `scan` by torch's fused kernel."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.kernel = nn.RNN(input_size, hidden_size, bias=False)

    @property
    def W(self) -> Tensor:
        """Weights of the input, `(H, I)`."""
        return cast(Tensor, self.kernel.weight_ih_l0)

    @property
    def U(self) -> Tensor:
        """Weights of the state, `(H, H)`."""
        return cast(Tensor, self.kernel.weight_hh_l0)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.U.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x, `(T, B, H)`."""
        return functional.linear(x_TBI, self.W)

    def step(self, z: Tensor, state: State) -> State:
        """One step."""
        return (torch.tanh(z + functional.linear(state[0], self.U)),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in one kernel."""
        y_TBH, h_1BH = self.kernel(x_TBI, state[0].unsqueeze(0))
        return y_TBH, (h_1BH[0],)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new state, `h`."""
        return {"h": (self.step(z, state)[0], "tanh")}


class Gated(Cell):
    """c' = f ∘ c + tanh(W_g x + U_g h),  f = σ(W_f x + U_f h + 1);  h' = tanh(c'): two state parts, no `scan`."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)

    def initial_state(self, batch_size: int) -> State:
        """Zeros for h and c, `(B, H)` each."""
        zeros = self.U.weight.new_zeros(2, batch_size, self.hidden_size)
        return (zeros[0], zeros[1])

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x, `(T, B, 2H)`."""
        projected: Tensor = self.W(x_TBI)
        return projected

    def step(self, z: Tensor, state: State) -> State:
        """One step."""
        forget, new = (z + self.U(state[0])).chunk(2, -1)
        c_BH = (forget + 1).sigmoid() * state[1] + new.tanh()
        return c_BH.tanh(), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The forget gate `f`."""
        forget, _ = (z + self.U(state[0])).chunk(2, -1)
        return {"f": ((forget + 1).sigmoid(), "sigmoid")}


class Counting(Cell):
    """S' = u / (1 + |u|), u = W x + U S / (1 + n mod 2), complex; n' = n + 1, an integer; the output is Re S + Im S."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64) / 2)
        self.U = nn.Parameter(torch.linalg.qr(torch.randn(hidden_size, hidden_size, dtype=torch.complex64)).Q)

    def initial_state(self, batch_size: int) -> State:
        """Zeros for S, `(B, H)` complex, and n, `(B, 1)` int64."""
        zeros = self.U.new_zeros(batch_size, self.hidden_size)
        return zeros, torch.zeros_like(zeros[:, :1], dtype=torch.int64)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x, `(T, B, H)` complex."""
        return functional.linear(x_TBI.to(self.W.dtype), self.W)

    def step(self, z: Tensor, state: State) -> State:
        """One step."""
        S_BH, n_B1 = state
        u_BH = z + functional.linear(S_BH, self.U) / (1 + n_B1 % 2)
        return u_BH / (1 + u_BH.abs()), n_B1 + 1

    def readout(self, z: Tensor, state: State) -> Tensor:
        """Re S + Im S, `(B, H)`."""
        return state[0].real + state[0].imag


class FirstValue(Task):
    """Noise; the answer at the end is the sign of the first value: class 0 or 1."""

    shape: Shape = "many-to-one"
    inputs: Vector | Tokens = Vector(2)
    output_size = 2

    def __init__(self, length: int) -> None:
        self.length = length

    def size(self, split: Split) -> int | None:
        """None: examples never run out."""
        return None

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Numbers `(B, T, 2)` and classes `(B,)`."""
        u_BN = uniforms(0, f"testing/{split}", indices, 2 * self.length)
        x_BTI = torch.from_numpy(2 * u_BN - 1).float().view(len(u_BN), self.length, 2)
        return Batch(x_BTI, (x_BTI[:, 0, 0] > 0).long())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of each answer."""
        return functional.cross_entropy(output.movedim(-1, 1), target, reduction="none")

    def cues(self, batch: Batch) -> Tensor:
        """The first step, `(B, 1)`."""
        return torch.zeros(len(batch.target), 1, dtype=torch.int64, device=batch.target.device)


class OneStep(FirstValue):
    """The same, with a sequence of one step."""

    shape: Shape = "one-to-one"

    def __init__(self, length: int) -> None:
        super().__init__(1)


class Echo(FirstValue):
    """Tokens; the answer at each step but the first is the token of the step before it."""

    shape: Shape = "aligned"
    inputs: Vector | Tokens = Tokens(3)
    output_size = 3

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Tokens `(B, T)`, and those of the step before, `(B, T)`."""
        x_BT = torch.from_numpy(integers(0, f"testing/{split}", indices, self.length, 3))
        return Batch(x_BT, x_BT.roll(1, dims=1))

    def supervised(self, batch: Batch) -> Tensor:
        """All steps but the first, `(B, T)`."""
        mask_BT = torch.ones_like(batch.target, dtype=torch.bool)
        mask_BT[:, 0] = False
        return mask_BT

    def cues(self, batch: Batch) -> Tensor:
        """The step before the last, `(B, 1)`."""
        return torch.full((len(batch.target), 1), self.length - 2, device=batch.target.device)


class Spell(FirstValue):
    """One step is read; six symbols are written: 0 or 1 by the sign of the first value, and 2 from the fourth on."""

    shape: Shape = "one-to-many"
    output_size = 3

    def __init__(self, length: int) -> None:
        super().__init__(1)
        self.length = self.writes = 6

    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """Numbers `(B, 1, 2)` and symbols `(B, U)`."""
        x_B1I = torch.from_numpy(2 * uniforms(0, f"testing/{split}", indices, 2) - 1).float().unsqueeze(1)
        target_BU = (x_B1I[:, :, 0] > 0).long().repeat(1, self.writes)
        target_BU[:, 3:] = 2
        return Batch(x_B1I, target_BU)


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        cell: Its cells.
        task: Its task.
        state: Names of their state parts.
        layers: How many layers.
        block: The block around each cell.
        bidirectional: Whether each layer has a second cell, which runs backwards.
    """

    cell: type[Cell]
    task: type[FirstValue]
    state: tuple[str, ...]
    layers: int
    block: type[Block] = Plain
    bidirectional: bool = False


NETWORKS = {
    "one layer of one state part, the answer at the end": Kind(Tanh, FirstValue, ("h",), 1),
    "two layers of two state parts in steps, the answer at the end": Kind(Gated, FirstValue, ("h", "c"), 2),
    "two layers over tokens, an answer at most steps": Kind(Tanh, Echo, ("h",), 2),
    "one layer of a complex and an integer state part, the answer at the end": Kind(
        Counting, FirstValue, ("S", "n"), 1
    ),
    "one layer, a sequence of one step": Kind(Gated, OneStep, ("h", "c"), 1),
    "one layer, one step read and several written": Kind(Tanh, Spell, ("h",), 1),
    "two layers in blocks, the answer at the end": Kind(Gated, FirstValue, ("h", "c"), 2, Glu),
    "two layers of two directions, the answer at the end": Kind(Gated, FirstValue, ("h", "c"), 2, bidirectional=True),
}
"""Networks of every kind that a run can have."""

FIRST = next(iter(NETWORKS))


def small_network(name: str = FIRST, length: int = 12, hidden: int = HIDDEN) -> tuple[SequenceModel, Task, Subject]:
    """A network in training mode, its task, and the subject of a probe; torch's random state is left as it was."""
    kind = NETWORKS[name]
    task = kind.task(length)
    directions = range(2 if kind.bidirectional else 1)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        width = task.inputs.width if isinstance(task.inputs, Vector) and kind.block is Plain else hidden
        cells: list[list[Cell]] = []
        blocks: list[Block] = []
        for _ in range(kind.layers):
            cells.append([kind.cell(width, hidden, Options(), task.length) for _ in directions])
            blocks.append(kind.block(hidden, len(directions) * hidden, Options(), NORMS["layer"]))
            width = blocks[-1].output_size
        model = SequenceModel(
            [pair[0] for pair in cells],
            inputs=task.inputs,
            output_size=task.output_size,
            shape=task.shape,
            writes=task.writes,
            dropout=0.2 if kind.layers > 1 else 0.0,
            blocks=blocks,
            backward_cells=[cell for pair in cells for cell in pair[1:]],
        )
    subject = Subject(
        model=model,
        task=task,
        batch=task.batch("val", torch.arange(EXAMPLES).numpy()),
        state=kind.state,
        step=3,
        seconds_per_step=0.01,
        batch_size=EXAMPLES,
    )
    return model.train(), task, subject
