"""The Jacobian: how strongly the state depends on the state t steps before, whatever the loss.

J is the derivative of the joint state of all parts and layers after the last supervised step s by the one handed over
after step t; its *lag* is s - t. For a random v of independent signs, E |Jᵀv|² is the squared Frobenius norm of J, and
one backward pass gives Jᵀv at every cut:

    norms_PLKB = jacobian_norms(model, x_TBI, lags, vectors=8)

Beyond the step where a network truncates its gradient, J is 0. Integer state parts are left out.

T time, B batch, I input, P parts of the state, L layers, K lags, N numbers of the joint state.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from undertow import Curve, Measurement, Model, Probe, Subject
from undertow_probes.curves import finite, finite_curve, log10, log_spaced, rms, views
from undertow_probes.gradient_profile import summarise
from undertow_probes.joint import flatten, push
from undertow_probes.loss import encoded, last_supervised_step
from undertow_probes.options import JacobianOptions
from undertow_probes.parts import names, with_gradient
from undertow_probes.pieces import Pieces, derivative, frozen, run_in_pieces


class Jacobian(Probe):
    """Curves ``jacobian/joint/by_lag``, log10 of the Frobenius norm, root mean square over the batch.

    Of several state parts, ``jacobian/<state>/by_lag`` is the norm of the columns of one: how strongly the whole later
    state depends on this part; of several layers, ``jacobian/<state>/layer<l>`` is that of the columns of one layer.
    Scalars of each are ``half_life``, ``growth`` and ``reach``, as `gradient-profile` defines them.

    With `power_iterations`, ``jacobian/sigma_max/by_lag`` is log10 of the largest singular value of J, with the same
    scalars. The estimate is a lower bound; it converges fast if one singular value is much larger than the others, as
    at long lags.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for sequences of one step, which have no lags."""
        options = cast(JacobianOptions, self.options)
        last = last_supervised_step(subject.task, subject.batch)
        if last < 1:
            return Measurement()
        lags = log_spaced(options.lags, last)
        x_TBI = encoded(subject.model, subject.task, subject.batch)[: last + 1].detach()
        norms_PLKB = jacobian_norms(subject.model, x_TBI, lags, options.vectors)
        found = {"joint": torch.linalg.vector_norm(norms_PLKB, dim=(0, 1))}
        if norms_PLKB.shape[:2] != (1, 1):
            for part, norms_LKB in zip(names(subject), norms_PLKB, strict=True):
                found |= views(part, list(norms_LKB), torch.linalg.vector_norm(norms_LKB, dim=0))
        if options.power_iterations:
            found["sigma_max"] = largest_singular_values(subject.model, x_TBI, lags, options.power_iterations)
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        for view, norms_KB in found.items():
            log_norms_K = log10(rms(norms_KB, dim=1))
            curves |= finite_curve(f"jacobian/{view}/by_lag", lags, log_norms_K)
            summary = summarise(lags, log_norms_K)
            scalars |= finite({f"jacobian/{view}/{key}": value for key, value in summary.items()})
        return Measurement(scalars, curves)


def jacobian_norms(model: Model, x_TBI: Tensor, lags: Sequence[int], vectors: int) -> Tensor:
    """The Frobenius norm of columns of the Jacobian of the last state, by state part, layer, lag and example.

    Args:
        model: Any network; it is left as it was.
        x_TBI: Its encoded input, up to the step whose state is the last.
        lags: Ascending, each from 1 to T - 1.
        vectors: How many random cotangents the squared norm is averaged over.

    Returns:
        `norms_PLKB` in float64, the square root of an unbiased estimate of the square.
    """
    generator = torch.Generator().manual_seed(
        0
    )  # the same signs at every measurement, so that measurements are comparable
    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        end_BN = flatten(pieces.state)
        squares = []
        for _ in range(vectors):
            signs_BN = torch.randint(0, 2, end_BN.shape, generator=generator).to(end_BN) * 2 - 1
            squares.append(pieces.gradient_norms((end_BN * signs_BN).sum()).square())
    return torch.stack(squares).mean(0).sqrt()


def largest_singular_values(model: Model, x_TBI: Tensor, lags: Sequence[int], iterations: int) -> Tensor:
    """σ_max of the Jacobian by lag and example, `(K, B)` in float64, by power iteration on JᵀJ.

    J v is pushed forward step by step, for all lags in one sweep; Jᵀ u is a backward pass from the end to the cut.
    """
    generator = torch.Generator().manual_seed(0)
    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        end_BN = flatten(pieces.state)
        v_KBN = torch.randn((len(lags), *end_BN.shape), generator=generator, dtype=torch.float64).to(end_BN)
        for _ in range(iterations):
            u_KBN = _push_through(model, x_TBI, pieces, _unit(v_KBN))
            v_KBN = torch.stack([_pull_back(pieces, end_BN, u_BN, k) for k, u_BN in enumerate(_unit(u_KBN))])
        norms_KB: Tensor = torch.linalg.vector_norm(v_KBN.double(), dim=2)
    return norms_KB.flip(0)


def _push_through(model: Model, x_TBI: Tensor, pieces: Pieces, v_KBN: Tensor) -> Tensor:
    """J v of the k-th vector, from the k-th cut to the end, `(K, B, N)`."""
    state = tuple(tuple(part.detach() for part in layer) for layer in pieces.handed_over[0])
    moved_KBN = v_KBN[:0]
    with torch.no_grad():
        for t in range(pieces.cuts[0], len(x_TBI)):
            if t in pieces.cuts:
                moved_KBN = torch.cat([moved_KBN, v_KBN[len(moved_KBN) : len(moved_KBN) + 1]])
            state, moved_KBN = push(model, x_TBI[t], state, moved_KBN)
    return moved_KBN


def _pull_back(pieces: Pieces, end_BN: Tensor, u_BN: Tensor, cut: int) -> Tensor:
    """Jᵀ u of one cut, `(B, N)`."""
    layers = pieces.handed_over[cut]
    return flatten((tuple(derivative((end_BN * u_BN).sum(), with_gradient(layers))),)).detach()


def _unit(vectors: Tensor) -> Tensor:
    """Each vector scaled to length 1; a zero vector remains zero."""
    norms: Tensor = torch.linalg.vector_norm(vectors.double(), dim=-1, keepdim=True)
    return (vectors.double() / norms.clamp(min=torch.finfo(torch.float64).tiny)).to(vectors.dtype)
