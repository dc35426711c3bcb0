"""Memory: what the network uses of the past, measured by hiding it.

The input at some lag before the last supervised step is replaced, and the loss at that step is compared with the loss
for the whole input. The gradient profile shows reach, this probe shows use: a gradient may arrive where nothing was
learned, and a network that solves its task uses the cue, however small the gradient there is.

T time, B batch, I input, K lags, C cues.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from undertow import Batch, Measurement, Model, Probe, RequestError, State, Subject, Task
from undertow_probes.curves import finite, finite_curve, log_spaced
from undertow_probes.loss import answered, encoded, last_losses, last_supervised_step
from undertow_probes.options import MemoryOptions

SHARE = 0.01
"""A lag is used if hiding the input there raises the loss by at least this share of the largest loss of all lags."""


class Memory(Probe):
    """Curve ``memory/by_lag``: how much the mean loss at the last supervised step rises, in the unit of the task's
    loss, when the input at the lag is hidden; below 0 where the loss falls. Scalars:

    - ``memory/loss``: that loss with the whole input;
    - ``memory/at_cue``: how much it rises when all cue steps of each example are hidden at once;
    - ``memory/reach``: the largest measured lag that is used, as `SHARE` defines it; 0 if none is.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for sequences of one step, which have no past.

        Raises:
            RequestError: The option `fill` is `other`, and the batch has one example.
        """
        options = cast(MemoryOptions, self.options)
        model, task, batch = subject.model, subject.task, subject.batch
        last = last_supervised_step(task, batch)
        if last < 1:
            return Measurement()
        if options.fill == "other" and len(batch.target) < 2:
            raise RequestError(
                "probe `memory`: `fill: other` takes the input of another example, and there is only one: set "
                "probes[].examples to 2 or more, or `fill: zeros`"
            )
        lags = [0, *log_spaced(options.lags, last)]
        with torch.no_grad():
            x_TBI = encoded(model, task, batch)[: last + 1]
            fill_TBI = x_TBI.roll(1, dims=1) if options.fill == "other" else torch.zeros_like(x_TBI)
            spans = [
                (last + 1 - (lag + 1 if options.span == "step" else further), last + 1 - lag)
                for lag, further in pairwise([*lags, last + 1])
            ]
            losses_K = occluded_losses(model, task, batch, x_TBI, fill_TBI, spans)
            whole = _mean_loss(model, task, batch, x_TBI, model.initial_state(x_TBI.shape[1]))
            at_cue_TBI = torch.where(_at(x_TBI, task.cues(batch).clamp(0, last)), fill_TBI, x_TBI)
            at_cue = _mean_loss(model, task, batch, at_cue_TBI, model.initial_state(x_TBI.shape[1]))
        rises_K = [loss - whole for loss in losses_K]
        least = SHARE * abs(max(losses_K))
        used = [lag for lag, rise in zip(lags, rises_K, strict=True) if rise > 0 and rise >= least]
        scalars = {"memory/loss": whole, "memory/at_cue": at_cue - whole, "memory/reach": float(max(used, default=0))}
        return Measurement(finite(scalars), finite_curve("memory/by_lag", lags, rises_K))


def occluded_losses(
    model: Model, task: Task, batch: Batch, x_TBI: Tensor, fill_TBI: Tensor, spans: Sequence[tuple[int, int]]
) -> list[float]:
    """The mean loss at the last step of `x_TBI` with one span of steps replaced, for each span, the latest first.

    The steps before a span are run once for all spans; by a bidirectional network, all steps for each.
    """
    found = []
    if model.bidirectional:
        start_state = model.initial_state(x_TBI.shape[1])
        for start, stop in spans:
            hidden_TBI = torch.cat([x_TBI[:start], fill_TBI[start:stop], x_TBI[stop:]])
            found.append(_mean_loss(model, task, batch, hidden_TBI, start_state))
        return found
    state = model.initial_state(x_TBI.shape[1])
    done = 0
    for start, stop in reversed(spans):
        if start > done:
            _, state = model.advance(x_TBI[done:start], state)
            done = start
        hidden_TBI = torch.cat([fill_TBI[start:stop], x_TBI[stop:]])
        found.append(_mean_loss(model, task, batch, hidden_TBI, state))
    return found[::-1]


def _mean_loss(model: Model, task: Task, batch: Batch, x_TBI: Tensor, state: tuple[State, ...]) -> float:
    """Over the examples that have a target at the last supervised step, which is the last of `x_TBI`."""
    last = last_supervised_step(task, batch)
    y_TBH, _ = model.advance(x_TBI, state)
    losses_B = last_losses(model, task, batch, y_TBH[-1], last)
    return float(losses_B.double().sum() / answered(task, batch, last).sum())


def _at(x_TBI: Tensor, steps_BC: Tensor) -> Tensor:
    """A mask of the steps of each example: `(T, B, 1 …)` bool."""
    mask_BT = torch.zeros(x_TBI.shape[1], x_TBI.shape[0], dtype=torch.bool, device=x_TBI.device)
    mask_BT.scatter_(1, steps_BC.to(x_TBI.device), True)
    return mask_BT.T.reshape(*x_TBI.shape[:2], *[1] * (x_TBI.dim() - 2))
