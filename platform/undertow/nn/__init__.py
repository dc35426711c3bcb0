"""The network: the time loop (`loop`), the stacked layers (`model`), building them from plugins (`build`).

`isolation` runs a probe over it so that training cannot tell.
"""

from undertow.nn.build import build_model, build_other_lengths, build_probes, build_task
from undertow.nn.isolation import isolated
from undertow.nn.loop import trajectory, unroll, unroll_by_steps
from undertow.nn.model import SequenceModel

__all__ = [
    "SequenceModel",
    "build_model",
    "build_other_lengths",
    "build_probes",
    "build_task",
    "isolated",
    "trajectory",
    "unroll",
    "unroll_by_steps",
]
