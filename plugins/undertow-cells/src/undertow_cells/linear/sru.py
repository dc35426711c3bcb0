"""The simple recurrent unit. B batch, T time, I input, H hidden; stacked in the order c (candidate), f, r, x.

Lei et al. 2017, arXiv 1709.02755: the unit of its first version, whose gates read the input only. The later version
adds v ∘ c to the gates, which is a nonlinear recurrence, and is not implemented.
"""

from collections.abc import Mapping
from math import exp

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.linear.affine import AffineCell
from undertow_cells.linear.options import SruOptions
from undertow_cells.projection import blocks, projection


class SRU(AffineCell):
    """A memory without matrices, mixed with the input of the same step:

        f, r = σ(W x + b),   one block of rows each
        c'   = f ∘ c + (1 - f) ∘ (W_c x)
        y    = r ∘ φ(c') + (1 - r) ∘ α x,   φ the identity or tanh

    Where the input is not as wide as the state, y has W_x x in place of x, as in the authors' code.

    Initialisation: W, W_c, W_x from U(-√(3/I), √(3/I)), of variance 1/I; b_f = 0, b_r = `highway_bias`. With
    `rescale`, α = √(1 + 2 e^b_r), as in the paper's later version; where there is a W_x, the factor is part of it.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: SruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.tanh = options.activation == "tanh"
        scale = (1 + 2 * exp(options.highway_bias)) ** 0.5 if options.rescale else 1.0
        bound = (3 / input_size) ** 0.5
        same_width = input_size == hidden_size
        rows = (3 if same_width else 4) * hidden_size
        self.weight = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size))
        self.alpha = scale if same_width else 1.0
        with torch.no_grad():
            self.bias[hidden_size:] = options.highway_bias
            self.weight[3 * hidden_size :] *= scale

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor f, the addend, and for the output r and α x."""
        H = self.hidden_size
        W_c, W, W_x = self.weight.tensor_split([H, 3 * H])
        f, r = (block.sigmoid() for block in blocks(x_TBI, W, self.bias, 2))
        x_TBH = projection(x_TBI, W_x) if len(W_x) else self.alpha * x_TBI
        return f, (1 - f) * projection(x_TBI, W_c), r, x_TBH

    def readout(self, z: Tensor, state: State) -> Tensor:
        """r ∘ φ(c') + (1 - r) ∘ α x."""
        _, _, r, x = z.chunk(4, -1)
        return self.output(state[0], r, x)

    def output(self, h: Tensor, *rest: Tensor) -> Tensor:
        """r ∘ φ(c') + (1 - r) ∘ α x, at one step or at all."""
        r, x = rest
        return x + r * ((h.tanh() if self.tanh else h) - x)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The forget gate `f`, the gate `r` between memory and input, and with tanh `tanh_c`, the memory as output."""
        f, addend, r, _ = z.chunk(4, -1)
        gates: dict[str, tuple[Tensor, GateKind]] = {"f": (f, "sigmoid"), "r": (r, "sigmoid")}
        if self.tanh:
            gates["tanh_c"] = (torch.tanh(f * state[0] + addend), "tanh")
        return gates
