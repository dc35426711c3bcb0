"""Cost: parameters, operations, bytes and time of a network, as separate scalars, since one does not predict the other.

A GRU has a quarter fewer parameters than an LSTM and may still be slower.
"""

import resource
import sys
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from undertow import Measurement, Probe, Subject
from undertow_probes.loss import encoded


class Cost(Probe):
    """Scalars ``cost/<what>``:

    - ``parameters``: trained numbers of the whole network; ``cell_parameters``: those of the cells alone;
    - ``state``: numbers passed from one step to the next, one example, all layers and both directions;
    - ``flops``: forward, one example, one time step, all layers with their blocks, matrix products only (2 for a
      multiply-add); without products of two weights, which are computed once for all examples;
    - ``activation_bytes``: kept for the backward pass, one example, the whole sequence;
    - ``peak_bytes``: the most memory of the process so far: of the GPU's allocator, or on a CPU the resident set;
    - ``steps_per_second`` and ``sequence_steps_per_second``: training steps, and time steps of examples in them,
      without validation and probes; absent before the first step.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Count, and run one step and one sequence of the sub-batch."""
        network = cast(nn.Module, subject.model)
        steps, examples = encoded(subject.model, subject.task, subject.batch).shape[:2]
        scalars = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "cell_parameters": sum(p.numel() for cell in subject.model.layers for p in cell.parameters()),
            "state": sum(part[0].numel() for layer in subject.model.initial_state(1) for part in layer),
            "flops": _flops(subject, 2) - _flops(subject, 1),
            "activation_bytes": _activation_bytes(subject) / examples,
            "peak_bytes": _peak_bytes(next(network.parameters()).device),
        }
        if subject.seconds_per_step:
            scalars["steps_per_second"] = 1 / subject.seconds_per_step
            scalars["sequence_steps_per_second"] = subject.batch_size * steps / subject.seconds_per_step
        return Measurement({f"cost/{name}": float(value) for name, value in scalars.items()})


def _flops(subject: Subject, examples: int) -> int:
    """Operations of the matrix products of one time step of some examples, counted where torch dispatches them.

    `step` is counted: the counter does not see into fused kernels, which compute the same products.
    """
    with torch.no_grad():
        x_TBI = encoded(subject.model, subject.task, subject.batch)
        x_BI = x_TBI[0, :1].expand(examples, *x_TBI.shape[2:])
        with FlopCounterMode(display=False) as counter:
            subject.model.step(x_BI, subject.model.initial_state(examples))
    return int(counter.get_total_flops())


def _activation_bytes(subject: Subject) -> int:
    """Bytes of the distinct buffers that autograd keeps for the backward pass, without weights and input."""
    weights = {p.untyped_storage().data_ptr() for p in cast(nn.Module, subject.model).parameters()}
    weights.add(subject.batch.input.untyped_storage().data_ptr())
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x_TBI = encoded(subject.model, subject.task, subject.batch)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        subject.model.advance(x_TBI, subject.model.initial_state(x_TBI.shape[1]))
    return sum(kept.values())


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
