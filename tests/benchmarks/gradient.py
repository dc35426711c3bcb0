"""Cost of one gradient profile in training steps on the same batch, and the cost of the same curve by unrolling.

The profile is the whole probe as a run executes it. All run on one thread and are timed in CPU seconds, a few rounds at
a time, of which the fastest counts.
T time, B batch, H hidden, K lags.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.peers.unrolled import norms_by_step
from benchmarks.profiled import profiled
from benchmarks.row import Row
from benchmarks.timing import cpu_now, in_ms, interleaved, ratios_of_minima, training_step
from undertow.api.contract import Batch, Task
from undertow.nn import SequenceModel
from undertow_probes.gradient_profile import gradient_norms

_STEP, _PROFILE, _UNROLLED = "training step", "profile", "unrolled"
_FULL_PRECISION = -30.0  # log10; the squares and products of smaller float32 numbers lose their last digits


def measure(quick: bool) -> list[Row]:
    """Profile over training step, and unrolled measurement over training step, for each fused cell."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for cell in ("lstm", "gru", "rnn") for row in _rows(cell, quick)]
    finally:
        torch.set_num_threads(threads)


def _rows(cell: str, quick: bool) -> list[Row]:
    T, B, H, K, rounds, at_once = (48, 8, 16, 8, 3, 1) if quick else (512, 32, 128, 32, 15, 5)
    one = profiled(cell, T, B, H, K)
    model, task, batch = one.model, one.task, one.batch

    def unrolled() -> list[Tensor]:
        return _unrolled(model, batch)

    contestants = {_STEP: training_step(model, batch), _PROFILE: one.profile, _UNROLLED: unrolled}
    seconds = interleaved(contestants, rounds, cpu_now)
    lags = one.profile().curves["gradient/input/by_lag"].steps
    apart = _largest_difference(model, task, batch, lags, unrolled())
    sizes = f"T={T} B={B} H={H} K={K}, which is {len(lags)} cuts; CPU seconds, one thread"
    return [
        Row(
            "gradient",
            f"gradient profile / training step, {cell}",
            "x",
            ratios_of_minima(seconds, _PROFILE, _STEP, at_once),
            at_most=0.9,
            detail=f"{in_ms(seconds, _PROFILE, _STEP)}; {sizes}",
        ),
        Row(
            "gradient",
            f"unrolled profile / training step, {cell}",
            "x",
            ratios_of_minima(seconds, _UNROLLED, _STEP, at_once),
            detail=f"{in_ms(seconds, _UNROLLED, _STEP)}; log10 of a norm is at most {apart:.1g} off the profile's",
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


def _largest_difference(
    model: SequenceModel, task: Task, batch: Batch, lags: Sequence[int], norms_by_part: Sequence[Tensor]
) -> float:
    """Between the two measurements, in log10 of the norm of each example, where the unrolled one has all its digits."""
    norms = gradient_norms(model, task, batch, lags)
    differences = []
    for part_LKB, norms_TB in zip(norms.states, norms_by_part, strict=True):
        unrolled_KB = norms_TB[[-1 - lag for lag in lags]].log10()
        apart_KB = (norms.log10(part_LKB[0]) - unrolled_KB).abs()
        differences.append(float(apart_KB[unrolled_KB > _FULL_PRECISION].max()))
    return max(differences)
