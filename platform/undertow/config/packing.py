"""What keeps replicates from being trained side by side, in a pack.

    forbidding(loaded.config)                     # None, or Forbidden("optim.omega", "its penalty needs …")
    forbidding(loaded.first, loaded.config)       # a run of a study, which may forbid it as well

Only the configuration is looked at, and what the spec of its optimiser says. Whether the networks can be called
together is found out when they are built: a cell that cannot is run one by one inside its pack.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from undertow.api.spec import OptimizerSpec
from undertow.config.schema import ExperimentConfig
from undertow.config.study_schema import StudyConfig
from undertow.plugins.builtin import OPTIMIZERS
from undertow.plugins.registry import Entry


@dataclass(frozen=True)
class Forbidden:
    """Why runs cannot be trained side by side.

    Attributes:
        key: The dotted key that forbids it.
        reason: What it would need, in a few words.
    """

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


DECIDING = (
    "callbacks",
    "cell.dropout",
    "optim.name",
    "optim.omega",
    "optim.scheduler.name",
    "train.accelerator",
    "train.devices",
    "train.precision",
    "train.strategy",
)
"""The keys of a run that `forbidding` reads: runs with equal values for them have the same answer."""


def forbidding(
    config: ExperimentConfig,
    study: StudyConfig | None = None,
    *,
    optimizers: Mapping[str, Entry[OptimizerSpec]] = OPTIMIZERS,
    devices: int = 1,
) -> Forbidden | None:
    """Which key keeps replicates of a run from being trained side by side; None if none does.

    Args:
        config: The run.
        study: The study that it belongs to.
        optimizers: What the plugins offer.
        devices: How many devices ``train.devices: auto`` takes.
    """
    if study is not None and (of_study := _of_study(study)):
        return of_study
    if study is not None and config.train.accelerator != "cpu":
        devices = max(devices, int(study.gpus_per_trial))
    train = config.train
    if config.cell.dropout:
        return Forbidden("cell.dropout", "replicates would share one random state")
    if config.callbacks:
        return Forbidden("callbacks", "each is made for the Trainer of a single run")
    if not optimizers[config.optim.name].spec.elementwise:
        return Forbidden("optim.name", f"`{config.optim.name}` is not declared `elementwise`")
    if config.optim.omega:
        return Forbidden("optim.omega", "Ω penalises each network by itself")
    if config.optim.scheduler.name == "plateau":
        return Forbidden("optim.scheduler.name", "`plateau` gives each replicate another rate")
    if isinstance(train.devices, int) and train.devices > 1:
        return Forbidden("train.devices", "a pack is trained on one device")
    if train.devices == "auto" and devices > 1:
        return Forbidden("train.devices", f"`auto` takes {devices}, and a pack is trained on one")
    if train.strategy != "auto":
        return Forbidden("train.strategy", f"`{train.strategy}` is not made for a pack")
    if train.precision == "16-mixed":
        return Forbidden("train.precision", "`16-mixed` has one loss scale for all replicates")
    return None


def _of_study(study: StudyConfig) -> Forbidden | None:
    if study.search:
        return Forbidden("study.search", "every run has sampled values of its own")
    if study.pruner.name != "none":
        return Forbidden("study.pruner.name", f"`{study.pruner.name}` ends each run by itself")
    if study.prune.gradient_at_cue is not None:
        return Forbidden("study.prune.gradient_at_cue", "it ends each run by itself")
    return None
