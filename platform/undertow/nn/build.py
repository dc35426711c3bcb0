"""Build the task, the network and the probes of an experiment, and validate what plugins return.

    task = build_task(loaded)
    model = build_model(loaded, task)

A plugin that breaks its contract is found here, before anything is written. The error names the class of the plugin,
what it returned and what was expected.

B batch (2 here), T time, I input, H hidden.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from undertow.api.contract import Batch, Block, Cell, Factors, Probe, Scans, State, Task, Tokens, Vector
from undertow.api.spec import BlockSpec, CellSpec, TaskSpec
from undertow.config.load import LoadedExperiment
from undertow.config.schema import CellConfig
from undertow.errors import RequestError, did_you_mean
from undertow.nn.blocks import NORMS, Plain
from undertow.nn.model import SequenceModel, parameter_key

_TRIED = 2
"""Examples and time steps of the first call of a plugin: the fewest with which shapes are unambiguous."""


def build_task(loaded: LoadedExperiment, length: int | None = None) -> Task:
    """Build the task of an experiment.

    Args:
        loaded: The experiment.
        length: Time steps; those of the configuration when None.

    Raises:
        RequestError: The plugin cannot be loaded, or breaks its contract.
    """
    section = loaded.config.task
    spec = loaded.registry.task(section.name)
    options = spec.options.model_validate(section.options.get(spec.name, {}))
    length = length or section.length or spec.lengths.default
    task: Task = loaded.registry.factory(spec)(options, length, loaded.config.seed)
    _validate_task(spec, task, length)
    return task


def build_model(loaded: LoadedExperiment, task: Task) -> SequenceModel:
    """Build the network of an experiment, initialised from torch's current random state.

    Raises:
        RequestError: The plugin cannot be loaded, or breaks its contract.
    """
    section = loaded.config.cell
    spec, block_spec = loaded.registry.cell(section.name), loaded.registry.block(section.block)
    options = spec.options.model_validate(section.options.get(spec.name, {}))
    block_options = block_spec.options.model_validate(section.block_options.get(block_spec.name, {}))
    factory, block_factory = loaded.registry.factory(spec), loaded.registry.factory(block_spec)
    plain = issubclass(block_factory, Plain)
    width = task.inputs.width if plain and isinstance(task.inputs, Vector) else section.hidden_size
    cells: list[list[Cell]] = []
    blocks: list[Block] = []
    for _ in range(section.layers):
        directions = range(2 if section.bidirectional else 1)
        cells.append([factory(width, section.hidden_size, options, _steps(task)) for _ in directions])
        read = sum(cell.output_size for cell in cells[-1])
        blocks.append(block_factory(section.hidden_size, read, block_options, NORMS[section.norm]))
        width = blocks[-1].output_size
    for layer, pair in enumerate(cells):
        for cell in pair:
            cell.place(layer, len(cells))
    _validate_cell(spec, cells[0][0])
    _validate_block(block_spec, blocks[0])
    _validate_factors(spec, cells[0][0], section)
    return SequenceModel(
        [pair[0] for pair in cells],
        inputs=task.inputs,
        output_size=task.output_size,
        shape=task.shape,
        writes=task.writes,
        dropout=section.dropout,
        truncate=loaded.config.train.truncate,
        blocks=blocks,
        backward_cells=[cell for pair in cells for cell in pair[1:]],
    )


def build_other_lengths(loaded: LoadedExperiment, task: Task) -> dict[int, Task]:
    """Build the task at every length of `evaluate.lengths`, the shortest first.

    Raises:
        RequestError: At one of them the task has other inputs or another output size than the network is built for.
    """
    tasks = {}
    for length in sorted(set(loaded.config.evaluate.lengths)):
        tasks[length] = other = build_task(loaded, length)
        for name in ("inputs", "output_size"):
            expected, got = getattr(task, name), getattr(other, name)
            if expected != got:
                raise RequestError(
                    f"evaluate.lengths: task `{loaded.config.task.name}` has {name} {got} at {length} steps, and the "
                    f"network is built for {expected}: leave {length} out"
                )
    return tasks


def build_probes(loaded: LoadedExperiment) -> dict[str, Probe]:
    """Build the probes of an experiment, by name.

    Raises:
        RequestError: A plugin cannot be loaded.
    """
    probes: dict[str, Probe] = {}
    for entry in loaded.config.probes:
        spec = loaded.registry.probe(entry.name)
        probes[entry.name] = loaded.registry.factory(spec)(spec.options.model_validate(entry.options))
    return probes


def _steps(task: Task) -> int:
    """Time steps of one example: those that are read and those that are written."""
    return (1 if task.shape in ("one-to-one", "one-to-many") else task.length) + task.writes


def _validate_cell(spec: CellSpec, cell: Cell) -> None:
    """Run two steps of two examples and compare every shape with the contract."""
    at = f"cell `{spec.name}` ({spec.factory})"
    dtype = next((p.dtype.to_real() for p in cell.parameters()), torch.get_default_dtype())
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
        except Exception as error:  # a plugin's code may raise anything
            raise RequestError(f"{at}: a first step fails: {type(error).__name__}: {error}") from error
        _expect_state(f"{at}: step", spec, after, like=state)
        _expect(f"{at}: readout", y_BH, (_TRIED, cell.output_size))
        if scanned is not None:
            _expect(f"{at}: scan's output", scanned[0], (_TRIED, _TRIED, cell.output_size))
            _expect_state(f"{at}: scan's state", spec, scanned[1], like=state)


def _validate_block(spec: BlockSpec, block: Block) -> None:
    """Run two steps of two examples and compare every shape with the contract."""
    at = f"block `{spec.name}` ({spec.factory})"
    dtype = next((p.dtype.to_real() for p in block.parameters()), torch.get_default_dtype())
    x_TBH, u_TBC = (torch.zeros(_TRIED, _TRIED, n, dtype=dtype) for n in (block.hidden_size, block.cell_size))
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        try:
            read_TBH, y_TBH = block.before(x_TBH), block.after(x_TBH, u_TBC)
        except Exception as error:  # a plugin's code may raise anything
            raise RequestError(f"{at}: a first step fails: {type(error).__name__}: {error}") from error
    _expect(f"{at}: before", read_TBH, (_TRIED, _TRIED, block.hidden_size))
    _expect(f"{at}: after", y_TBH, (_TRIED, _TRIED, block.output_size))


def _validate_factors(spec: CellSpec, cell: Cell, section: CellConfig) -> None:
    """Compare the keys of `cell.lr_scale`, `cell.decay_scale` and `parameter_factors` with the cell's parameters."""
    known = {parameter_key(name) for name, _ in cell.named_parameters()}
    for key, names in (("lr_scale", section.lr_scale), ("decay_scale", section.decay_scale)):
        for name in names:
            if name not in known:
                raise RequestError(
                    f"cell.{key}.{name}: cell `{spec.name}` has no parameter `{name}`.{did_you_mean(name, known)}"
                )
    at = f"cell `{spec.name}` ({spec.factory}): parameter_factors"
    for name, factors in cell.parameter_factors().items():
        if name not in known:
            raise RequestError(f"{at} names `{name}`, which is no parameter of it.{did_you_mean(name, known)}")
        if not isinstance(factors, Factors) or not all(0 <= factor < math.inf for factor in factors):
            raise RequestError(f"{at}: `{name}` has {factors!r}, expected Factors of finite numbers from 0 on")


def _validate_task(spec: TaskSpec, task: Task, length: int) -> None:
    """Make two validation examples and compare shapes and attributes with the contract."""
    at = f"task `{spec.name}` ({spec.factory})"
    for name, got, expected in (
        ("shape", task.shape, spec.shape),
        ("length", task.length, length),
        ("metrics", sorted(task.metrics()), sorted(spec.metrics)),
        ("writes > 0", task.writes > 0, spec.shape in ("one-to-many", "seq2seq")),
    ):
        if got != expected:
            raise RequestError(f"{at}: {name} is {got!r}, expected {expected!r}")
    try:
        batch = task.batch("val", np.arange(_TRIED))
    except Exception as error:  # a plugin's code, as above
        raise RequestError(f"{at}: a first batch fails: {type(error).__name__}: {error}") from error
    if not isinstance(batch, Batch):
        raise RequestError(f"{at}: batch returned {type(batch).__name__}, expected Batch")
    steps = _steps(task) - task.writes
    width = () if isinstance(task.inputs, Tokens) else (task.inputs.width,)
    _expect(f"{at}: the batch's input", batch.input, (_TRIED, steps, *width))
    targets = (_TRIED, task.writes or steps) if task.writes or spec.shape == "aligned" else (_TRIED,)
    output = torch.zeros(*targets, task.output_size)
    try:
        losses = task.loss(output, batch.target)
    except Exception as error:  # a plugin's code, as above
        raise RequestError(f"{at}: a first loss fails: {type(error).__name__}: {error}") from error
    _expect(f"{at}: loss", losses, targets)


def _expect_state(at: str, spec: CellSpec, state: object, like: State | None = None) -> None:
    if not isinstance(state, tuple) or len(state) != len(spec.state):
        got = f"{len(state)} parts" if isinstance(state, tuple) else type(state).__name__
        raise RequestError(f"{at} returned {got}, expected a tuple of {len(spec.state)}: {spec.state}")
    for index, (name, part) in enumerate(zip(spec.state, state, strict=True)):
        if like is not None:
            _expect(f"{at}, state part `{name}`", part, tuple(like[index].shape))
        elif not isinstance(part, Tensor) or part.shape[:1] != (_TRIED,):
            shape = str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
            raise RequestError(f"{at}, state part `{name}`: got {shape}, expected ({_TRIED}, …)")


def _expect(at: str, got: object, shape: Sequence[int]) -> None:
    if not isinstance(got, Tensor):
        raise RequestError(f"{at} returned {type(got).__name__}, expected a tensor of shape {tuple(shape)}")
    if tuple(got.shape) != tuple(shape):
        raise RequestError(f"{at} has shape {tuple(got.shape)}, expected {tuple(shape)}")
