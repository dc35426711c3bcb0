"""Plugins of every kind that pass every check; the broken plugins beside this file are subclasses of them.

A scratch plugin. It imports torch in the module of its hooks, so if installed it breaks the first check.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics import MeanSquaredError, Metric

from undertow import (
    Batch,
    Block,
    BlockSpec,
    CallbackSpec,
    Cell,
    CellSpec,
    Curve,
    GateKind,
    Lengths,
    Measurement,
    OptimizerSpec,
    Options,
    Probe,
    ProbeSpec,
    Split,
    State,
    Subject,
    Task,
    TaskSpec,
    Vector,
    draws,
    hookimpl,
)


class RightOptions(Options):
    """Options of all."""

    strength: float = 1.0
    """How strong it is."""


class RightCell(Cell):
    """h' = tanh(W x + U h + b), with a `scan` that loops over the steps; from these weights it learns to add fast."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.normal_(self.W.weight)
        nn.init.eye_(self.U.weight)

    def initial_state(self, batch_size: int) -> State:
        return (self.U.weight.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        return self.W(x_TBI)

    def step(self, z: Tensor, state: State) -> State:
        return (torch.tanh(z + self.U(state[0])),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = []
        for z in self.project(x_TBI):
            state = self.step(z, state)
            outputs.append(self.readout(z, state))
        return torch.stack(outputs), state

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        return {"h": (torch.tanh(z + self.U(state[0])), "tanh")}


class CountingCell(RightCell):
    """As `RightCell`, but every second step moves h by half; n, an integer state part, counts the steps."""

    def initial_state(self, batch_size: int) -> State:
        return (*super().initial_state(batch_size), torch.zeros_like(self.U.weight[:1, 0].expand(batch_size)).long())

    def step(self, z: Tensor, state: State) -> State:
        h_BH, n_B = state
        new_BH = torch.tanh(z + self.U(h_BH))
        return torch.where((n_B % 2 == 0).unsqueeze(1), new_BH, (h_BH + new_BH) / 2), n_B + 1


class DrawingCell(RightCell):
    """As `RightCell`, but in training mode a unit keeps its state at one step of twenty, drawn at random."""

    def step(self, z: Tensor, state: State) -> State:
        (new_BH,) = super().step(z, state)
        return (torch.where(torch.rand_like(new_BH) < 0.05, state[0], new_BH) if self.training else new_BH,)


class ComplexCell(Cell):
    """s' = u / (1 + |u|), u = W x + U s + b, all complex; the output is Re s + Im s."""

    def __init__(self, input_size: int, hidden_size: int, options: Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.W = nn.Parameter(torch.randn(hidden_size, input_size, dtype=torch.complex64) / 2)
        self.U = nn.Parameter(torch.linalg.qr(torch.randn(hidden_size, hidden_size, dtype=torch.complex64)).Q)
        self.b = nn.Parameter(torch.zeros(hidden_size, dtype=torch.complex64))

    def initial_state(self, batch_size: int) -> State:
        return (self.U.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        return functional.linear(x_TBI.to(self.W.dtype), self.W, self.b)

    def step(self, z: Tensor, state: State) -> State:
        u_BH = z + functional.linear(state[0], self.U)
        return (u_BH / (1 + u_BH.abs()),)

    def readout(self, z: Tensor, state: State) -> Tensor:
        return state[0].real + state[0].imag


class RightBlock(Block):
    """y = x + (W u + b) ∘ σ(norm(x)); the cell reads norm(x)."""

    def __init__(self, hidden_size: int, cell_size: int, options: Options, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(hidden_size, cell_size, options, norm)
        self.norm = norm(hidden_size)
        self.W = nn.Linear(cell_size, hidden_size)

    def before(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def after(self, x: Tensor, u: Tensor) -> Tensor:
        return x + self.W(u) * self.norm(x).sigmoid()


class RightTask(Task):
    """Noise from U(0, 1); the answer at the end is the first value. Its variance is the loss of a constant, 1/12."""

    shape = "many-to-one"
    inputs = Vector(2)
    output_size = 1
    trivial_loss = 1 / 12
    trivial_scores: ClassVar[Mapping[str, float]] = {"error": 1 / 12}

    def __init__(self, options: Options, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed

    def size(self, split: Split) -> int | None:
        return None

    def stream(self, split: Split) -> str:
        return f"first/{split}"

    def batch(self, split: Split, indices: Any) -> Batch:
        u_BN = draws.uniforms(self.seed, self.stream(split), indices, 2 * self.length)
        x_BTI = torch.from_numpy(u_BN).float().view(len(u_BN), self.length, 2)
        return Batch(x_BTI, self.answer(x_BTI))

    def answer(self, input: Tensor) -> Tensor:
        return input[:, 0, :1]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().squeeze(-1)

    def metrics(self) -> Mapping[str, Metric]:
        return {"error": MeanSquaredError()}

    def cues(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch.input), 1, dtype=torch.int64)


class RightProbe(Probe):
    """The largest weight, and the mean absolute readout by time step."""

    scalar: ClassVar[str] = "right/largest"

    def measure(self, subject: Subject) -> Measurement:
        model = subject.model
        x_TBI = model.encode(subject.batch.input)
        with torch.no_grad():
            y_TBH, _ = model.advance(x_TBI, model.initial_state(x_TBI.shape[1]))
        largest = max(float(p.detach().abs().max()) for cell in model.layers for p in cell.parameters())
        sizes = y_TBH.abs().mean((1, 2)).tolist()
        return Measurement({self.scalar: largest}, {"right/by_time": Curve(range(len(sizes)), sizes)})


class RightOptimizer(Optimizer):
    """m' = 0.9 m + 0.1 g;  w' = (1 - lr λ) w - lr m'."""

    keeps_mean = True

    def __init__(self, groups: list[dict[str, Any]], options: RightOptions) -> None:
        super().__init__(groups, {"strength": options.strength})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, group)
        return loss

    def mean(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(parameter)
        return state["mean"]

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        mean = self.mean(parameter).lerp_(gradient, 0.1)
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * group["strength"] * mean)


class NormalisedOptimizer(RightOptimizer):
    """As `RightOptimizer`, with the gradient of each parameter scaled to at most norm 1: it steps no stacks."""

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        super().update(parameter, gradient / gradient.norm().clamp(min=1.0), group)


class RightCallback(pl.Callback):
    """Keeps the mean of the first weight over all steps, logs its size, and writes it at the end."""

    logs: ClassVar[str] = "right/mean"
    file: ClassVar[str] = "right.txt"

    def __init__(self, options: RightOptions) -> None:
        self.strength = options.strength
        self.step = 0
        self.mean: Tensor | float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.mean, self.step = state_dict["mean"], state_dict["step"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self.step:
            self.step = trainer.global_step
            self.count(pl_module)

    def count(self, network: pl.LightningModule) -> None:
        weight = next(network.parameters()).detach()
        self.mean = self.mean + (weight - self.mean) / self.step
        network.log(self.logs, self.mean.abs().mean())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        Path(trainer.default_root_dir, self.file).write_text(str(self.mean))


class DrawingCallback(RightCallback):
    """As `RightCallback`, and adds noise to the gradients: it says that it changes training."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        for parameter in pl_module.parameters():
            if parameter.grad is not None:
                parameter.grad += 0.01 * torch.randn_like(parameter)


def cell_spec(
    name: str, factory: str, options: type[Options] = RightOptions, state: tuple[str, ...] = ("h",)
) -> CellSpec:
    return CellSpec(name=name, summary="A cell.", factory=factory, options=options, state=state)


def block_spec(name: str, factory: str, options: type[Options] = RightOptions) -> BlockSpec:
    return BlockSpec(name=name, summary="A block.", factory=factory, options=options)


def task_spec(name: str, factory: str, options: type[Options] = RightOptions, **more: Any) -> TaskSpec:
    settings = {"shape": "many-to-one", "lengths": Lengths(default=12), "metrics": {"error": "min"}} | more
    return TaskSpec(name=name, summary="A task.", factory=factory, options=options, **settings)


def probe_spec(name: str, factory: str, options: type[Options] = RightOptions) -> ProbeSpec:
    return ProbeSpec(name=name, summary="A probe.", factory=factory, options=options)


def optimizer_spec(
    name: str, factory: str, options: type[Options] = RightOptions, elementwise: bool = True
) -> OptimizerSpec:
    return OptimizerSpec(name=name, summary="An optimiser.", factory=factory, options=options, elementwise=elementwise)


def callback_spec(name: str, factory: str, options: type[Options] = RightOptions, **more: Any) -> CallbackSpec:
    settings = {"measures": {"right/<what>": "The mean."}, "files": ("right.txt",)} | more
    return CallbackSpec(name=name, summary="A callback.", factory=factory, options=options, **settings)


@hookimpl
def undertow_register_cells() -> Iterable[CellSpec]:
    return [
        cell_spec("right", ":RightCell"),
        cell_spec("right-counting", ":CountingCell", state=("h", "n")),
        cell_spec("right-drawing", ":DrawingCell"),
        cell_spec("right-complex", ":ComplexCell", state=("s",)),
    ]


@hookimpl
def undertow_register_blocks() -> Iterable[BlockSpec]:
    return [block_spec("right", ":RightBlock")]


@hookimpl
def undertow_register_tasks() -> Iterable[TaskSpec]:
    return [task_spec("right", ":RightTask")]


@hookimpl
def undertow_register_probes() -> Iterable[ProbeSpec]:
    return [probe_spec("right", ":RightProbe")]


@hookimpl
def undertow_register_optimizers() -> Iterable[OptimizerSpec]:
    yield optimizer_spec("right", ":RightOptimizer")
    yield optimizer_spec("right-normalised", ":NormalisedOptimizer", elementwise=False)


@hookimpl
def undertow_register_callbacks() -> Iterable[CallbackSpec]:
    yield callback_spec("right", ":RightCallback")
    yield callback_spec("right-drawing", ":DrawingCallback", changes_training=True)
