"""Weights: the spectrum of what multiplies the state at a step, and the norm of each parameter and of its gradient.

Two matrices answer for a layer:

- the Jacobian A of one step by the cell's own state, at points of the trajectory of the batch: U itself for a linear
  cell, diag(φ') U for a plain one, and the product with all gates for a gated cell. It is taken along the trajectory,
  since at rest the derivative of a relu is 0 and a layer norm has none;
- the matrix U that the cell names by `recurrent_matrix`, if it has one.

T time, B batch, I input, N numbers of a layer's state, integer parts left out.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from undertow import Cell, Measurement, Probe, State, Subject
from undertow_probes.activations import trajectories
from undertow_probes.curves import evenly_spaced, finite
from undertow_probes.joint import step_jacobian
from undertow_probes.loss import mean_loss
from undertow_probes.options import WeightsOptions
from undertow_probes.parts import cell_names


class Weights(Probe):
    """Scalars of the Jacobian A of a step, ``weights/recurrent/…``, each the mean over some points of the trajectory:

    - ``spectral_radius``: max |λ|, which decides whether a small state grows or decays if A stays the same;
    - ``norm``: the largest singular value, the largest growth in one step;
    - ``non_normality``: ‖AAᴴ - AᴴA‖_F / ‖A‖_F², 0 if the eigenvectors of A are orthogonal, so that no state grows
      before it decays; at most √2.

    The same of the matrix that the cell names, ``weights/matrix/…``; absent for a cell that names none. Of several
    layers both are the largest of the layers, and ``…/layer<l>`` is that of one; ``…/layer<l>/backward`` that of its
    cell that runs backwards.

    And by parameter:

    - ``weights/norm/<parameter>``: its L2 norm;
    - ``weights/gradient/<parameter>``: the L2 norm of the gradient of the mean loss over all supervised steps of the
      sub-batch; ``weights/gradient``: that over all parameters, which clipping by norm limits.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure, with the eigenvalues of some N × N matrices per layer and one forward and backward pass."""
        points = cast(WeightsOptions, self.options).points
        scalars: dict[str, float] = {}
        recurrent, named = [], []
        for cell, x_TBI, states_TB in trajectories(subject.model, subject.task, subject.batch):
            spectra = [spectrum(A_NN) for A_NN in step_jacobians(cell, x_TBI, states_TB, points)]
            recurrent.append({key: sum(each[key] for each in spectra) / len(spectra) for key in spectra[0]})
            U_HH = cell.recurrent_matrix()
            if U_HH is not None:
                named.append(spectrum(U_HH.detach()))
        cells = cell_names(subject.model)
        scalars |= _largest("weights/recurrent", recurrent, cells) | _largest("weights/matrix", named, cells)
        parameters = dict(cast(nn.Module, subject.model).named_parameters())
        loss = mean_loss(subject.model, subject.task, subject.batch)
        found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        gradients = dict(zip(parameters, found, strict=True))
        for name, parameter in parameters.items():
            scalars[f"weights/norm/{name}"] = _norm(parameter.detach())
            scalars[f"weights/gradient/{name}"] = _norm(gradients[name])
        scalars["weights/gradient"] = sum(_norm(gradient) ** 2 for gradient in gradients.values()) ** 0.5
        return Measurement(finite(scalars))


def step_jacobians(cell: Cell, x_TBI: Tensor, states_TB: State, points: int) -> Sequence[Tensor]:
    """The Jacobian of a layer's step at some points of its trajectory, `(N, N)` each.

    Args:
        cell: The layer.
        x_TBI: Its input at every step.
        states_TB: Its state before every step, `(T, B, …)` a part.
        points: How many; they are evenly spaced over the steps and the examples. The first step is left out of a longer
            sequence: the initial state is at rest.
    """
    T, B = x_TBI.shape[:2]
    first = min(1, T - 1)
    found = []
    for t, b in (divmod(first * B + place, B) for place in evenly_spaced(points, (T - first) * B)):
        found.append(step_jacobian(cell, x_TBI[t, b : b + 1], tuple(part[t, b : b + 1] for part in states_TB)).detach())
    return found


def spectrum(A_NN: Tensor) -> Mapping[str, float]:
    """Spectral radius, largest singular value and non-normality of a real or complex matrix; NaN if not finite."""
    if not A_NN.isfinite().all():
        return dict.fromkeys(("spectral_radius", "norm", "non_normality"), float("nan"))
    A_NN = A_NN.to(torch.complex128 if A_NN.is_complex() else torch.float64)
    commutator_NN = A_NN @ A_NN.mH - A_NN.mH @ A_NN
    square = float(A_NN.abs().square().sum())
    return {
        "spectral_radius": float(torch.linalg.eigvals(A_NN).abs().max()),
        "norm": float(torch.linalg.matrix_norm(A_NN, ord=2)),
        "non_normality": float(torch.linalg.matrix_norm(commutator_NN)) / square if square else 0.0,
    }


def _largest(prefix: str, by_layer: Sequence[Mapping[str, float]], cells: Sequence[str]) -> dict[str, float]:
    """The largest value of the layers by name and, of several, that of each."""
    scalars: dict[str, float] = {}
    for key in by_layer[0] if by_layer else ():
        scalars[f"{prefix}/{key}"] = max(layer[key] for layer in by_layer)
        if len(by_layer) > 1:
            scalars |= {f"{prefix}/{key}/{cell}": layer[key] for cell, layer in zip(cells, by_layer, strict=True)}
    return scalars


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.to(torch.complex128 if values.is_complex() else torch.float64)))
