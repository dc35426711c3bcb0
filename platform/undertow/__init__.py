"""Undertow measures how far back in time the gradient of a recurrent network reaches.

    import undertow

    result = undertow.run("experiments/smoke/digits.yaml", set=["cell.name=gru"])
    print(result.metrics["gradient/input/half_life"])

The names below are the public ones. Each is imported when it is first used, so that a command that needs no torch does
not import it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from undertow._version import __version__ as __version__

if TYPE_CHECKING:
    from undertow import draws
    from undertow.api.contract import (
        Batch,
        Block,
        Cell,
        Curve,
        Factors,
        GateKind,
        Measurement,
        Model,
        Probe,
        Split,
        State,
        Subject,
        Task,
        Tokens,
        Vector,
    )
    from undertow.api.hookspecs import hookimpl
    from undertow.api.spec import (
        BlockSpec,
        CallbackSpec,
        CellSpec,
        Lengths,
        OptimizerSpec,
        Options,
        ProbeSpec,
        TaskSpec,
    )
    from undertow.errors import Diverged, Interrupted, RequestError, UndertowError
    from undertow.nn.loop import trajectory, unroll, unroll_by_steps
    from undertow.nn.losses import supervised_losses
    from undertow.runs.experiment import RunResult, run
    from undertow.studies.run import study


_HOME = {
    "undertow.api.contract": (
        "Batch", "Block", "Cell", "Curve", "Factors", "GateKind", "Measurement", "Model", "Probe", "Split", "State",
        "Subject", "Task", "Tokens", "Vector",
    ),
    "undertow.errors": ("Diverged", "Interrupted", "RequestError", "UndertowError"),
    "undertow.api.hookspecs": ("hookimpl",),
    "undertow.nn.loop": ("trajectory", "unroll", "unroll_by_steps"),
    "undertow.nn.losses": ("supervised_losses",),
    "undertow.runs.experiment": ("RunResult", "run"),
    "undertow.api.spec": (
        "BlockSpec", "CallbackSpec", "CellSpec", "Lengths", "OptimizerSpec", "Options", "ProbeSpec", "TaskSpec",
    ),
    "undertow.studies.run": ("study",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022  (grouped as above)
    "Batch", "Block", "Cell", "Curve", "Factors", "GateKind", "Measurement", "Model", "Probe", "Split", "State",
    "Subject", "Task", "Tokens", "Vector",
    "Diverged", "Interrupted", "RequestError", "UndertowError",
    "draws",
    "hookimpl",
    "supervised_losses", "trajectory", "unroll", "unroll_by_steps",
    "RunResult", "run", "study",
    "BlockSpec", "CallbackSpec", "CellSpec", "Lengths", "OptimizerSpec", "Options", "ProbeSpec", "TaskSpec",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "draws":
        return import_module("undertow.draws")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'undertow' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
