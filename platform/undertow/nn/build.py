"""Build the task and the network of a configuration, and hold what plugins return against their contract.

    task = build_task(config, registry)
    model = build_model(config, registry, task)

A plugin that breaks its contract is told apart from a bug of ours here, before anything is written: the error names the
distribution's class, what it returned and what was expected.

B batch (2 here), T time, I input, H hidden.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from undertow.api.contract import Batch, Cell, Probe, Scans, State, Task, Tokens, Vector
from undertow.api.spec import CellSpec, TaskSpec
from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
from undertow.nn.model import SequenceModel
from undertow.plugins.registry import Registry

_TRIED = 2
"""Examples and time steps of the trial run: the fewest that tell a batch from a step."""


def build_task(config: ExperimentConfig, registry: Registry) -> Task:
    """The task of a configuration.

    Raises:
        RequestError: The plugin cannot be loaded, or breaks its contract.
    """
    spec = registry.task(config.task.name)
    options = spec.options.model_validate(config.task.options.get(spec.name, {}))
    length = config.task.length or spec.lengths.default
    task: Task = registry.factory(spec)(options, length, config.seed)
    _validate_task(spec, task, length)
    return task


def build_model(config: ExperimentConfig, registry: Registry, task: Task) -> SequenceModel:
    """The network of a configuration, initialised from torch's current random state.

    Raises:
        RequestError: The plugin cannot be loaded, or breaks its contract.
    """
    spec = registry.cell(config.cell.name)
    options = spec.options.model_validate(config.cell.options.get(spec.name, {}))
    factory = registry.factory(spec)
    width = task.inputs.width if isinstance(task.inputs, Vector) else config.cell.hidden_size
    cells: list[Cell] = []
    for _ in range(config.cell.layers):
        cells.append(factory(width, config.cell.hidden_size, options, _steps(task)))
        width = cells[-1].output_size
    _validate_cell(spec, cells[0])
    return SequenceModel(
        cells,
        inputs=task.inputs,
        output_size=task.output_size,
        shape=task.shape,
        writes=task.writes,
        dropout=config.cell.dropout,
        truncate=config.train.truncate,
    )


def build_other_lengths(config: ExperimentConfig, registry: Registry, task: Task) -> dict[int, Task]:
    """The task at every length that the trained network is to be evaluated at, the shortest first.

    Raises:
        RequestError: At one of them it shows or asks for something else than the network is made for.
    """
    tasks = {}
    for length in sorted(set(config.evaluate.lengths)):
        section = config.task.model_copy(update={"length": length})
        tasks[length] = other = build_task(config.model_copy(update={"task": section}), registry)
        for what in ("inputs", "output_size"):
            own, its = getattr(task, what), getattr(other, what)
            if own != its:
                raise RequestError(
                    f"evaluate.lengths: task `{config.task.name}` has {what} {its} at {length} steps, and the "
                    f"network is made for {own}: leave {length} out"
                )
    return tasks


def build_probes(config: ExperimentConfig, registry: Registry) -> dict[str, Probe]:
    """The probes of a configuration, by name.

    Raises:
        RequestError: A plugin cannot be loaded.
    """
    probes: dict[str, Probe] = {}
    for entry in config.probes:
        spec = registry.probe(entry.name)
        probes[entry.name] = registry.factory(spec)(spec.options.model_validate(entry.options))
    return probes


def _steps(task: Task) -> int:
    """Time steps of one example, from the first that is read to the last that is written."""
    return (1 if task.shape in ("one-to-one", "one-to-many") else task.length) + task.writes


def _validate_cell(spec: CellSpec, cell: Cell) -> None:
    """Run two steps of two examples and compare every shape with the contract."""
    at = f"cell `{spec.name}` ({spec.factory})"
    dtype = next((p.dtype for p in cell.parameters()), torch.get_default_dtype())
    x_TBI = torch.zeros(_TRIED, _TRIED, cell.input_size, dtype=dtype)
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        try:
            state = cell.initial_state(_TRIED)
            _expect_state(f"{at}: initial_state", spec, state)
            z = cell.project(x_TBI)[0]
            after = cell.step(z, state)
            y_BH = cell.readout(z, after)
            scanned = cell.scan(x_TBI, state) if isinstance(cell, Scans) else None
        except RequestError:
            raise
        except Exception as error:  # a plugin's code: whatever it raises is the plugin's fault, and named as such
            raise RequestError(f"{at}: a first step fails: {type(error).__name__}: {error}") from error
        _expect_state(f"{at}: step", spec, after, like=state)
        _expect(f"{at}: readout", y_BH, (_TRIED, cell.output_size))
        if scanned is not None:
            _expect(f"{at}: scan's output", scanned[0], (_TRIED, _TRIED, cell.output_size))
            _expect_state(f"{at}: scan's state", spec, scanned[1], like=state)


def _validate_task(spec: TaskSpec, task: Task, length: int) -> None:
    """Make two validation examples and compare what comes with the contract."""
    at = f"task `{spec.name}` ({spec.factory})"
    for what, got, expected in (
        ("shape", task.shape, spec.shape),
        ("length", task.length, length),
        ("metrics", sorted(task.metrics()), sorted(spec.metrics)),
        ("writes > 0", task.writes > 0, spec.shape in ("one-to-many", "seq2seq")),
    ):
        if got != expected:
            raise RequestError(f"{at}: {what} is {got!r}, expected {expected!r}")
    try:
        batch = task.batch("val", np.arange(_TRIED))
    except Exception as error:  # a plugin's code, as above
        raise RequestError(f"{at}: a first batch fails: {type(error).__name__}: {error}") from error
    if not isinstance(batch, Batch):
        raise RequestError(f"{at}: batch returned {type(batch).__name__}, expected Batch")
    steps = _steps(task) - task.writes
    width = () if isinstance(task.inputs, Tokens) else (task.inputs.width,)
    _expect(f"{at}: the batch's input", batch.input, (_TRIED, steps, *width))
    answers = (_TRIED, task.writes or steps) if task.writes or spec.shape == "aligned" else (_TRIED,)
    output = torch.zeros(*answers, task.output_size)
    try:
        losses = task.loss(output, batch.target)
    except Exception as error:  # a plugin's code, as above
        raise RequestError(f"{at}: a first loss fails: {type(error).__name__}: {error}") from error
    _expect(f"{at}: loss", losses, answers)


def _expect_state(where: str, spec: CellSpec, state: object, like: State | None = None) -> None:
    if not isinstance(state, tuple) or len(state) != len(spec.state):
        got = f"{len(state)} parts" if isinstance(state, tuple) else type(state).__name__
        raise RequestError(f"{where} returned {got}, expected a tuple of {len(spec.state)}: {spec.state}")
    for index, (name, part) in enumerate(zip(spec.state, state, strict=True)):
        if like is not None:
            _expect(f"{where}, state part `{name}`", part, tuple(like[index].shape))
        elif not isinstance(part, Tensor) or part.shape[:1] != (_TRIED,):
            shape = str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
            raise RequestError(f"{where}, state part `{name}`: got {shape}, expected ({_TRIED}, …)")


def _expect(where: str, got: object, shape: Sequence[int]) -> None:
    if not isinstance(got, Tensor):
        raise RequestError(f"{where} returned {type(got).__name__}, expected a tensor of shape {tuple(shape)}")
    if tuple(got.shape) != tuple(shape):
        raise RequestError(f"{where} has shape {tuple(got.shape)}, expected {tuple(shape)}")
