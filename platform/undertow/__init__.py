"""Undertow measures how far back in time the gradient of a recurrent network reaches.

    import undertow

    result = undertow.run("experiments/smoke/digits.yaml", set=["cell.name=gru"])
    print(result.metrics["gradient/h/half_life"])

The names below are the public ones; each is imported when it is first used, so that a command which needs no torch
never waits for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undertow.contract import (
        Batch,
        Cell,
        Curve,
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
    from undertow.errors import Diverged, Interrupted, RequestError, UndertowError
    from undertow.experiment import RunResult, run
    from undertow.hookspecs import hookimpl
    from undertow.nn.loop import trajectory, unroll, unroll_by_steps
    from undertow.spec import CellSpec, Lengths, Options, ProbeSpec, TaskSpec
    from undertow.studies.run import study

__version__ = "0.1.0"

_HOME = {
    "undertow.contract": (
        "Batch", "Cell", "Curve", "GateKind", "Measurement", "Model", "Probe", "Split", "State", "Subject", "Task",
        "Tokens", "Vector",
    ),
    "undertow.errors": ("Diverged", "Interrupted", "RequestError", "UndertowError"),
    "undertow.hookspecs": ("hookimpl",),
    "undertow.nn.loop": ("trajectory", "unroll", "unroll_by_steps"),
    "undertow.experiment": ("RunResult", "run"),
    "undertow.spec": ("CellSpec", "Lengths", "Options", "ProbeSpec", "TaskSpec"),
    "undertow.studies.run": ("study",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022  (grouped as above)
    "Batch", "Cell", "Curve", "GateKind", "Measurement", "Model", "Probe", "Split", "State", "Subject", "Task",
    "Tokens", "Vector",
    "Diverged", "Interrupted", "RequestError", "UndertowError",
    "hookimpl",
    "trajectory", "unroll", "unroll_by_steps",
    "RunResult", "run", "study",
    "CellSpec", "Lengths", "Options", "ProbeSpec", "TaskSpec",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'undertow' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
