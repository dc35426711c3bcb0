"""Build everything that a run trains and measures, once: `Built`.

    built = build(loaded)                              # raises RequestError for what cannot be had on this machine
    train(built, folder, record=record, stop=stop)

The same process validates a request and trains what it has built for that. The initial weights depend on the seed of
the configuration alone.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytorch_lightning as pl
import torch

from undertow.api.contract import Probe, Task
from undertow.config.load import LoadedExperiment
from undertow.nn import SequenceModel, build_model, build_other_lengths, build_probes, build_task
from undertow.nn.weights import freeze, start_from
from undertow.train.callbacks.plugins import build_callbacks
from undertow.train.data import digest
from undertow.train.devices import Devices, resolve_devices
from undertow.train.loggers import require_loggers
from undertow.train.optim import try_optimizer


@dataclass(frozen=True)
class Built:
    """What one run trains and measures, and where. The network is trained in place, so it serves one run only.

    Attributes:
        loaded: The experiment it was built from.
        devices: Where it is trained.
        task: The task.
        model: The network, with its initial weights.
        probes: The probes, by name.
        other_lengths: The task at each length of `evaluate.lengths`.
        started_from: Whose weights the network starts with: a file, its training step and digest; mostly empty.
        callbacks: The callbacks of plugins, by name.
    """

    loaded: LoadedExperiment
    devices: Devices
    task: Task
    model: SequenceModel
    probes: Mapping[str, Probe]
    other_lengths: Mapping[int, Task]
    started_from: str = ""
    callbacks: Mapping[str, pl.Callback] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """Tags for the provenance of the run: torch, device, and a digest of the data."""
        return {
            "undertow.torch": str(torch.__version__),
            "undertow.cpu_threads": str(self.loaded.config.train.threads or torch.get_num_threads()),
            "undertow.cuda": torch.version.cuda or "none",
            "undertow.device": self.devices.name,
            "undertow.devices": str(self.devices.count),
            "undertow.dataset": digest(self.task),
            **({"undertow.start_from": self.started_from} if self.started_from else {}),
        }


def build(loaded: LoadedExperiment) -> Built:
    """Build the task, the network, the probes and the callbacks of an experiment, and resolve its devices.

    Python's, NumPy's and torch's random states are seeded with `config.seed`, so that the initial weights are the same
    on every rank and in every process.

    Raises:
        RequestError: A plugin breaks its contract, or a device is not there; nothing was written.
    """
    devices = resolve_devices(loaded.config.train)
    require_loggers(loaded.config)
    if loaded.config.train.threads:
        torch.set_num_threads(loaded.config.train.threads)
    seed_all(loaded.config.seed)
    task = build_task(loaded)
    model = build_model(loaded, task)
    config = loaded.config.train
    started_from = start_from(model, config.start_from, config.start_anew) if config.start_from else ""
    freeze(model, config.freeze)
    try_optimizer(loaded)
    probes, lengths = build_probes(loaded), build_other_lengths(loaded, task)
    return Built(loaded, devices, task, model, probes, lengths, started_from, build_callbacks(loaded))


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch. Lightning's own function would later reset every rank to the same seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
