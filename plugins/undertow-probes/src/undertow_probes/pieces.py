"""Pieces: run a sequence cut at some lags, and go back through it piece by piece, without underflow to any depth.

    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        norms = pieces.norms(pieces.from_loss(loss_of(pieces.readout)))
        norms.log10(norms.inputs)

The *lag* of a cut is the number of steps after it. The derivative is linear: before each piece, the derivative of each
example by the joint state at the cut is scaled by a power of two to a norm of about 1, and the exponent is kept beside
it. So the numbers in float32 stay in range, however small or large the derivative itself is. A piece within which the
derivative of an example falls or grows too far is run again in halves. All parts of an example have one exponent: in 32
bits, a part reads 0 where its derivative is less than about 1e-38 of the joint one.

The derivative by the state is that by the joint state of all layers as it passes from one step to the next; paths to a
higher layer within the step before the cut are not included. The derivative by the input is that by the encoded input
of the step before the cut, along all paths.

T time, B batch, I input, P parts of the state that have a gradient, L layers, K lags.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from undertow import Model, State
from undertow_probes.parts import has_gradient, with_gradient

LONGEST_PIECE = 64
"""Steps of a piece at most: few networks need the halves of a piece so short."""

_ABOUT_1 = 1e3
"""A norm up to so many times larger or smaller than 1 is not scaled."""

_SHARE = 0.7
"""The share of the negative exponents of a dtype through which a derivative may fall within a piece, or grow."""

_FARTHEST = 1e-26
"""The most that it may fall in any dtype: its square must be in the range of float64."""


@dataclass(frozen=True)
class Norms:
    """L2 norms of the derivative by lag (ascending) and example, in float64: ``norm * 2**exponent``.

    Attributes:
        states: By each state part of each layer, `(P, L, K, B)`.
        inputs: By the encoded input of the step before the cut, `(K, B)`.
        exponents: Whole numbers, `(K, B)`.
    """

    states: Tensor
    inputs: Tensor
    exponents: Tensor

    def log10(self, norms_KB: Tensor) -> Tensor:
        """log10 of the true norms, from norms by lag and example as they are stored; -inf for 0."""
        return norms_KB.log10() + self.exponents * math.log10(2)


class Cotangent:
    """The derivative of a number by the joint state at a cut: ``parts * 2**exponent``.

    Attributes:
        parts: Of each state part of each layer, the lowest layer first, `(B, …)`.
        exponents: Whole numbers in float64, `(B,)`.
        norms: Of the parts as they are stored, `(N, B)` in float64.
        joint: Their joint norm, `(B,)`.
        lowest: The smallest joint norm of an example; NaN if one is NaN.
        highest: The largest.
    """

    def __init__(self, parts: Sequence[Tensor], exponents: Tensor, norms: Tensor | None = None) -> None:
        self.parts, self.exponents = parts, exponents
        self.norms = torch.stack([norm(part) for part in parts]) if norms is None else norms
        self.joint: Tensor = torch.linalg.vector_norm(self.norms, dim=0)
        self.lowest, self.highest = torch.stack(self.joint.aminmax()).tolist()

    def scaled(self) -> "Cotangent":
        """The same derivative with parts whose joint norm is about 1, or still 0 or not finite."""
        if self.lowest > 1 / _ABOUT_1 and self.highest < _ABOUT_1:
            return self
        most = int(-_SHARE * math.log2(torch.finfo(self.parts[0].dtype).smallest_normal))
        exponent_B = torch.frexp(self.joint.nan_to_num(1.0, 1.0)).exponent.clamp(-most, most)
        factor_B = torch.ldexp(torch.ones_like(self.joint), -exponent_B)  # exact, in the dtype of the parts too
        parts = [part * factor_B.to(part.dtype.to_real()).reshape(-1, *[1] * (part.dim() - 1)) for part in self.parts]
        return Cotangent(parts, self.exponents + exponent_B, self.norms * factor_B)


@dataclass(frozen=True)
class Piece:
    """Some steps that were run from a state without a history.

    Attributes:
        start: The first step.
        stop: The step after the last.
        state: The state of all layers before them; leaves of the graph.
        input: The encoded input of these steps; a leaf of the graph.
        readout: Of the top layer, `(t, B, H)`.
        end: The state after them.
    """

    start: int
    stop: int
    state: tuple[State, ...]
    input: Tensor
    readout: Tensor
    end: tuple[State, ...]


@dataclass(frozen=True)
class Pieces:
    """A sequence that was run piece by piece.

    Attributes:
        model: The network, `frozen`.
        after: How many steps of the sequence follow the last one.
        lags: The lags that are reported, ascending; the first is 1.
        pieces: In the order of time. The last is one step.
    """

    model: Model
    after: int
    lags: Sequence[int]
    pieces: Sequence[Piece]

    @property
    def readout(self) -> Tensor:
        """Of the top layer at the last step, `(B, H)`."""
        return self.pieces[-1].readout[-1]

    @property
    def end(self) -> tuple[State, ...]:
        """The state after the last step."""
        return self.pieces[-1].end

    def from_loss(self, loss: Tensor) -> Cotangent:
        """The derivative at lag 1 of a number that was computed from `readout`, summed over the examples."""
        return self._derivative(self.pieces[-1], [loss], None)[0]

    def from_end(self, parts: Sequence[Tensor]) -> Cotangent:
        """The derivative at lag 1 of the sum of the last state's parts times these."""
        return self._derivative(self.pieces[-1], with_gradient(self.end), parts)[0]

    def norms(self, at_lag_1: Cotangent) -> Norms:
        """The norms at every lag, from the derivative at lag 1."""
        state_KNB, input_KB, exponent_KB = [], [], []
        for cotangent, input_BI in self.walk(at_lag_1):
            state_KNB.append(cotangent.norms)
            input_KB.append(norm(input_BI))
            exponent_KB.append(cotangent.exponents)
        state_NKB = torch.stack(state_KNB, dim=1)
        state_LPKB = state_NKB.reshape(len(self.end), -1, *state_NKB.shape[1:])
        return Norms(state_LPKB.transpose(0, 1), torch.stack(input_KB), torch.stack(exponent_KB))

    def walk(self, at_lag_1: Cotangent) -> Iterator[tuple[Cotangent, Tensor]]:
        """Go back: at each lag, ascending, the derivative by the state, scaled, and that by the input before the cut.

        The second is `(B, I)`, with the exponent of the first.
        """
        last = self.pieces[-1].stop
        reported = {last - lag for lag in self.lags}
        cotangent = at_lag_1.scaled()
        for piece in reversed(self.pieces[:-1]):
            before, input_TBI = self._through(piece, cotangent)
            if piece.stop in reported:
                yield cotangent, input_TBI[-1]
            cotangent = before.scaled()

    def _through(self, piece: Piece, after: Cotangent) -> tuple[Cotangent, Tensor]:
        """The derivative by the state before a piece and by its input, from that by the state after it."""
        if after.highest == 0:  # nothing arrives, so nothing goes on
            zeros = [torch.zeros_like(part) for part in with_gradient(piece.state)]
            return Cotangent(zeros, after.exponents), torch.zeros_like(piece.input)
        before, input_TBI = self._derivative(piece, with_gradient(piece.end), after.parts, after.exponents)
        if piece.stop - piece.start == 1 or not _is_out_of_range(before, after):
            return before, input_TBI
        first, second = self._halves(piece)
        middle, input_TBI = self._through(second, after)
        return self._through(first, middle.scaled())[0], input_TBI

    def _halves(self, piece: Piece) -> tuple[Piece, Piece]:
        middle = (piece.start + piece.stop) // 2
        first = _run(self.model, piece.input[: middle - piece.start], piece.state, piece.start, self._follow(middle))
        rest_TBI = piece.input[middle - piece.start :]
        return first, _run(self.model, rest_TBI, first.end, middle, self._follow(piece.stop))

    def _follow(self, stop: int) -> int:
        return self.after + self.pieces[-1].stop - stop

    @staticmethod
    def _derivative(
        piece: Piece, outputs: Sequence[Tensor], by: Sequence[Tensor] | None, exponent_B: Tensor | None = None
    ) -> tuple[Cotangent, Tensor]:
        """The derivative of the outputs of a piece, times `by`, by its first state and by its input."""
        leaves = [*with_gradient(piece.state), piece.input]
        graph = [place for place, output in enumerate(outputs) if output.requires_grad]
        if exponent_B is None:
            exponent_B = torch.zeros(piece.input.shape[1], dtype=torch.float64, device=piece.input.device)
        if not graph:
            return Cotangent([torch.zeros_like(leaf) for leaf in leaves[:-1]], exponent_B), torch.zeros_like(leaves[-1])
        *parts, input_TBI = torch.autograd.grad(
            [outputs[place] for place in graph],
            leaves,
            None if by is None else [by[place] for place in graph],
            retain_graph=True,
            materialize_grads=True,
        )
        return Cotangent(parts, exponent_B), input_TBI


def run_in_pieces(model: Model, x_TBI: Tensor, lags: Sequence[int], after: int = 0) -> Pieces:
    """Run all steps of `x_TBI`, cut at each of the lags; each piece takes the fastest path of the cells.

    Args:
        model: Any network, `frozen`.
        x_TBI: Its encoded input, at least two steps.
        lags: Ascending, each from 1 to T - 1, the first 1.
        after: How many steps of the sequence follow; where a network truncates its gradient depends on it.
    """
    T = len(x_TBI)
    cuts = [T - lag for lag in reversed(lags)]
    # The step before the first cut is a piece for the derivative by its input.
    bounds = [cuts[0] - 1, *cuts, T]
    state = model.initial_state(x_TBI.shape[1])
    if bounds[0]:
        with torch.no_grad():
            _, state = model.advance(x_TBI[: bounds[0]], state, after + T - bounds[0])
    pieces: list[Piece] = []
    for start, stop in pairwise(bounds):
        for begin in range(start, stop, LONGEST_PIECE):
            end = min(begin + LONGEST_PIECE, stop)
            pieces.append(_run(model, x_TBI[begin:end], state, begin, after + T - end))
            state = pieces[-1].end
    return Pieces(model, after, lags, pieces)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Freeze the weights within the block: autograd computes no gradients for them."""
    trained = [p for p in cast(nn.Module, model).parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _run(model: Model, x_TBI: Tensor, state: tuple[State, ...], start: int, after: int) -> Piece:
    state = tuple(tuple(_leaf(part) for part in layer) for layer in state)
    input_TBI = _leaf(x_TBI)
    y_TBH, end = model.advance(input_TBI, state, after)
    return Piece(start, start + len(x_TBI), state, input_TBI, y_TBH, end)


def _leaf(part: Tensor) -> Tensor:
    """A state part without its history; autograd gives the derivative by it."""
    return part.detach().clone().requires_grad_() if has_gradient(part) else part


def _is_out_of_range(before: Cotangent, after: Cotangent) -> bool:
    """Whether an example's derivative fell or grew too far within a piece for its digits to be trusted."""
    limit = max(torch.finfo(before.parts[0].dtype).smallest_normal ** _SHARE, _FARTHEST)
    if before.lowest > limit * after.highest and before.highest < after.lowest / limit:
        return False
    change_B = before.joint / after.joint
    within_B = (change_B > limit) & (change_B < 1 / limit)
    return bool((~within_B & (after.joint > 0) & after.joint.isfinite()).any())


def norm(gradient: Tensor) -> Tensor:
    """The L2 norm of each example, `(B,)` in float64, since squares of small float32 numbers underflow."""
    dtype = torch.complex128 if gradient.is_complex() else torch.float64
    norm_B: Tensor = torch.linalg.vector_norm(gradient.detach().flatten(1), dim=1, dtype=dtype)
    return norm_B
