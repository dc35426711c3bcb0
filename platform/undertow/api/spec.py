"""Specs: the description of what a plugin offers that is known before its class is imported.

A spec is frozen data. `factory` names the class as ``"package.module:Class"`` (``":Class"`` for the module that holds
the hooks), so that listing a thousand cells imports none of them:

    CellSpec(
        name="leaky-rnn",
        summary="h = (1 - a) h + a tanh(Wx + Uh)",
        factory="leaky_rnn.cell:LeakyRNN",
        options=LeakyOptions,
        state=("h",),
        paper="Jaeger 2007",
    )
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

API = 1
"""The version of the plugin contract that this host implements."""

API_WINDOW = range(1, API + 1)
"""Every version of the contract that this host accepts."""

Shape = Literal["one-to-one", "one-to-many", "many-to-one", "aligned", "seq2seq"]
"""The five shapes of sequence work; the loss is taken at the steps that have a target."""

Direction = Literal["min", "max"]


class Options(BaseModel):
    """Base of every plugin's options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every description has.

    Args:
        name: Lower-case words joined by hyphens, unique within its kind.
        summary: One line for the catalogue.
        factory: The class, as ``"package.module:Class"``; imported when a run needs it.
        options: A subclass of `Options`; its fields are the options of a configuration.
        paper: The source: authors, year, arXiv number.
        api: The version of the plugin contract it was written for.
    """

    name: str
    summary: str
    factory: str
    options: type[Options] = Options
    paper: str = ""
    api: int = API


@dataclass(frozen=True, kw_only=True)
class CellSpec(Spec):
    """A recurrent cell.

    Args:
        state: Names of the state parts, in the order in which `step` returns them, such as ``("h", "c")``: letters,
            digits and underscores, a letter first.
        equation: The update, in one line per state part.
    """

    state: tuple[str, ...]
    equation: str = ""


@dataclass(frozen=True, kw_only=True)
class BlockSpec(Spec):
    """What surrounds the cell of a layer.

    Args:
        equation: The output y of a layer for its input x, in one line or more.
    """

    equation: str = ""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The sequence lengths that a task can have, in time steps, both ends included."""

    default: int
    minimum: int = 1
    maximum: int | None = None

    def __contains__(self, length: object) -> bool:
        """Whether the task can have this length."""
        return isinstance(length, int) and self.minimum <= length and (self.maximum is None or length <= self.maximum)

    def __str__(self) -> str:
        """The range for people, such as ``8 to 512``."""
        if self.maximum is None:
            return f"{self.minimum} or more"
        return str(self.minimum) if self.maximum == self.minimum else f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """A task: data, loss and score.

    Args:
        shape: Which of the five shapes of sequence work it is.
        lengths: The lengths it can have, in time steps.
        metrics: The names of its scores beside the loss, each with the direction that is better.
    """

    shape: Shape
    lengths: Lengths
    metrics: Mapping[str, Direction] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProbeSpec(Spec):
    """A measurement of a model that leaves its training bit-identical.

    Args:
        measures: One line for each number, by its metric name with ``<…>`` for what varies, such as
            ``{"gradient/<part>/level": "log10 of the gradient at lag 1"}``; `undertow list probes NAME` shows them.
    """

    measures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Spec):
    """An optimiser: a subclass of `torch.optim.Optimizer`, called as ``factory(groups, options)``.

    `groups` is a list of parameter groups, each with its ``params``, ``lr`` and ``weight_decay``: those of the run's
    `optim` section, times the factors of `cell.lr_scale`, `cell.decay_scale` and `Cell.parameter_factors`. So ``lr``
    and ``weight_decay`` are no options.

    Args:
        equation: The update, in one line per quantity.
        elementwise: Whether a step changes each number by that number, its gradient and its own state alone. Only then
            are replicates trained side by side: one optimiser steps the stack of their parameters, and each tensor of
            its state that is not a scalar has the shape of its parameter.
    """

    equation: str = ""
    elementwise: bool = False


@dataclass(frozen=True, kw_only=True)
class CallbackSpec(Spec):
    """A callback: a subclass of `pytorch_lightning.Callback`, called as ``factory(options)``.

    What it keeps from step to step is in its `state_dict`, so that a resumed run goes on as if it had not stopped. What
    it logs by ``pl_module.log(name, value)`` is recorded at the step where it logs it. Files go into
    ``trainer.default_root_dir``, the folder of the run's checkpoints.

    Args:
        measures: One line for each number that it logs, by its name, as for a probe.
        files: The names of the files that it writes.
        changes_training: Whether it changes weights, gradients or random numbers, or ends the run. A callback that does
            not say so leaves training as it is, to the last bit.
    """

    measures: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    changes_training: bool = False
