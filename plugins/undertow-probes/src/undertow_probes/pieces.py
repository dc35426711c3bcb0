"""Pieces: run a sequence cut at some lags, so that autograd can be asked for the derivative at every cut.

    with frozen(model):
        pieces = run_in_pieces(model, x_TBI, lags)
        norms_PLKB = pieces.gradient_norms(loss_of(pieces.readout))

The *lag* of a cut is how many steps are run after it. What is handed over at a cut is the state of all layers as it
passes from one step to the next; paths that climb to a higher layer within the step before lie before the cut.

T time, B batch, I input, H hidden, P parts of the state, L layers, K lags.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from undertow import Model, State


@dataclass(frozen=True)
class Pieces:
    """A sequence that was run piece by piece.

    Attributes:
        cuts: How many steps lie before each cut, ascending.
        handed_over: The state of all layers at each cut, tensors of the graph.
        state: That after the last step.
        readout: Of the top layer at the steps of the last piece, `(t, B, H)`.
    """

    cuts: Sequence[int]
    handed_over: Sequence[tuple[State, ...]]
    state: tuple[State, ...]
    readout: Tensor

    def gradient_norms(self, loss: Tensor) -> Tensor:
        """The norm of the derivative by state part, layer, lag (ascending) and example: `norms_PLKB` in float64."""
        parts = [part for layers in self.handed_over for layer in layers for part in layer]
        norms = [_norm(gradient) for gradient in derivative(loss, parts)]
        norms_KLPB = torch.stack(norms).reshape(len(self.cuts), len(self.state), -1, len(norms[0]))
        return norms_KLPB.flip(0).permute(2, 1, 0, 3)


def run_in_pieces(model: Model, x_TBI: Tensor, lags: Sequence[int], after: int = 0) -> Pieces:
    """Run all steps of `x_TBI`, cut where each of the lags remains; each piece goes the fastest way the cells offer.

    Args:
        model: Any network, `frozen`.
        x_TBI: Its encoded input.
        lags: Ascending, each from 1 to T - 1.
        after: How many steps of the sequence follow, which decides where a network that truncates its gradient does so.
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
    """The derivative of a number with respect to some tensors of its graph, which can be asked again."""
    if not loss.requires_grad:  # a cell without memory: the weights are frozen, and nothing else leads to the loss
        return [torch.zeros_like(part) for part in parts]
    return torch.autograd.grad(loss, parts, retain_graph=True, materialize_grads=True)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Ask for no weight gradients meanwhile."""
    trained = [p for p in cast(nn.Module, model).parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _handed(part: Tensor) -> Tensor:
    """A state part as a tensor of its own, so that its gradient counts only what passes from this step to the next."""
    return part.clone() if part.requires_grad else part.detach().clone().requires_grad_()


def _norm(gradient: Tensor) -> Tensor:
    """Each example's L2 norm, in float64: the squares of small float32 numbers would vanish; shape `(B,)`."""
    flat = gradient.detach().flatten(1)
    flat = torch.view_as_real(flat).flatten(1) if flat.is_complex() else flat
    return flat.to(torch.float64).square().sum(1).sqrt()
