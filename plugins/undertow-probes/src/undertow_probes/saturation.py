"""Saturation: the share of each gate near its limits, where its derivative and so the gradient through it are small.

T time, B batch, H hidden.
"""

from typing import cast

import torch
from torch import Tensor

from undertow import Curve, GateKind, Measurement, Probe, Subject
from undertow_probes.activations import activations
from undertow_probes.curves import evenly_spaced, finite
from undertow_probes.options import SaturationOptions
from undertow_probes.parts import cell_names

LOW, HIGH = 0.05, 0.95
"""A sigmoid is saturated outside these limits, tanh if its absolute value is above the second, relu at 0.

`exp` and `softplus` have one limit, 0, and are saturated where their derivative is below the first: it is the value of
an exp, and 1 - exp(-value) of a softplus. They have none above, where their derivative is 1 or more.
"""


class Saturation(Probe):
    """Scalars ``saturation/<gate>``, a share; ``saturation/<gate>/derivative`` and
    ``saturation/<gate>/derivative_rms``, the mean and the root mean square of the activation's derivative, of which the
    second sets the rate of the gradient in a wide random network (χ = σ² E[φ'²]; Poole et al. 2016, arXiv 1606.05340);
    curves ``saturation/<gate>/by_time`` of the share, whose step is the time step.

    Of several layers, ``<gate>`` is the mean and ``<gate>/layer<l>`` one layer; of a bidirectional one,
    ``<gate>/layer<l>/backward`` is the cell that runs backwards. A cell without `gates` has none.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure with one forward pass."""
        options = cast(SaturationOptions, self.options)
        shares: dict[str, list[Tensor]] = {}
        slopes: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            for gates in activations(subject.model, subject.task, subject.batch):
                for name, (values, kind) in gates.items():
                    shares.setdefault(name, []).append(_saturated(values, kind).flatten(1).double().mean(1))
                    slope = _derivative(values, kind).double()
                    slopes.setdefault(name, []).append(torch.stack([slope.mean(), slope.square().mean()]))
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for gate in shares:
            by_layer = list(zip(shares[gate], slopes[gate], strict=True))
            views = {gate: tuple(torch.stack(values).mean(0) for values in zip(*by_layer, strict=True))}
            if len(by_layer) > 1:
                names = cell_names(subject.model)
                views |= {f"{gate}/{name}": pair for name, pair in zip(names, by_layer, strict=True)}
            for view, (share_T, slope) in views.items():
                scalars[f"saturation/{view}"] = float(share_T.mean())
                scalars[f"saturation/{view}/derivative"] = float(slope[0])
                scalars[f"saturation/{view}/derivative_rms"] = float(slope[1].sqrt())
                steps = evenly_spaced(options.points, len(share_T))
                curves[f"saturation/{view}/by_time"] = Curve(steps, share_T[steps].tolist())
        return Measurement(finite(scalars), curves)


def _saturated(values: Tensor, kind: GateKind) -> Tensor:
    if kind == "sigmoid":
        return (values < LOW) | (values > HIGH)
    if kind in ("exp", "softplus"):
        return _derivative(values, kind) < LOW
    return values.abs() > HIGH if kind == "tanh" else values <= 0


def _derivative(values: Tensor, kind: GateKind) -> Tensor:
    """The activation's derivative, from its value."""
    if kind == "sigmoid":
        return values * (1 - values)
    if kind == "exp":
        return values
    if kind == "softplus":
        return -torch.expm1(-values)
    return 1 - values.square() if kind == "tanh" else (values > 0).to(values.dtype)
