"""The gradient profile: how much gradient arrives at the state t steps before the loss, by t.

The sequence is cut at K lags and run piece by piece, each piece on the fastest path of the cell. The state handed over
at a cut is an ordinary tensor of the graph, so one `torch.autograd.grad` gives the exact derivative at every cut:

    norms_PLKB = gradient_norms(model, task, batch, lags)

L is the loss at the last supervised step s, summed over the examples (rows are independent, so the derivative by a row
is that of its own example). The *lag* of a cut after step t is s - t. Measured is the derivative by the joint state of
all layers as handed from step t to step t + 1; paths to a higher layer within step t are before the cut and not
included. Weights are frozen meanwhile, so kernels skip their gradients. Integer state parts are left out.

T time, B batch, I input, H hidden, P parts of the state (h; h and c), L layers, K lags, C cues.
"""

import math
from collections.abc import Sequence
from statistics import linear_regression
from typing import cast

import torch
from torch import Tensor

from undertow import Batch, Curve, Measurement, Model, Probe, Subject, Task
from undertow_probes.curves import FLOOR, finite, finite_curve, log10, log_spaced, rms, views
from undertow_probes.loss import encoded, last_losses, last_supervised_step
from undertow_probes.options import GradientProfileOptions
from undertow_probes.parts import names
from undertow_probes.pieces import frozen, run_in_pieces

REACH = 1e-3
"""The reach is the largest lag at which the norm is above this share of the norm at the shortest lag."""


class GradientProfile(Probe):
    """Curves ``gradient/<state>/by_lag`` (log10 of the norm) and their summaries, in time steps.

    The norm is the L2 norm over H of each example, root mean square over the batch. With the option `joint`, there is
    also ``joint`` as ``<state>``, the norm over all state parts. Of several layers, ``<state>`` is the norm over all
    of them and ``<state>/layer<l>`` that of one. Scalars of each:

    - ``half_life``: steps over which the norm halves, from the least-squares line through log norm against lag (points
      at the floor left out); 0 if fewer than two points are above the floor; negative if the norm grows with the lag,
      doubling over as many steps, and then ``growth`` is 1, else 0;
    - ``reach``: the largest measured lag with a norm above `REACH` of that at the shortest lag;
    - ``at_cue``: log10 of the root mean square over examples and cue steps of the norm there; exact at a lag that was
      cut (the nearest and the farthest cue always are), between two cuts interpolated on the log;
    - ``nonfinite``: the number of measured norms that are not finite.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for sequences of one step, which have no lags."""
        options = cast(GradientProfileOptions, self.options)
        last = last_supervised_step(subject.task, subject.batch)
        if last < 1:
            return Measurement()
        cue_lags_BC = (last - subject.task.cues(subject.batch)).clamp(1, last)
        lags = log_spaced(options.lags, last)
        lags = sorted({*lags, int(cue_lags_BC.min()), int(cue_lags_BC.max())})
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        norms_PLKB = gradient_norms(subject.model, subject.task, subject.batch, lags)
        norms_of = dict(zip(names(subject), norms_PLKB, strict=True))
        if options.joint:
            norms_of["joint"] = torch.linalg.vector_norm(norms_PLKB, dim=0)
        for part, norms_LKB in norms_of.items():
            all_layers_KB = torch.linalg.vector_norm(norms_LKB, dim=0)
            for view, norms_KB in views(part, list(norms_LKB), all_layers_KB).items():
                name = f"gradient/{view}"
                log_norms_K = log10(rms(norms_KB, dim=1))
                curves |= finite_curve(f"{name}/by_lag", lags, log_norms_K)
                summary = summarise(lags, log_norms_K)
                summary["at_cue"] = _at_cue(lags, norms_KB, cue_lags_BC)
                summary["nonfinite"] = float((~norms_KB.isfinite()).sum())
                scalars |= finite({f"{name}/{key}": value for key, value in summary.items()})
        return Measurement(scalars, curves)


def gradient_norms(model: Model, task: Task, batch: Batch, lags: Sequence[int]) -> Tensor:
    """The norm of the derivative of the last supervised loss, by state part, layer, lag and example.

    Args:
        model: Any network; it is left as it was.
        task: The task with the loss.
        batch: The examples.
        lags: Ascending, in steps before the last supervised step s, each from 1 to s.

    Returns:
        `norms_PLKB` in float64.
    """
    last = last_supervised_step(task, batch)
    x_TBI = encoded(model, task, batch).detach()
    with frozen(model):
        pieces = run_in_pieces(model, x_TBI[: last + 1], lags, after=len(x_TBI) - last - 1)
        return pieces.gradient_norms(last_losses(model, task, batch, pieces.readout[-1], last).sum())


def summarise(lags: Sequence[int], log_norms_K: Sequence[float]) -> dict[str, float]:
    """Half-life, growth and reach of one curve, as `GradientProfile` defines them, without those that are undefined."""
    points = [(lag, value) for lag, value in zip(lags, log_norms_K, strict=True) if math.isfinite(value)]
    if not points:
        return {"reach": 0.0}
    above = [(lag, value) for lag, value in points if value > FLOOR]
    slope = linear_regression(*zip(*above, strict=True)).slope if len(above) > 1 else -math.inf
    summary = {"growth": float(slope >= 0)}
    if slope:
        summary["half_life"] = -math.log10(2) / slope
    nearest = log_norms_K[0]
    if math.isfinite(nearest) and nearest > FLOOR:
        summary["reach"] = float(max(lag for lag, value in points if value >= nearest + math.log10(REACH)))
    else:
        summary["reach"] = 0.0
    return summary


def _at_cue(lags: Sequence[int], norms_KB: Tensor, cue_lags_BC: Tensor) -> float:
    """log10 of the root mean square, over examples and cues, of the norm at the cue's lag."""
    if len(lags) == 1:
        return log10(rms(norms_KB, dim=1))[0]
    lags_K = torch.tensor(lags, dtype=torch.float64, device=norms_KB.device)
    log_norms_BK = norms_KB.log10().clamp(min=FLOOR).T.contiguous()
    at_BC = cue_lags_BC.to(lags_K)
    above_BC = torch.searchsorted(lags_K, at_BC).clamp(1, len(lags) - 1)
    share_BC = (at_BC - lags_K[above_BC - 1]) / (lags_K[above_BC] - lags_K[above_BC - 1])
    low_BC, high_BC = log_norms_BK.gather(1, above_BC - 1), log_norms_BK.gather(1, above_BC)
    norms_BC = 10.0 ** torch.lerp(low_BC, high_BC, share_BC)
    return log10(rms(norms_BC.reshape(1, -1), dim=1))[0]
