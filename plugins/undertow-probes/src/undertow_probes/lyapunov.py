"""Lyapunov exponents: how fast neighbouring states diverge or converge along the sequence, in nats per step.

A frame Q of k orthonormal tangent vectors of the joint state is pushed through every step and made orthonormal again:

    J_t Q_{t-1} = Q_t R_t,    λ_i = mean over t of ln |R_t,ii|

If λ_1 < 0 the network forgets and its gradient vanishes at that rate; if λ_1 > 0 its gradient explodes. What is stored
in the i-th direction lasts -1/λ_i steps. The sequence is finite: these are its own exponents, not limits.

Benettin et al. 1980; for recurrent networks Engelken, Wolf & Abbott, arXiv 2006.02427, and Vogt et al., arXiv
2006.14123. T time, B batch, I input, N numbers of the joint state, M vectors in the frame (the k of the formulas).
"""

import math
from typing import cast

import torch
from torch import Tensor

from undertow import Curve, Measurement, Model, Probe, Subject
from undertow_probes.curves import evenly_spaced, finite, finite_curve
from undertow_probes.joint import flatten, push
from undertow_probes.loss import encoded
from undertow_probes.options import LyapunovOptions

FLOOR = -50.0
"""log10 of the growth in one step of a direction that the step removes entirely."""


class Lyapunov(Probe):
    """Scalars ``lyapunov/<i>``, the i-th largest exponent, averaged over the examples, in nats per step; curves
    ``lyapunov/<i>/by_time``, the estimate from the steps so far, whose step is the time step.

    The joint state has all layers and parts, integer ones left out; the path along c of an LSTM is in it. A direction
    that one step removes entirely, as a relu at 0 does, counts as shrunk by 10^`FLOOR` there. Rounding mixes other
    directions into it, so in 32 bits a value below -16 only says that it is small.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for sequences of one step, and for bidirectional networks: they pass no joint state on."""
        options = cast(LyapunovOptions, self.options)
        if subject.model.bidirectional:
            return Measurement()
        x_TBI = encoded(subject.model, subject.task, subject.batch).detach()
        if len(x_TBI) < 2:
            return Measurement()
        growth_TM = log_growth(subject.model, x_TBI, options.exponents).mean(1)
        burn_in = len(growth_TM) // 4 if options.burn_in is None else min(options.burn_in, len(growth_TM) - 1)
        steps_T = torch.arange(1, len(growth_TM) - burn_in + 1, device=growth_TM.device)
        running_TM = growth_TM[burn_in:].cumsum(0) / steps_T.unsqueeze(1)
        running_TM = running_TM[:, running_TM[-1].argsort(descending=True)]  # nearly equal ones may be out of order
        at = evenly_spaced(options.points, len(running_TM))
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for i, estimate_T in enumerate(running_TM.T.cpu(), start=1):
            scalars[f"lyapunov/{i}"] = float(estimate_T[-1])
            steps = [burn_in + step for step in at]
            curves |= finite_curve(f"lyapunov/{i}/by_time", steps, estimate_T[at].tolist())
        return Measurement(finite(scalars), curves)


def log_growth(model: Model, x_TBI: Tensor, exponents: int) -> Tensor:
    """ln |R_ii| of every step, by example and direction: `(T, B, M)` in float64, M the smaller of `exponents` and N.

    Args:
        model: The network, in evaluation mode.
        x_TBI: Its encoded input.
        exponents: The number of directions.
    """
    with torch.no_grad():
        state = model.initial_state(x_TBI.shape[1])
        joint_BN = flatten(state)
        Q_BNM = first_frame(joint_BN.shape[1], exponents).to(joint_BN.device).expand(len(joint_BN), -1, -1)
        logs = []
        for x_BI in x_TBI:
            state, moved_MBN = push(model, x_BI, state, Q_BNM.permute(2, 0, 1).to(joint_BN.dtype))
            Q_BNM, R_BMM = torch.linalg.qr(moved_MBN.permute(1, 2, 0).double())
            logs.append(R_BMM.diagonal(dim1=1, dim2=2).abs().log().clamp(min=FLOOR * math.log(10)))
    return torch.stack(logs)


def first_frame(size: int, count: int) -> Tensor:
    """At most `count` random orthonormal vectors, the same at every call, `(N, M)` in float64."""
    generator = torch.Generator().manual_seed(0)
    Q_NM: Tensor = torch.linalg.qr(torch.randn(size, min(count, size), generator=generator, dtype=torch.float64)).Q
    return Q_NM
