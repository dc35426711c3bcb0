"""Callbacks with one fault each; as `broken_cells`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from undertow_scratch_right import RightCallback, RightOptions, callback_spec

from undertow import CallbackSpec, Options, hookimpl


class UndescribedOptions(Options):
    """Options of which one has no description."""

    strength: float = 1.0


class OptionsAreToldAndReadBack(RightCallback):
    """Its option has no description."""


class TrainingIsWhatItsSpecSays(RightCallback):
    """It draws a random number from torch's generator, and does not say so."""

    def count(self, network: pl.LightningModule) -> None:
        super().count(network)
        torch.rand(1)


class LogsWhatItsSpecDeclares(RightCallback):
    """Its spec declares another name."""

    logs: ClassVar[str] = "wrong/mean"


class NamesAreLegalAndValuesFinite(RightCallback):
    """It logs a name of the run itself."""

    logs: ClassVar[str] = "train/right"


class WritesTheFilesItsSpecDeclares(RightCallback):
    """It writes a second file."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        Path(trainer.default_root_dir, "second.txt").write_text("2")


class KilledRunResumesBitwise(RightCallback):
    """Its mean is not in its state."""

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step = state_dict["step"]


class RunsWithEveryKindOfNetwork(RightCallback):
    """It refuses complex weights."""

    def count(self, network: pl.LightningModule) -> None:
        if any(parameter.is_complex() for parameter in network.parameters()):
            raise TypeError("expected real numbers")
        super().count(network)


BROKEN = [each for each in list(globals().values()) if isinstance(each, type) and issubclass(each, RightCallback)]


@hookimpl
def undertow_register_callbacks() -> Iterable[CallbackSpec]:
    for each in BROKEN:
        if each is not RightCallback:
            options = UndescribedOptions if each is OptionsAreToldAndReadBack else RightOptions
            more = {"measures": {"train/right": "Taken."}} if each is NamesAreLegalAndValuesFinite else {}
            yield callback_spec(each.__name__.lower(), f":{each.__name__}", options, **more)
