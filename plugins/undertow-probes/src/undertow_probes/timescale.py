"""The time scale of a gate: how long a unit keeps its state, from the geometric mean of the share kept at a step.

A state of which the share f is kept at every step falls to 1/e in -1 / ln f steps. Tallec & Ollivier, arXiv 1804.11188,
relate this to the bias of the gate. Recorded beside it, in the same unit, are the decay of the gradient and the lag of
the task's cue: a long time scale helps only if the gradient reaches as far, and both only if they reach the cue.

The name of a gate does not tell whether it keeps the state: in a GRU z does, in a minimal gated unit 1 - f. A cell
declares it by the attribute `keeps`, the name of the gate or ``"1 - NAME"``. Only a sigmoid is a share; of a gate of
another kind, such as an exp, which may be above 1, there is no time scale:

    class MGU(Cell):
        keeps = "1 - f"

T time, B batch, H hidden.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from undertow import Cell, Measurement, Probe, RequestError, Subject
from undertow_probes.activations import activations
from undertow_probes.curves import finite, log_spaced
from undertow_probes.gradient_profile import first_lag, gradient_norms, over_examples
from undertow_probes.loss import last_supervised_step
from undertow_probes.options import TimescaleOptions
from undertow_probes.parts import cell_names

_LAGS = 32


class Timescale(Probe):
    """Scalars in steps to 1/e; those without a finite value, such as that of a gate that never closes, are left out.

    - ``timescale/gate``: -1 / ln of the geometric mean of the share kept, over units, examples, steps and layers: what
      is left after many steps is the product of the shares; of several layers also ``timescale/gate/layer<l>``, of one
      (and ``…/backward`` of its cell that runs backwards);
    - ``timescale/gate/arithmetic``: the same with the arithmetic mean, which a few open gates make long;
    - ``timescale/gate/longest`` and ``timescale/gate/median``: over the units, each by its own geometric mean;
    - ``timescale/gradient``: the steps after lag 1 in which the gradient of the last supervised loss by the input falls
      to 1/e (the curve of `gradient-profile`); absent if it does not fall so far within the sequence;
    - ``timescale/cue``: the mean lag of the task's cues, in plain steps.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for a cell that names no gate, and for sequences of one step."""
        gate = cast(TimescaleOptions, self.options).gate
        last = last_supervised_step(subject.task, subject.batch)
        if last < 1:
            return Measurement()
        by_layer = []
        for cell, gates in zip(
            subject.model.layers, activations(subject.model, subject.task, subject.batch), strict=True
        ):
            if name := gate or cell.keeps:
                by_layer.append(kept(cell, gates, name).double())
        if not by_layer:
            return Measurement()
        logs_LU = [share.flatten(2).log().mean((0, 1)) for share in by_layer]
        scales_U = torch.cat([-1 / log_U for log_U in logs_LU])
        arithmetic = torch.cat([share.flatten(2).mean((0, 1)) for share in by_layer])
        scalars = {
            "timescale/gate": _steps(torch.cat(logs_LU)),
            "timescale/gate/arithmetic": _steps(arithmetic.mean().log()),
            "timescale/gate/longest": float(scales_U.max()),
            "timescale/gate/median": float(scales_U.median()),
            "timescale/cue": float((last - subject.task.cues(subject.batch)).double().mean()),
        }
        if len(logs_LU) > 1:
            names = cell_names(subject.model)
            scalars |= {f"timescale/gate/{name}": _steps(log_U) for name, log_U in zip(names, logs_LU, strict=True)}
        if (steps := _gradient_steps(subject, last)) is not None:
            scalars["timescale/gradient"] = steps
        return Measurement(finite(scalars))


def kept(cell: Cell, gates: Mapping[str, tuple[Tensor, Any]], name: str) -> Tensor:
    """The share of the state that is kept, `(T, B, …)`, from the gate `name`, or ``"1 - NAME"``.

    Raises:
        RequestError: The cell has no such gate.
    """
    gate = name.removeprefix("1 - ")
    if gate not in gates:
        names = ", ".join(f"`{each}`" for each in gates) or "none"
        raise RequestError(f"probe `timescale`: {type(cell).__name__} has no gate `{gate}`; its gates: {names}")
    values, kind = gates[gate]
    if kind != "sigmoid":
        raise RequestError(
            f"probe `timescale`: gate `{gate}` of {type(cell).__name__} is of kind {kind}, which is no share of a state"
        )
    return values if gate == name else 1 - values


def _steps(logs: Tensor) -> float:
    return float(-1 / logs.mean())


def _gradient_steps(subject: Subject, last: int) -> float | None:
    """Steps after lag 1 in which the gradient by the input falls to 1/e; None if it does not within the sequence."""
    lags = log_spaced(_LAGS, last)
    norms = gradient_norms(subject.model, subject.task, subject.batch, lags)
    logs_KB = norms.log10(norms.inputs)
    means_K, _ = over_examples(logs_KB - logs_KB[0])
    points = [(lag, log) for lag, log in zip(lags, means_K, strict=True) if not math.isnan(log)]
    found = first_lag(points, -math.log10(math.e))
    return None if found is None else found - 1
