"""The gradient profile: how much gradient arrives at the state and at the input t steps before the loss, by t.

The sequence is cut at K lags and run piece by piece, each piece on the fastest path of the cell. Autograd gives the
exact derivative at every cut; `undertow_probes.pieces` keeps it in range at any depth:

    norms = gradient_norms(model, task, batch, lags)
    norms.log10(norms.inputs)

L is the loss at the last supervised step s, summed over the examples (rows are independent, so the derivative by a row
is that of its own example). The *lag* of a cut after step t is s - t. Two derivatives are measured there:

- by the joint state of all layers as it passes from step t to step t + 1. Its size depends on the coordinates of the
  state: a part that is scaled by 100 and read out by 1/100 computes the same and has another gradient. It shows what
  happens inside of one cell;
- by the encoded input of step t (for tokens: by the embedding). It does not depend on the coordinates of the state, and
  is the one to compare cells by.

A bidirectional network has two paths from x_t to the loss: forwards from step t to the last, in s - t steps, and
backwards from step t to the first, in t steps. Its head reads both ends. The lag is s - t for both, the distance of the
input from the last step, and the derivative by x_t is that along all paths, through both cells of all layers. So the
curve falls as reaching back fades, and rises again towards the first step, where the backward cells end. Its state is
left out: the state at one step does not separate the past from the loss, since the other direction goes around it. The
derivative is computed in one pass in the network's precision: in 32 bits, one below 1e-38 reads 0 and counts in
``zero_share``.

Weights are frozen meanwhile, so kernels skip their gradients. Integer state parts are left out.

T time, B batch, I input, H hidden, P parts of the state (h; h and c), L layers, K lags, C cues.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import correlation, linear_regression
from typing import cast

import torch
from torch import Tensor

from undertow import Batch, Curve, Measurement, Model, Probe, Subject, Task
from undertow_probes.curves import finite, finite_curve, log_spaced, views
from undertow_probes.loss import encoded, last_losses, last_supervised_step
from undertow_probes.options import GradientProfileOptions
from undertow_probes.parts import names
from undertow_probes.pieces import Norms, frozen, norm, run_in_pieces

CROSSINGS = {"half_life": 0.5, "tenth_life": 0.1, "reach": 1e-3}
"""The summaries that are the first lag at which the curve has fallen to a share of its value at lag 1."""

TOLERANCE = 0.05
"""A curve is monotone if no point is more than this, in log10, above an earlier one."""

TAIL = 0.25
"""The tail is the lags from this share of the longest on."""


class GradientProfile(Probe):
    """Curves ``gradient/<what>/by_lag``, their spread over the examples, and their summaries.

    ``<what>`` is ``input`` or a state part; of several layers, ``<state>`` is the norm over all of them and
    ``<state>/layer<l>`` that of one. With g_t the L2 norm of an example's derivative at lag t:

    - ``by_lag``: log10 of the geometric mean over the examples of g_t / g_1; 0 at lag 1;
    - ``by_lag/spread``: the standard deviation over the examples of log10 (g_t / g_1).

    An example whose derivative is exactly 0, or not finite, at a lag is left out there. A lag without examples has no
    point. Scalars:

    - ``half_life``, ``tenth_life``, ``reach``: the first lag, in steps, at which the curve has fallen to ½, 10⁻¹, 10⁻³,
      interpolated on the log. Where the curve does not fall so far, it is the longest lag measured, and
      ``half_life_censored`` (or `tenth_life_censored`, `reach_censored`) is 1, else 0: read "> longest lag";
    - ``tail_rate``: the slope of the least-squares line through the tail, the lags from `TAIL` of the longest on, in
      log10 per step, and ``tail_r2``, its R²; absent with fewer than three points;
    - ``monotone``: 1 if the curve nowhere rises by more than `TOLERANCE`, else 0: then one number does not describe it;
    - ``level``: log10 of the geometric mean of g_1, the absolute size;
    - ``at_cue``: the mean over examples and cue steps of log10 (g_t / g_1) at the lag of the cue; exact at a lag that
      was cut (the nearest and the farthest cue always are), between two cuts interpolated on the log;
    - ``zero_share``: the largest share, over the lags, of examples whose derivative is exactly 0;
    - ``nonfinite``: the number of norms that are not finite.
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
        norms = gradient_norms(subject.model, subject.task, subject.batch, lags)
        found = {"input": norms.inputs}
        parts = [] if subject.model.bidirectional else names(subject)
        for part, norms_LKB in zip(parts, norms.states, strict=True):
            found |= views(part, list(norms_LKB), torch.linalg.vector_norm(norms_LKB, dim=0))
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for view, norms_KB in found.items():
            name = f"gradient/{view}"
            logs_KB = norms.log10(norms_KB)
            relative_KB = logs_KB - logs_KB[0]
            mean_K, spread_K = over_examples(relative_KB)
            curves |= finite_curve(f"{name}/by_lag", lags, mean_K)
            curves |= finite_curve(f"{name}/by_lag/spread", lags, spread_K)
            summary = summarise(lags, mean_K)
            summary["level"] = over_examples(logs_KB[:1])[0][0]
            summary["at_cue"] = _at_cue(lags, relative_KB, cue_lags_BC)
            summary["zero_share"] = float((norms_KB == 0).double().mean(1).max())
            summary["nonfinite"] = float((~norms_KB.isfinite()).sum())
            scalars |= finite({f"{name}/{key}": value for key, value in summary.items()})
        return Measurement(scalars, curves)


def gradient_norms(model: Model, task: Task, batch: Batch, lags: Sequence[int]) -> Norms:
    """The norms of the derivative of the last supervised loss, by lag and example.

    Args:
        model: Any network; it is left as it was.
        task: The task with the loss.
        batch: The examples.
        lags: Ascending, in steps before the last supervised step s, each from 1 to s, the first 1.
    """
    last = last_supervised_step(task, batch)
    x_TBI = encoded(model, task, batch).detach()
    with frozen(model):
        if model.bidirectional:
            return _norms_of_whole(model, task, batch, x_TBI, last, lags)
        pieces = run_in_pieces(model, x_TBI[: last + 1], lags, after=len(x_TBI) - last - 1)
        loss = last_losses(model, task, batch, pieces.readout, last).sum()
        return pieces.norms(pieces.from_loss(loss))


def _norms_of_whole(model: Model, task: Task, batch: Batch, x_TBI: Tensor, last: int, lags: Sequence[int]) -> Norms:
    """The norms by the input alone, from one pass over all steps, for a network that cannot run in pieces."""
    x_TBI = x_TBI.requires_grad_()
    y_TBH, _ = model.advance(x_TBI, model.initial_state(x_TBI.shape[1]))
    loss = last_losses(model, task, batch, y_TBH[last], last).sum()
    (by_input_TBI,) = torch.autograd.grad(loss, x_TBI, materialize_grads=True)
    inputs_KB = torch.stack([norm(by_input_TBI[last - lag]) for lag in lags])
    return Norms(inputs_KB.new_zeros(0), inputs_KB, torch.zeros_like(inputs_KB))


def over_examples(logs_KB: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over the examples with a finite value, at each lag.

    Returns:
        The means: -inf where every example is 0, NaN where none is finite. The deviations: NaN where no example is
        finite, 0 for a single one.
    """
    logs_KB = logs_KB.double()
    kept_KB = logs_KB.isfinite()
    count_K = kept_KB.sum(1)
    mean_K = torch.where(kept_KB, logs_KB, 0.0).sum(1) / count_K
    square_K = torch.where(kept_KB, logs_KB - mean_K.unsqueeze(1), 0.0).square().sum(1)
    all_zero_K = (logs_KB == -math.inf).any(1) & ~(logs_KB == math.inf).any(1)
    mean_K = torch.where((count_K == 0) & all_zero_K, -math.inf, mean_K)
    spread_K = torch.where(count_K == 0, math.nan, (square_K / (count_K - 1).clamp(min=1)).sqrt())
    return mean_K.tolist(), spread_K.tolist()


def summarise(lags: Sequence[int], logs_K: Sequence[float]) -> dict[str, float]:
    """The summaries of one curve that `GradientProfile` defines by the curve alone, without those that are undefined.

    Args:
        lags: Ascending, the first 1.
        logs_K: log10 at each lag; -inf where the derivative is exactly 0, NaN where it is unknown. Any level: the
            summaries are relative to the first.
    """
    start = logs_K[0]
    if not math.isfinite(start):
        return {}
    points = [(lag, log - start) for lag, log in zip(lags, logs_K, strict=True) if not math.isnan(log)]
    summary: dict[str, float] = {}
    for name, share in CROSSINGS.items():
        lag = first_lag(points, math.log10(share))
        summary[name] = float(points[-1][0]) if lag is None else lag
        summary[f"{name}_censored"] = float(lag is None)
    lowest = accumulate((log for _, log in points[:-1]), min)
    rises = [log - low for (_, log), low in zip(points[1:], lowest, strict=True) if math.isfinite(low)]
    summary["monotone"] = float(all(rise <= TOLERANCE for rise in rises))
    tail = [(lag, log) for lag, log in points if lag >= TAIL * points[-1][0] and math.isfinite(log)]
    if len(tail) >= 3:
        steps, values = zip(*tail, strict=True)
        summary["tail_rate"] = linear_regression(steps, values).slope
        summary["tail_r2"] = correlation(steps, values) ** 2 if max(values) > min(values) else 1.0
    return summary


def first_lag(points: Sequence[tuple[int, float]], threshold: float) -> float | None:
    """The first lag at which a curve has fallen to a threshold, interpolated on the log; None if it never does.

    Args:
        points: Lag and log10, ascending; the first is above the threshold.
        threshold: In log10.
    """
    for (lag, log), (next_lag, next_log) in pairwise(points):
        if next_log <= threshold:
            if not math.isfinite(next_log):
                return float(next_lag)
            return lag + (next_lag - lag) * (log - threshold) / (log - next_log)
    return None


def _at_cue(lags: Sequence[int], relative_KB: Tensor, cue_lags_BC: Tensor) -> float:
    """The mean over examples and cues of the curve of the example at the lag of the cue."""
    if len(lags) == 1:
        return 0.0
    lags_K = torch.tensor(lags, dtype=torch.float64, device=relative_KB.device)
    logs_BK = relative_KB.T.contiguous()
    at_BC = cue_lags_BC.to(lags_K)
    above_BC = torch.searchsorted(lags_K, at_BC).clamp(1, len(lags) - 1)
    share_BC = (at_BC - lags_K[above_BC - 1]) / (lags_K[above_BC] - lags_K[above_BC - 1])
    low_BC, high_BC = logs_BK.gather(1, above_BC - 1), logs_BK.gather(1, above_BC)
    between_BC = torch.where(share_BC == 1, high_BC, torch.where(share_BC == 0, low_BC, low_BC.lerp(high_BC, share_BC)))
    known = between_BC[between_BC.isfinite()]
    return float(known.mean()) if len(known) else math.nan
