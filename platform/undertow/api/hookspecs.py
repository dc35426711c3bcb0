"""The hooks that a plugin may implement. A plugin is a module (or object) with functions of these names:

    from undertow import CellSpec, hookimpl

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(name="leaky-rnn", ...)

Name that module in your distribution's ``pyproject.toml`` and `undertow list cells` shows it:

    [project.entry-points.undertow]
    leaky-rnn = "leaky_rnn.hooks"
"""

from collections.abc import Iterable

import pluggy

from undertow.api.spec import BlockSpec, CallbackSpec, CellSpec, OptimizerSpec, ProbeSpec, TaskSpec

PROJECT = "undertow"
"""The name of both the pluggy project and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def undertow_register_cells() -> Iterable[CellSpec]:  # type: ignore[empty-body]
    """The cells that this plugin offers."""


@hookspec
def undertow_register_blocks() -> Iterable[BlockSpec]:  # type: ignore[empty-body]
    """The blocks that this plugin offers, each a value of `cell.block`."""


@hookspec
def undertow_register_tasks() -> Iterable[TaskSpec]:  # type: ignore[empty-body]
    """The tasks that this plugin offers."""


@hookspec
def undertow_register_probes() -> Iterable[ProbeSpec]:  # type: ignore[empty-body]
    """The probes that this plugin offers."""


@hookspec
def undertow_register_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """The optimisers that this plugin offers."""


@hookspec
def undertow_register_callbacks() -> Iterable[CallbackSpec]:  # type: ignore[empty-body]
    """The callbacks that this plugin offers."""
