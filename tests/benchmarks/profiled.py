"""A network on the adding task, and its gradient profile: the whole probe as a run executes it, random state held.

T time, B batch, H hidden, K lags.
"""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.timing import device
from undertow import Batch, Measurement, Probe, Subject, Task
from undertow.config.load import load_mapping
from undertow.nn import SequenceModel, build_model, build_probes, build_task, isolated


@dataclass(frozen=True)
class Profiled:
    """A network, a batch of its task, and the probe."""

    model: SequenceModel
    task: Task
    batch: Batch
    subject: Subject
    probe: Probe

    def profile(self) -> Measurement:
        """A contestant: one gradient profile."""
        with isolated(self.model):
            return self.probe.measure(self.subject)


def profiled(cell: str, T: int, B: int, H: int, K: int) -> Profiled:
    """Build the network on the GPU, if there is one."""
    loaded = load_mapping(
        {
            "task": {"name": "adding", "length": T},
            "cell": {"name": cell, "hidden_size": H},
            "probes": [{"name": "gradient-profile", "options": {"lags": K}}],
        }
    )
    torch.manual_seed(0)
    task = build_task(loaded)
    model = build_model(loaded, task).to(device())
    batch = Batch(*(tensor.to(device()) for tensor in task.batch("val", np.arange(B))))
    state = loaded.registry.cell(cell).state
    subject = Subject(model=model, task=task, batch=batch, state=state, step=0, seconds_per_step=None, batch_size=B)
    return Profiled(model, task, batch, subject, build_probes(loaded)["gradient-profile"])
