"""Weights: the spectrum of the recurrent matrix, and the norm of each parameter and of its gradient.

The recurrent matrix is not searched among the parameters, since its name, shape and parametrisation differ from cell to
cell. It is the Jacobian A of one step by the cell's own state, at the initial state with input 0: U itself for a linear
cell, diag(φ') U for a plain one, and the product with all gates at rest for a gated cell.

N numbers of a layer's state, integer parts left out.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from undertow import Cell, Measurement, Probe, Subject
from undertow_probes.curves import finite
from undertow_probes.joint import step_jacobian
from undertow_probes.loss import mean_loss
from undertow_probes.parts import with_gradient


class Weights(Probe):
    """Scalars of the recurrent matrix A of each layer, ``weights/recurrent/…``, of several layers the largest, and
    ``weights/recurrent/…/layer<l>``:

    - ``spectral_radius``: max |λ|, which decides whether a small state grows or decays in the long run;
    - ``norm``: the largest singular value, the largest growth in one step;
    - ``non_normality``: ‖AAᵀ - AᵀA‖_F / ‖A‖_F², 0 if the eigenvectors of A are orthogonal, so that no state grows
      before it decays; at most √2.

    And by parameter:

    - ``weights/norm/<parameter>``: its L2 norm;
    - ``weights/gradient/<parameter>``: the L2 norm of the gradient of the mean loss over all supervised steps of the
      sub-batch; ``weights/gradient``: that over all parameters, which clipping by norm limits.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure, with the eigenvalues of an N × N matrix per layer and one forward and backward pass."""
        scalars: dict[str, float] = {}
        by_layer = [spectrum(recurrent_matrix(cell)) for cell in subject.model.layers]
        for key in by_layer[0]:
            scalars[f"weights/recurrent/{key}"] = max(layer[key] for layer in by_layer)
            if len(by_layer) > 1:
                scalars |= {f"weights/recurrent/{key}/layer{depth}": e[key] for depth, e in enumerate(by_layer)}
        parameters = dict(cast(nn.Module, subject.model).named_parameters())
        loss = mean_loss(subject.model, subject.task, subject.batch)
        found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
        gradients = dict(zip(parameters, found, strict=True))
        for name, parameter in parameters.items():
            scalars[f"weights/norm/{name}"] = _norm(parameter.detach())
            scalars[f"weights/gradient/{name}"] = _norm(gradients[name])
        scalars["weights/gradient"] = sum(_norm(gradient) ** 2 for gradient in gradients.values()) ** 0.5
        return Measurement(finite(scalars))


def recurrent_matrix(cell: Cell) -> Tensor:
    """A, the Jacobian of a step from the initial state with input 0, `(N, N)` in float64."""
    with torch.no_grad():
        state = cell.initial_state(1)
        like = with_gradient((state,))[0]
        x_BI = torch.zeros(1, cell.input_size, dtype=like.dtype.to_real(), device=like.device)
        return step_jacobian(cell, x_BI, state).double()


def spectrum(A_NN: Tensor) -> Mapping[str, float]:
    """Spectral radius, largest singular value and non-normality; NaN if A is not finite."""
    if not A_NN.isfinite().all():
        return dict.fromkeys(("spectral_radius", "norm", "non_normality"), float("nan"))
    commutator_NN = A_NN @ A_NN.T - A_NN.T @ A_NN
    square = float(A_NN.square().sum())
    return {
        "spectral_radius": float(torch.linalg.eigvals(A_NN).abs().max()),
        "norm": float(torch.linalg.matrix_norm(A_NN, ord=2)),
        "non_normality": float(torch.linalg.matrix_norm(commutator_NN)) / square if square else 0.0,
    }


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values.to(torch.complex128 if values.is_complex() else torch.float64)))
