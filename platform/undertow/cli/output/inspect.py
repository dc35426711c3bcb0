"""Descriptions of cells and tasks that have to be built for it. This imports torch.

describe_built(registry, registry.cell("lstm"), Sizes(width=128))["parameters"]  # 67,072: one layer on one input
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undertow.api.spec import CellSpec, TaskSpec
from undertow.errors import RequestError
from undertow.plugins.registry import Registry, describe_error

if TYPE_CHECKING:
    from undertow.api.contract import Cell, Task


@dataclass(frozen=True)
class Sizes:
    """The sizes to build with.

    Args:
        width: H, the units of a cell.
        inputs: I, the width of a cell's input.
        length: T, in time steps; None is 100 for a cell and the default of a task.
    """

    width: int = 128
    inputs: int = 1
    length: int | None = None


def describe_built(registry: Registry, spec: CellSpec | TaskSpec, sizes: Sizes) -> dict[str, Any]:
    """Build a cell (one layer) or a task with its default options, and describe it.

    Returns:
        For a cell: the number of its parameters, each parameter tensor, the size of its state, and what runs it over
        time. For a task: its inputs, outputs, examples, trivial loss and scores, and when it counts as solved.

    Raises:
        RequestError: It cannot be built with these sizes; the message gives the reason.
    """
    return (
        _describe_cell(registry, spec, sizes) if isinstance(spec, CellSpec) else _describe_task(registry, spec, sizes)
    )


def _describe_cell(registry: Registry, spec: CellSpec, sizes: Sizes) -> dict[str, Any]:
    length = 100 if sizes.length is None else sizes.length
    factory = registry.factory(spec)
    try:
        cell: Cell = factory(sizes.inputs, sizes.width, spec.options(), length)
        state_size = sum(part[0].numel() for part in cell.initial_state(1))
    except RequestError:  # its message is written for the user
        raise
    except Exception as error:  # code of a plugin may raise anything
        raise RequestError(
            f"cell `{spec.name}` of {registry.cells[spec.name].plugin} cannot be built with {sizes.width} units: "
            f"{describe_error(error)}."
        ) from error
    tensors = [
        {"name": name, "shape": list(each.shape), "parameters": each.numel()}
        for name, each in cell.named_parameters()
        if each.requires_grad
    ]
    return {
        "width": sizes.width,
        "inputs": sizes.inputs,
        "length": length,
        "parameters": sum(each["parameters"] for each in tensors),
        "tensors": tensors,
        "state_size": state_size,
        "runs_on": _runs_on(cell),
    }


def _runs_on(cell: "Cell") -> str:
    from torch import nn

    from undertow.api.contract import Scans

    if not isinstance(cell, Scans):
        return "the loop over steps"
    fused = any(isinstance(module, nn.RNNBase) for module in cell.modules())
    return "torch's fused kernel" if fused else "a scan of its own"


def _describe_task(registry: Registry, spec: TaskSpec, sizes: Sizes) -> dict[str, Any]:
    length = spec.lengths.default if sizes.length is None else sizes.length
    if length not in spec.lengths:
        raise RequestError(f"task `{spec.name}` cannot have {length} steps; allowed: {spec.lengths}")
    factory = registry.factory(spec)
    try:
        task: Task = factory(spec.options(), length, 0)
        examples: Mapping[str, int | None] = {split: task.size(split) for split in ("train", "val", "test")}
    except RequestError:
        raise
    except Exception as error:  # as above
        raise RequestError(
            f"task `{spec.name}` of {registry.tasks[spec.name].plugin} cannot be built with {length} steps: "
            f"{describe_error(error)}."
        ) from error
    return {
        "length": length,
        "inputs": task.inputs._asdict(),
        "output_size": task.output_size,
        "examples": examples,
        "trivial_loss": task.trivial_loss,
        "trivial_scores": dict(task.trivial_scores),
        "solved": task.solved,
    }
