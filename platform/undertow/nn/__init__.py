"""The network: the time loop (`loop`), the stacked layers (`model`), built from plugins (`build`), its `losses`.

`isolation` runs a probe on it without an effect on training; `omega` is Pascanu's regulariser.
"""

from undertow.nn.build import build_model, build_other_lengths, build_probes, build_task
from undertow.nn.isolation import isolated
from undertow.nn.loop import trajectory, unroll, unroll_by_steps
from undertow.nn.losses import supervised_losses
from undertow.nn.model import SequenceModel

__all__ = [
    "SequenceModel",
    "build_model",
    "build_other_lengths",
    "build_probes",
    "build_task",
    "isolated",
    "supervised_losses",
    "trajectory",
    "unroll",
    "unroll_by_steps",
]
