"""The contracts: what a cell, a block, a task and a probe must do. A plugin subclasses one of them.

Shapes: T time, B batch, I input, H hidden, S supervised steps, C cues. Time comes first, except in the data of a
task, where the batch comes first.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor, nn

from undertow._system.deferred import deferred
from undertow.api.spec import Options, Shape

# torchmetrics imports it, and with it most of SciPy, to give it back a name of old: 0.7 CPU seconds of 3.6 until a
# network is trained.
with deferred("scipy.signal", hamming=None):
    from torchmetrics import Metric

State = tuple[Tensor, ...]
"""One tensor per state part, each with leading dimension B."""

Split = Literal["train", "val", "test"]

GateKind = Literal["sigmoid", "tanh", "relu", "exp", "softplus"]
"""The activation of a gate; the values of `exp` and `softplus` are above 0 without a limit."""


class Factors(NamedTuple):
    """How the optimiser treats a parameter, in comparison with the others.

    Attributes:
        lr: The factor on `optim.lr`; 0 trains nothing.
        weight_decay: The factor on `optim.weight_decay`.
    """

    lr: float = 1.0
    weight_decay: float = 1.0


class Cell(nn.Module, ABC):
    """One layer's recurrence. Write `initial_state` and `step`; the rest is optional.

    The platform runs the time loop, stacks layers and applies dropout between them, so a cell is never written twice
    for speed. A sequence that runs in one piece, or in pieces that pass the state on, must give the same result.

    A factory is called as ``factory(input_size, hidden_size, options, length)``; `length` is the number of time steps
    of the task, for initialisations that depend on it.

    Replicates can be trained side by side, called together by `torch.func.vmap` over their weights. For that, a step
    does not branch on the value of a tensor (no `.item()`), and reads every weight from a parameter or buffer. A cell
    that does otherwise is trained one replicate at a time.

    Attributes:
        keeps: The share of its state that a unit keeps at a step, as the name of one of its `gates` or ``"1 - name"``;
            empty where no gate is this share.
    """

    keeps: str = ""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.options = options
        self.length = length

    @property
    def output_size(self) -> int:
        """The width of `readout`."""
        return self.hidden_size

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before the first step, on the cell's own device and dtype; leading dimension `batch_size`."""

    def project(self, x_TBI: Tensor) -> Tensor:
        """Compute what does not depend on the state, for all steps in one matrix product; default: the input itself.

        Args:
            x_TBI: The input, any number of steps.

        Returns:
            `z_TB…`; `step` takes one time step of it.
        """
        return x_TBI

    @abstractmethod
    def step(self, z: Tensor, state: State) -> State:
        """Compute one step.

        Args:
            z: The step's projection, `z_B…`, from `project`.
            state: The state before the step.

        Returns:
            The state after the step.
        """

    def readout(self, z: Tensor, state: State) -> Tensor:
        """The output of the layer at a step, `(B, output_size)`; default: the first state part.

        Args:
            z: The step's projection, for a layer whose output depends on its input too.
            state: The state *after* the step.
        """
        return state[0]

    def place(self, layer: int, layers: int) -> None:
        """Change the initialisation by the layer, when the network is built; default: nothing.

        Args:
            layer: This cell's layer, from 0, the lowest.
            layers: How many there are.
        """
        return

    def parameter_factors(self) -> Mapping[str, Factors]:
        """Factors on the learning rate and the weight decay of some parameters; default: none.

        For parameters whose size is not that of a weight, such as the logarithm of a decay rate: weight decay would
        move them to 0, which is no neutral value. `cell.lr_scale` and `cell.decay_scale` of a run take precedence.

        Returns:
            Factors by the name of the parameter, without the modules it is in, as in `cell.lr_scale`.
        """
        return {}

    def constrain(self) -> None:
        """Move parameters back to allowed values, after each optimiser step and without gradients; default: nothing."""
        return

    def recurrent_matrix(self) -> Tensor | None:
        """The matrix that multiplies the state at every step, `(H, H)`, where a cell has one; default: None.

        A unit's own weights are its diagonal. Probes show its spectrum; nothing else depends on it.
        """
        return None

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """Activations inside a step, by name, each with its kind; default: none.

        Args:
            z: From `project`, any leading dimensions.
            state: The state *before* the step, the same leading dimensions.

        Returns:
            The activated values, the same leading dimensions.
        """
        return {}


@runtime_checkable
class Scans(Protocol):
    """A cell with a faster computation of a whole sequence: a fused kernel, a parallel scan."""

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """The readout at every step and the last state; must equal `project` once and `step` in a loop.

        It takes the input and not its projection, since a fused kernel computes the projection too.

        Args:
            x_TBI: The input, any number of steps.
            state: The state before the first of them.

        Returns:
            `y_TBH` and the state after the last step.
        """
        ...


class Block(nn.Module, ABC):
    """What surrounds the cell of a layer: what the cell reads of the layer's input x, and what the layer passes on, y:

        y = block.after(x, cell(block.before(x)))

    The platform projects the input of the network to width H once, so x and y have width H in every layer. A block sees
    single steps: no function of it mixes steps or examples, and it has no state. So a sequence in pieces equals the
    whole, and the state of the cells is all that passes from step to step.

    A factory is called as ``factory(hidden_size, cell_size, options, norm)``.

    Args:
        hidden_size: H.
        cell_size: The width C of the cell's readout: its `output_size`, of a bidirectional layer that of both cells.
        options: The block's own.
        norm: Makes the norm that `cell.norm` names, for vectors of a width: ``self.norm = norm(hidden_size)``.
    """

    def __init__(self, hidden_size: int, cell_size: int, options: Options, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cell_size = cell_size
        self.options = options

    @property
    def output_size(self) -> int:
        """The width of y: H."""
        return self.hidden_size

    def before(self, x: Tensor) -> Tensor:
        """What the cell reads; default: x.

        Args:
            x: The layer's input, `(…, H)`, any leading dimensions.

        Returns:
            `(…, H)`, the same leading dimensions.
        """
        return x

    @abstractmethod
    def after(self, x: Tensor, u: Tensor) -> Tensor:
        """What the layer passes on.

        Args:
            x: The layer's input, `(…, H)`.
            u: The cell's readout, `(…, C)`, the same leading dimensions.

        Returns:
            `(…, H)`, the same leading dimensions.
        """


class Batch(NamedTuple):
    """Several examples, batch first.

    Attributes:
        input: `(B, T, I)` numbers, or `(B, T)` token numbers.
        target: `(B,)` or `(B, O)` for one target a sequence, `(B, T)` or `(B, T, O)` for one a step; `(B, U)` symbols
            for a shape that writes.
    """

    input: Tensor
    target: Tensor


class Vector(NamedTuple):
    """Inputs are vectors of this width."""

    width: int


class Tokens(NamedTuple):
    """Inputs are token numbers below `vocabulary`; the model embeds them."""

    vocabulary: int


class Task(ABC):
    """Data, loss, scores, and what is known about the task.

    A factory is called as ``factory(options, length, seed)``. Examples are a pure function of (seed, split, index):
    example 7 is the same in every process, on every rank and in every batch.

    Attributes:
        shape: Which of the five shapes it is.
        inputs: `Vector` or `Tokens`.
        output_size: Width of the output: the number of classes, or of predicted values.
        length: Time steps of one sequence; for one-to-many, those written.
        writes: How many steps U are written after the input is read, for one-to-many and seq2seq; else 0.
        trivial_loss: The loss of the best predictor that ignores the input, in the unit of `loss`, or None.
        trivial_scores: The scores of the best such answer by some of `metrics`, such as the share of the most frequent
            class as ``accuracy``. Reports hold the scores of a network against them.
        solved: When the task counts as solved, as text such as ``"val/loss < 0.05"``; empty if nothing is known.
    """

    shape: Shape
    inputs: Vector | Tokens
    output_size: int
    length: int
    writes: int = 0
    trivial_loss: float | None = None
    trivial_scores: Mapping[str, float] = MappingProxyType({})
    solved: str = ""

    @abstractmethod
    def size(self, split: Split) -> int | None:
        """How many examples the split holds; None if they are generated without end."""

    @abstractmethod
    def batch(self, split: Split, indices: NDArray[Any]) -> Batch:
        """The examples of these indices, shape `(B,)`, computed together."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each target, not reduced: `(B,)` for one a sequence, `(B, T)` or `(B, U)` for one a step."""

    def supervised(self, batch: Batch) -> Tensor | None:
        """Which steps have a target: `(B, T)` bool if aligned, `(B, U)` for a task that writes; None: every one."""
        return None

    def metrics(self) -> Mapping[str, Metric]:
        """New torchmetrics objects by name (those of the spec).

        Each is updated with outputs `(N, output_size)` and their N targets; for a task that writes, with whole
        sequences, `(B, U, output_size)`, and targets `(B, U)` that are -1 where there is none.
        """
        return {}

    @abstractmethod
    def cues(self, batch: Batch) -> Tensor:
        """The steps whose information the output at the last supervised step needs: `(B, C)` integers.

        Steps count from the first that is read; those that write follow those that read.
        """


@runtime_checkable
class Answers(Protocol):
    """A task that computes the target of any input: optional, for generated tasks, whose cues can then be checked.

    The conformance kit exchanges steps between examples, cues for cues and other steps for other steps, and calls
    `answer` again.
    """

    def answer(self, input: Tensor) -> Tensor:
        """Compute the target from the input alone, by the definition of the task, for any values of the steps.

        Args:
            input: As `Batch.input`.

        Returns:
            As `Batch.target`; for an input that `batch` made, equal to its target.
        """
        ...


class Model(Protocol):
    """A network as a probe uses it: it runs whole or in pieces, and its cells are accessible."""

    @property
    def layers(self) -> Sequence[Cell]:
        """The cells, the lowest first; of a bidirectional network each with its backward cell after it."""
        ...

    @property
    def bidirectional(self) -> bool:
        """Whether each layer has a second cell that runs backwards: such a network runs whole only.

        It has no state that separates the past from the future. So `advance` takes all steps from the initial state,
        and returns no state.
        """
        ...

    def encode(self, input: Tensor, target: Tensor | None = None) -> Tensor:
        """Convert a batch's input, batch first, to `x_TBI`; with its target, the steps that write as well."""
        ...

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        """The state of every cell before the first step, in the order of `layers`."""
        ...

    def advance(self, x_TBI: Tensor, state: tuple[State, ...], after: int = 0) -> tuple[Tensor, tuple[State, ...]]:
        """Run some steps: the top layer's `y_TBH` and the state of every layer after them.

        Args:
            x_TBI: The input of the lowest layer.
            state: Before the first of them.
            after: How many steps of the sequence follow; `train.truncate` counts from the end of the sequence.
        """
        ...

    def step(self, x_BI: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Run one step by the `step` of every cell, never truncated; as `advance` without its dimension of time."""
        ...

    def cell_inputs(self, x_TBI: Tensor) -> Sequence[Tensor]:
        """What each of `layers` reads at every step of a whole sequence, in the order in which it reads them.

        A cell that runs backwards reads the last step first. With blocks between the cells this is not the readout of
        the cell below.
        """
        ...

    def decode(self, y: Tensor) -> Tensor:
        """The top layer's readout, any leading dimensions, to the output."""
        ...

    def output(self, y_TBH: Tensor) -> Tensor:
        """The top layer's readout at every step, the steps that write included, to what `Task.loss` takes."""
        ...


class Curve(NamedTuple):
    """Values along an axis of whole steps, such as lag."""

    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Measurement:
    """What a probe found.

    Attributes:
        scalars: Value by metric name, such as ``gradient/h/half_life``.
        curves: Curve by metric name, such as ``gradient/h/by_lag``.
    """

    scalars: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What a probe measures.

    Attributes:
        model: The network, not wrapped by any strategy.
        task: Its task.
        batch: A fixed sub-batch of the validation split, on the model's device.
        state: Names of the cell's state parts, in their order.
        step: Training steps done.
        seconds_per_step: Seconds of one training step so far, without probes and validation; None before the first. In
            a pack a step trains all replicates, and this is the share of one.
        batch_size: Examples of one training step, over all devices.
    """

    model: Model
    task: Task
    batch: Batch
    state: tuple[str, ...]
    step: int
    seconds_per_step: float | None
    batch_size: int


class Probe(ABC):
    """A measurement that leaves weights, gradients, buffers and random state as they were.

    A factory is called as ``factory(options)``. The platform runs it on rank 0, outside the autograd graph of training.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def measure(self, subject: Subject) -> Measurement:
        """Measure. Every value is finite, every name legal in MLflow (letters, digits, ``_ - . / :`` and blanks)."""
