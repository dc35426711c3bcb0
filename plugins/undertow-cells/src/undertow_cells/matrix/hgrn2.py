"""HGRN2. T time, B batch, I input, H hidden, N heads, K size of a key, V = H / N.

Qin et al. 2024, arXiv 2404.07904, section 3; the activations are those of fla-org/flash-linear-attention on GitHub.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.matrix.memory import MatrixCell
from undertow_cells.matrix.options import Hgrn2Options


class HGRN2(MatrixCell):
    """A gated linear recurrence whose state is widened to a matrix, where the key is what the gate forgets:

        q, f~, v = W x,  one block of rows each
        f        = β + (1 - β) σ(f~ + b)
        S'       = diag(f) S + (1 - f) vᵀ
        y        = RMSNorm(S'ᵀ swish(q))

    The lower bound β grows with the layer, so that upper layers keep longer. The authors learn the bounds of all layers
    together, from (layer - 1) / layers; here they stay there, as a layer has no access to the others. A map of y is
    left out.

    Initialisation: W from U(-1/√I, 1/√I), b = 0.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: Hgrn2Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, name="hgrn2")
        N, K, V = self.heads, self.key_size, self.value_size
        self.widths = [K, K, K, V]
        self.lower_bound = options.lower_bound or 0.0
        self.by_layer = options.lower_bound is None
        self.weight = self._weight(N * (2 * K + V), input_size)
        self.bias = nn.Parameter(torch.full((N, K), options.forget_bias))
        self.norm = nn.RMSNorm(hidden_size, eps=1e-5) if options.norm else None

    def place(self, layer: int, layers: int) -> None:
        """Set the lower bound by the layer, if the options leave it open."""
        if self.by_layer:
            self.lower_bound = layer / layers

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """f, q, 1 - f, v."""
        q, f, v = self._by_head(x_TBI, self.weight, *self.widths[1:])
        f = f + self.bias
        free = 1 - self.lower_bound
        return self.lower_bound + free * f.sigmoid(), functional.silu(q), free * (-f).sigmoid(), v

    def output(self, read: Tensor, *rest: Tensor) -> Tensor:
        """The norm, over all heads."""
        y = read.flatten(-2)
        return y if self.norm is None else self.norm(y)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The forget gate `f`."""
        return {"f": (z[..., : self.key_size].flatten(-2), "sigmoid")}
