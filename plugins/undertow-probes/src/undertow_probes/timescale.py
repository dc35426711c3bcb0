"""The time scale of a gate: how long a unit keeps what it holds, if its gate stays as it is on average.

A state that is kept by the share f at every step falls to 1/e in -1 / ln f steps. Tallec & Ollivier, arXiv 1804.11188,
relate this to the bias of the gate. Beside it stand, in the same unit, how fast the gradient falls and how far back the
task's cue lies: a gate that keeps for long is of no use if the gradient does not come as far, and neither is if the cue
lies further back.

Which gate keeps is not to be seen from its name: in a GRU it is z, in a minimal gated unit it is what f leaves. A cell
says so with the attribute `keeps`, the name of the gate, or ``"1 - NAME"``:

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
from undertow_probes.curves import finite, log10, log_spaced, rms
from undertow_probes.gradient_profile import gradient_norms, summarise
from undertow_probes.loss import last_supervised_step
from undertow_probes.options import TimescaleOptions

_LAGS = 32


class Timescale(Probe):
    """All in steps to 1/e; what has no finite value, as of a gate that never closes, is left out.

    - ``timescale/gate``: -1 / ln of the mean share kept, over units, examples and steps; of several layers also
      ``timescale/gate/layer<l>``, and ``timescale/gate`` is that of the mean over all;
    - ``timescale/gate/longest`` and ``timescale/gate/median``: over the units, each by its own mean share;
    - ``timescale/gradient``: of the gradient of the last supervised loss with respect to the joint state of all parts
      and layers, its half-life over ln 2; absent where it grows with the lag;
    - ``timescale/cue``: the mean lag of the task's cues, in plain steps.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for a cell that names no gate, and for sequences of one step."""
        wanted = cast(TimescaleOptions, self.options).gate
        last = last_supervised_step(subject.task, subject.batch)
        if last < 1:
            return Measurement()
        by_layer = []
        for cell, gates in zip(
            subject.model.layers, activations(subject.model, subject.task, subject.batch), strict=True
        ):
            if name := wanted or cell.keeps:
                by_layer.append(kept(cell, gates, name).double())
        if not by_layer:
            return Measurement()
        shares_LU = [share.flatten(2).mean((0, 1)) for share in by_layer]
        scales_U = torch.cat([-1 / share_U.log() for share_U in shares_LU])
        scalars = {
            "timescale/gate": _steps(torch.cat(shares_LU)),
            "timescale/gate/longest": float(scales_U.max()),
            "timescale/gate/median": float(scales_U.median()),
            "timescale/cue": float((last - subject.task.cues(subject.batch)).double().mean()),
        }
        if len(shares_LU) > 1:
            scalars |= {f"timescale/gate/layer{depth}": _steps(share_U) for depth, share_U in enumerate(shares_LU)}
        half_life = _gradient_half_life(subject, last)
        if half_life > 0:
            scalars["timescale/gradient"] = half_life / math.log(2)
        return Measurement(finite(scalars))


def kept(cell: Cell, gates: Mapping[str, tuple[Tensor, Any]], name: str) -> Tensor:
    """The share of the state that is kept, `(T, B, …)`, from the gate `name`, or ``"1 - name"``.

    Raises:
        RequestError: The cell has no such gate.
    """
    gate = name.removeprefix("1 - ")
    if gate not in gates:
        has = ", ".join(f"`{each}`" for each in gates) or "none"
        raise RequestError(f"probe `timescale`: {type(cell).__name__} has no gate `{gate}`; its gates: {has}")
    values, _ = gates[gate]
    return values if gate == name else 1 - values


def _steps(shares: Tensor) -> float:
    return float(-1 / shares.mean().log())


def _gradient_half_life(subject: Subject, last: int) -> float:
    lags = log_spaced(_LAGS, last)
    norms_PLKB = gradient_norms(subject.model, subject.task, subject.batch, lags)
    joint_KB = torch.linalg.vector_norm(norms_PLKB, dim=(0, 1))
    return summarise(lags, log10(rms(joint_KB, dim=1))).get("half_life", 0.0)
