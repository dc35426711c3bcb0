"""The Jacobian: how strongly the state depends on the state t steps before, whatever the loss.

J is the derivative of the joint state of all parts and layers after the last supervised step s by the one handed over
after step t; its *lag* is s - t. For a random v of independent signs, E |Jᵀv|² is the squared Frobenius norm of J, and
one backward pass gives Jᵀv at every cut:

    norms = jacobian_norms(model, x_TBI, lags, vectors=32, seed=0)

Beyond the step where a network truncates its gradient, J is 0. Integer state parts are left out.

T time, B batch, I input, P parts of the state, L layers, K lags, N numbers of the joint state, V vectors.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import cast

import torch
from torch import Tensor

from undertow import Curve, Measurement, Model, Probe, State, Subject
from undertow_probes.curves import finite, finite_curve, log_spaced, views
from undertow_probes.gradient_profile import over_examples, summarise
from undertow_probes.joint import flatten, push, unflatten
from undertow_probes.loss import encoded, last_supervised_step
from undertow_probes.options import JacobianOptions
from undertow_probes.parts import has_gradient, names, with_gradient
from undertow_probes.pieces import Pieces, frozen, run_in_pieces


class Jacobian(Probe):
    """Curves ``jacobian/joint/by_lag``, log10 of the geometric mean over the examples of the Frobenius norm.

    Of several state parts, ``jacobian/<state>/by_lag`` is the norm of the columns of one: how strongly the whole later
    state depends on this part; of several layers, ``jacobian/<state>/layer<l>`` is that of the columns of one layer.
    Scalars of each are ``half_life``, ``tenth_life``, ``reach`` with their flags, ``tail_rate``, ``tail_r2`` and
    ``monotone``, as `gradient-profile` defines them, and ``standard_error``: that of the curve, in log10, from the
    random vectors alone, at the lag where it is largest. The vectors are others at every measurement.

    With `power_iterations`, ``jacobian/sigma_max/by_lag`` is log10 of the largest singular value of J, with the same
    scalars but the last. The estimate is a lower bound; it converges fast if one singular value is much larger than the
    others, as at long lags.
    """

    def measure(self, subject: Subject) -> Measurement:
        """Measure; empty for sequences of one step, which have no lags, and for bidirectional networks.

        Those have no joint state that passes from step to step: the two directions pass in opposite ones.
        """
        options = cast(JacobianOptions, self.options)
        last = last_supervised_step(subject.task, subject.batch)
        if last < 1 or subject.model.bidirectional:
            return Measurement()
        lags = log_spaced(options.lags, last)
        x_TBI = encoded(subject.model, subject.task, subject.batch)[: last + 1].detach()
        logs_VPLKB = jacobian_norms(subject.model, x_TBI, lags, options.vectors, seed=subject.step)
        found = {"joint": _joint(logs_VPLKB, (1, 2))}
        if logs_VPLKB.shape[1:3] != (1, 1):
            for place, part in enumerate(names(subject)):
                logs_VLKB = logs_VPLKB[:, place]
                found |= views(part, list(logs_VLKB.unbind(1)), _joint(logs_VLKB, (1,)))
        scalars: dict[str, float] = {}
        curves: dict[str, Curve] = {}
        logs_of = {}
        for view, logs_VKB in found.items():
            logs_of[view], error_KB = frobenius(logs_VKB)
            scalars[f"jacobian/{view}/standard_error"] = _largest_error(error_KB)
        if options.power_iterations:
            logs_of["sigma_max"] = largest_singular_values(subject.model, x_TBI, lags, options.power_iterations)
        for view, logs_KB in logs_of.items():
            mean_K, _ = over_examples(logs_KB)
            curves |= finite_curve(f"jacobian/{view}/by_lag", lags, mean_K)
            scalars |= {f"jacobian/{view}/{key}": value for key, value in summarise(lags, mean_K).items()}
        return Measurement(finite(scalars), curves)


def jacobian_norms(model: Model, x_TBI: Tensor, lags: Sequence[int], vectors: int, seed: int) -> Tensor:
    """The norm of Jᵀv for random v, by columns of J, vector, state part, layer, lag and example.

    Args:
        model: Any network; it is left as it was.
        x_TBI: Its encoded input, up to the step whose state is the last.
        lags: Ascending, each from 1 to T - 1, the first 1.
        vectors: How many vectors v of independent signs.
        seed: Of the vectors.

    Returns:
        `log10` of the norms, `(V, P, L, K, B)` in float64. The mean of the squares over the vectors is an unbiased
        estimate of the squared Frobenius norm of those columns (Hutchinson 1990).
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        end_BN = flatten(pieces.end)
        for _ in range(vectors):
            signs_BN = torch.randint(0, 2, end_BN.shape, generator=generator).to(end_BN) * 2 - 1
            norms = pieces.norms(pieces.from_end(with_gradient(unflatten(signs_BN, pieces.end))))
            found.append(norms.log10(norms.states))
    return torch.stack(found)


def frobenius(logs_VKB: Tensor) -> tuple[Tensor, Tensor]:
    """log10 of the Frobenius norm, and its standard error, by lag and example.

    Args:
        logs_VKB: log10 of the norm of Jᵀv, for at least two vectors.
    """
    largest_KB = logs_VKB.amax(0)
    scale_KB = torch.where(largest_KB.isfinite(), largest_KB, 0.0)
    squares_VKB = (2 * math.log(10) * (logs_VKB - scale_KB)).exp()
    mean_KB = squares_VKB.mean(0)
    error_KB = squares_VKB.std(0) / len(logs_VKB) ** 0.5 / mean_KB / (2 * math.log(10))
    return mean_KB.log10() / 2 + scale_KB, error_KB


def _joint(logs: Tensor, dims: tuple[int, ...]) -> Tensor:
    """log10 of the norm over parts or layers, from that of each."""
    return torch.logsumexp(logs * (2 * math.log(10)), dim=dims) / (2 * math.log(10))


def _largest_error(error_KB: Tensor) -> float:
    """The standard error of the mean over the examples, whose vectors are independent, at the worst lag."""
    errors = []
    for error_B in error_KB:
        known = error_B[error_B.isfinite()]
        if len(known):
            errors.append(float(known.square().sum().sqrt()) / len(known))
    return max(errors, default=math.nan)


def largest_singular_values(model: Model, x_TBI: Tensor, lags: Sequence[int], iterations: int) -> Tensor:
    """log10 of σ_max of the Jacobian by lag and example, `(K, B)` in float64, by power iteration on JᵀJ.

    J v is pushed forward step by step, for all lags in one sweep; Jᵀ u is a backward pass from the end to the cut.
    """
    generator = torch.Generator().manual_seed(0)
    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        end_BN = flatten(pieces.end)
        v_KBN = torch.randn((len(lags), *end_BN.shape), generator=generator, dtype=torch.float64).to(end_BN)
        logs_KB = torch.full(v_KBN.shape[:2], -math.inf, dtype=torch.float64, device=end_BN.device)
        for _ in range(iterations):
            u_KBN = _push_through(model, x_TBI, pieces, _unit(v_KBN))
            for k, u_BN in enumerate(_unit(u_KBN)):
                v_KBN[k], logs_KB[k] = _pull_back(pieces, u_BN, k)
    return logs_KB


def _push_through(model: Model, x_TBI: Tensor, pieces: Pieces, v_KBN: Tensor) -> Tensor:
    """The direction of J v of the k-th vector, from the cut at the k-th lag to the end, `(K, B, N)`."""
    T, lags = len(x_TBI), pieces.lags
    moved_KBN = v_KBN[:0]
    state: tuple[State, ...] = ()
    starts = {piece.start: piece.state for piece in pieces.pieces}
    with torch.no_grad():
        for t in range(T - lags[-1], T):
            if T - t in lags:
                moved_KBN = torch.cat([v_KBN[lags.index(T - t)].unsqueeze(0), moved_KBN])
                state = state or tuple(tuple(part.detach() for part in layer) for layer in starts[t])
            state, moved_KBN = push(model, x_TBI[t], state, moved_KBN)
            moved_KBN = _unit(moved_KBN)  # else it would leave the range of the dtype
    return moved_KBN


def _pull_back(pieces: Pieces, u_BN: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """The direction of Jᵀ u at a lag, `(B, N)`, and log10 of its norm, `(B,)`."""
    at_end = pieces.from_end(with_gradient(unflatten(u_BN, pieces.end)))
    cotangent, _ = next(islice(pieces.walk(at_end), place, None))
    parts = iter(cotangent.parts)
    state = tuple(tuple(next(parts) for part in layer if has_gradient(part)) for layer in pieces.end)
    return flatten(state).detach(), cotangent.joint.log10() + cotangent.exponents * math.log10(2)


def _unit(vectors: Tensor) -> Tensor:
    """Each vector scaled to length 1; a zero vector remains zero."""
    norms: Tensor = torch.linalg.vector_norm(vectors.double(), dim=-1, keepdim=True)
    return (vectors.double() / norms.clamp(min=torch.finfo(torch.float64).tiny)).to(vectors.dtype)
