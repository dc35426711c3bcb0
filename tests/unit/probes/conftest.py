"""Fixtures for the tests of probes: a network on a task in 64 bits, and cells with a known spectrum.

    subject = make_subject("lstm", "adding", layers=2)      # any cell and task of the registry
    subject = simple_subject(U_HH, steps=20)                # h' = U h + x

B batch, T time, I input, H hidden, N numbers of the joint state.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undertow import Batch, Cell, Options, State, Subject, Task, Vector
from undertow.config.load import LoadedExperiment
from undertow.config.schema import ExperimentConfig
from undertow.nn import SequenceModel, build_model, build_task
from undertow.nn.isolation import isolated
from undertow.plugins.host import load_plugins
from undertow_probes.joint import flatten, unflatten

REGISTRY = load_plugins()


class Simple(Cell):
    """h' = φ(U h + x): its Jacobian is diag(φ') U. It has no `project`, so its input has H numbers."""

    def __init__(self, U_HH: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__(len(U_HH), len(U_HH), Options(), 1)
        self.U = nn.Parameter(U_HH.clone())
        self.activation = activation

    def initial_state(self, batch_size: int) -> State:
        return (self.U.new_zeros(batch_size, self.hidden_size),)

    def step(self, z: Tensor, state: State) -> State:
        return (self.activation(z + state[0] @ self.U.T),)


class LastInput(Task):
    """Repeat the input of `lag` steps before the end; a batch is `(B, T, H)` of normal numbers."""

    shape = "many-to-one"

    def __init__(self, width: int, length: int, lag: int) -> None:
        self.inputs, self.output_size, self.length, self.lag = Vector(width), width, length, lag

    def size(self, split: Any) -> None:
        return None

    def batch(self, split: Any, indices: Any) -> Batch:
        generator = torch.Generator().manual_seed(7)
        x_BTI = torch.randn(len(indices), self.length, self.output_size, generator=generator, dtype=torch.float64)
        return Batch(x_BTI, x_BTI[:, -1 - self.lag])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(-1)

    def cues(self, batch: Batch) -> Tensor:
        return torch.full((len(batch.target), 1), self.length - 1 - self.lag)


def subject_of(task: Task, model: SequenceModel, state: tuple[str, ...], examples: int) -> Subject:
    batch = task.batch("val", np.arange(examples))
    dtype = next(model.parameters()).dtype
    batch = Batch(*(each.to(dtype) if each.is_floating_point() else each for each in batch))
    return Subject(model=model, task=task, batch=batch, state=state, step=0, seconds_per_step=None, batch_size=examples)


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    """A network of the registry's cells on one of its tasks."""

    def make_subject(
        cell: str,
        task: str = "adding",
        *,
        length: int = 40,
        layers: int = 1,
        hidden: int = 6,
        examples: int = 5,
        dtype: torch.dtype = torch.float64,
        settings: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> Subject:
        section = {"name": cell, "hidden_size": hidden, "layers": layers, "options": {cell: options}, **settings}
        config = ExperimentConfig.model_validate({"task": {"name": task, "length": length}, "cell": section})
        torch.manual_seed(0)
        loaded = LoadedExperiment(config, REGISTRY)
        built_task = build_task(loaded)
        model = build_model(loaded, built_task).to(dtype)
        return subject_of(built_task, model, REGISTRY.cell(cell).state, examples)

    return make_subject


@pytest.fixture
def simple_subject() -> Callable[..., Subject]:
    """Layers of `Simple`, by default linear, on `LastInput`; the readout is the answer."""

    def simple_subject(
        *matrices: Tensor,
        steps: int = 20,
        lag: int = 0,
        activation: Callable[[Tensor], Tensor] = lambda values: values,
        examples: int = 4,
    ) -> Subject:
        task = LastInput(len(matrices[0]), steps, lag)
        cells = [Simple(U_HH.double(), activation) for U_HH in matrices]
        model = SequenceModel(cells, inputs=task.inputs, output_size=task.output_size, shape=task.shape).double()
        with torch.no_grad():
            nn.init.eye_(model.head.weight)
            nn.init.zeros_(model.head.bias)
        return subject_of(task, model, ("h",), examples)

    return simple_subject


@pytest.fixture
def step_jacobians() -> Callable[[Subject], Tensor]:
    """The Jacobian of every step of the joint state, by autograd, independent of the code of the probes."""

    def step_jacobians(subject: Subject) -> Tensor:
        """`J_TBNN`."""
        state = subject.model.initial_state(len(subject.batch.input))
        jacobians = []
        for x_BI in subject.model.encode(subject.batch.input).detach():

            def step(joint_BN: Tensor, x_BI: Tensor = x_BI, state: tuple[State, ...] = state) -> Tensor:
                return flatten(subject.model.step(x_BI, unflatten(joint_BN, state))[1])

            J_BNBN = torch.autograd.functional.jacobian(step, flatten(state))
            jacobians.append(J_BNBN.diagonal(dim1=0, dim2=2).permute(2, 0, 1))
            state = unflatten(step(flatten(state)).detach(), state)
        return torch.stack(jacobians)

    return step_jacobians


@pytest.fixture
def leaves_no_trace() -> Callable[..., None]:
    """Measure as the platform does, and compare weights, gradients, modes, buffers and random state."""

    def leaves_no_trace(probe: Any, subject: Subject) -> None:
        model = subject.model
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        gradients = [p.grad.clone() for p in model.parameters()]
        modes, random_state = [m.training for m in model.modules()], torch.get_rng_state()
        with isolated(model):
            measurement = probe.measure(subject)
        assert measurement.scalars
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
        assert all(p.requires_grad for p in model.parameters())
        assert modes == [m.training for m in model.modules()]
        assert torch.equal(random_state, torch.get_rng_state())

    return leaves_no_trace


@pytest.fixture
def is_recordable() -> Callable[[Any], None]:
    """Every value finite, every name legal in MLflow, every curve along ascending whole steps."""

    def is_recordable(measurement: Any) -> None:
        legal = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./: ")
        for name in (*measurement.scalars, *measurement.curves):
            assert set(name) <= legal, name
        assert np.isfinite(list(measurement.scalars.values())).all()
        for curve in measurement.curves.values():
            assert len(curve.steps) == len(curve.values) > 0
            assert list(curve.steps) == sorted(set(curve.steps))
            assert all(isinstance(step, int) for step in curve.steps)
            assert np.isfinite(curve.values).all()

    return is_recordable
