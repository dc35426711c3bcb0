"""Pieces: run a sequence cut at some lags, so that autograd gives the derivative at every cut.

    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        norms_PLKB = pieces.gradient_norms(loss_of(pieces.readout))

The *lag* of a cut is the number of steps after it. What is handed over at a cut is the state of all layers as it passes
from one step to the next; paths to a higher layer within the step before the cut are not included.

T time, B batch, I input, H hidden, P parts of the state that have a gradient, L layers, K lags.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from undertow import Model, State
from undertow_probes.parts import has_gradient, with_gradient


@dataclass(frozen=True)
class Pieces:
    """A sequence that was run piece by piece.

    Attributes:
        cuts: The number of steps before each cut, ascending.
        handed_over: The state of all layers at each cut, tensors of the graph.
        state: The state after the last step.
        readout: Of the top layer at the steps of the last piece, `(t, B, H)`.
    """

    cuts: Sequence[int]
    handed_over: Sequence[tuple[State, ...]]
    state: tuple[State, ...]
    readout: Tensor

    def gradient_norms(self, loss: Tensor) -> Tensor:
        """The norm of the derivative by state part, layer, lag (ascending) and example: `norms_PLKB` in float64."""
        parts = [part for state in self.handed_over for part in with_gradient(state)]
        norms = [_norm(gradient) for gradient in derivative(loss, parts)]
        norms_KLPB = torch.stack(norms).reshape(len(self.cuts), len(self.state), -1, len(norms[0]))
        return norms_KLPB.flip(0).permute(2, 1, 0, 3)


def run_in_pieces(model: Model, x_TBI: Tensor, lags: Sequence[int], after: int = 0) -> Pieces:
    """Run all steps of `x_TBI`, cut at each of the lags; each piece takes the fastest path of the cells.

    Args:
        model: Any network, `frozen`.
        x_TBI: Its encoded input.
        lags: Ascending, each from 1 to T - 1.
        after: How many steps of the sequence follow; where a network truncates its gradient depends on it.
    """
    cuts = [len(x_TBI) - lag for lag in reversed(lags)]
    handed_over: list[tuple[State, ...]] = []
    with torch.no_grad():
        y_TBH, state = model.advance(x_TBI[: cuts[0]], model.initial_state(x_TBI.shape[1]))
    for start, stop in pairwise([*cuts, len(x_TBI)]):
        state = tuple(tuple(_handed(part) for part in layer) for layer in state)
        handed_over.append(state)
        y_TBH, state = model.advance(x_TBI[start:stop], state, after + len(x_TBI) - stop)
    return Pieces(cuts, handed_over, state, y_TBH)


def derivative(loss: Tensor, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """The derivative of a number by some tensors of its graph; the graph is kept."""
    if not loss.requires_grad:  # a cell without memory: the weights are frozen, and the loss depends on nothing else
        return [torch.zeros_like(part) for part in parts]
    return torch.autograd.grad(loss, parts, retain_graph=True, materialize_grads=True)


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


def _handed(part: Tensor) -> Tensor:
    """A new tensor for a state part, so that its gradient is that of what passes from this step to the next."""
    if not has_gradient(part):
        return part
    return part.clone() if part.requires_grad else part.detach().clone().requires_grad_()


def _norm(gradient: Tensor) -> Tensor:
    """The L2 norm of each example, `(B,)` in float64, since squares of small float32 numbers underflow."""
    flat = gradient.detach().flatten(1)
    flat = torch.view_as_real(flat).flatten(1) if flat.is_complex() else flat
    return flat.to(torch.float64).square().sum(1).sqrt()
