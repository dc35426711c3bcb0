"""Cost of one gradient profile in training steps on the same batch, and the cost of the same curve by unrolling.

The profile is the whole probe as a run executes it: cuts, gradients, norms, curves, and the random state held.
T time, B batch, H hidden, K lags.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.unrolled import norms_by_step
from benchmarks.row import Row
from benchmarks.timing import device, in_ms, interleaved, ratios, training_step
from undertow.api.contract import Batch, Curve, Measurement, Subject
from undertow.config.load import load_mapping
from undertow.nn import SequenceModel, build_model, build_probes, build_task, isolated

_STEP, _PROFILE, _UNROLLED = "training step", "profile", "unrolled"
_FULL_PRECISION = -30.0  # log10; the squares and products of smaller float32 numbers lose their last digits


def measure(quick: bool) -> list[Row]:
    """Profile over training step, and unrolled measurement over training step, for each fused cell."""
    return [row for cell in ("lstm", "gru", "rnn") for row in _rows(cell, quick)]


def _rows(cell: str, quick: bool) -> list[Row]:
    T, B, H, K, rounds = (48, 8, 16, 8, 3) if quick else (512, 32, 128, 32, 15)
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
    probe = build_probes(loaded)["gradient-profile"]
    batch = Batch(*(tensor.to(device()) for tensor in task.batch("val", np.arange(B))))
    state = loaded.registry.cell(cell).state
    subject = Subject(model=model, task=task, batch=batch, state=state, step=0, seconds_per_step=None, batch_size=B)

    def profile() -> Measurement:
        with isolated(model):
            return probe.measure(subject)

    def unrolled() -> list[Tensor]:
        return _unrolled(model, batch)

    seconds = interleaved({_STEP: training_step(model, batch), _PROFILE: profile, _UNROLLED: unrolled}, rounds)
    curves = profile().curves
    apart = _largest_difference(curves, dict(zip(state, unrolled(), strict=True)))
    cuts = len(curves[f"gradient/{state[0]}/by_lag"].steps)
    return [
        Row(
            "gradient",
            f"gradient profile / training step, {cell}",
            "x",
            ratios(seconds, _PROFILE, _STEP),
            at_most=0.9,
            detail=f"{in_ms(seconds, _PROFILE, _STEP)}; T={T} B={B} H={H} K={K}, which is {cuts} cuts",
        ),
        Row(
            "gradient",
            f"unrolled profile / training step, {cell}",
            "x",
            ratios(seconds, _UNROLLED, _STEP),
            detail=f"{in_ms(seconds, _UNROLLED, _STEP)}; log10 of the norms is {apart:.1g} off the profile's",
        ),
    ]


def _unrolled(model: SequenceModel, batch: Batch) -> list[Tensor]:
    trained = list(model.parameters())
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        kernel = cast(nn.RNNBase, model.layers[0].get_submodule("kernel"))
        initial_state = model.layers[0].initial_state(len(batch.input))
        return norms_by_step(kernel, model.head, model.encode(batch.input), batch.target, initial_state)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _largest_difference(curves: Mapping[str, Curve], norms_by_part: Mapping[str, Tensor]) -> float:
    """Between the two measurements, in log10 of the root mean square over the batch."""
    differences = []
    for part, norms_TB in norms_by_part.items():
        log_norms: Sequence[float] = norms_TB.square().mean(1).sqrt().log10().tolist()
        curve = curves[f"gradient/{part}/by_lag"]
        for lag, value in zip(curve.steps, curve.values, strict=True):
            if value > _FULL_PRECISION:
                differences.append(abs(value - log_norms[-1 - lag]))
    return max(differences)
