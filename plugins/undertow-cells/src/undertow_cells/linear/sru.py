"""The simple recurrent unit. B batch, T time, I input, H hidden; stacked in the order c (candidate), f, r, x.

Lei et al. 2017, arXiv 1709.02755. In version 1 of the unit, that of the paper's first version, the gates read the input
only; in version 2, that of its fifth, they also read the memory: a nonlinear recurrence, which runs step by step.
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

        f, r = σ(W x + b),   one block of rows each; with `version=2`, σ(W x + v ∘ c + b)
        c'   = f ∘ c + (1 - f) ∘ (W_c x)
        y    = r ∘ φ(c') + (1 - r) ∘ α x,   φ the identity or tanh

    Where the input is not as wide as the state, y has W_x x in place of x, as in the authors' code.

    In version 2, r reads the memory before the step and y the one after it, so the state part c holds both, `(B, 2H)`,
    the newer one first. The older one is read by nothing later: its gradient is 0.

    Initialisation: W, W_c, W_x from U(-√(3/I), √(3/I)), of variance 1/I; b_f = 0, b_r = `highway_bias`. With
    `rescale`, α = √(1 + 2 e^b_r), as in the paper's later version; where there is a W_x, the factor is part of it. In
    version 2, as in the authors' code, v from U(-√(3/2), √(3/2)), and W is divided by √2.
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
        self.weight_c: nn.Parameter | None = None
        if options.version == 2:
            bound = 1.5**0.5
            self.weight_c = nn.Parameter(torch.empty(2, hidden_size).uniform_(-bound, bound))
            with torch.no_grad():
                self.weight[hidden_size : 3 * hidden_size] *= 0.5**0.5

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`, in version 2 `(B, 2H)`."""
        width = self.hidden_size if self.weight_c is None else 2 * self.hidden_size
        return (self.weight.new_zeros(batch_size, width),)

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor f, the addend, and for the output r and α x; in version 2 f, W_c x and r before v ∘ c and σ."""
        H = self.hidden_size
        W_c, W, W_x = self.weight.tensor_split([H, 3 * H])
        f, r = blocks(x_TBI, W, self.bias, 2)
        candidate_TBH = projection(x_TBI, W_c)
        x_TBH = projection(x_TBI, W_x) if len(W_x) else self.alpha * x_TBI
        if self.weight_c is not None:
            return f, candidate_TBH, r, x_TBH
        f = f.sigmoid()
        return f, (1 - f) * candidate_TBH, r.sigmoid(), x_TBH

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is all `terms` side by side."""
        if self.weight_c is None:
            return super().step(z, state)
        c_BH = state[0][:, : self.hidden_size]
        return (torch.cat([self._memory(z, c_BH)[0], c_BH], 1),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps: in the parallel scan, in version 2 in a loop."""
        if self.weight_c is None:
            return super().scan(x_TBI, state)
        outputs = []
        for z in self.project(x_TBI).unbind(0):
            state = self.step(z, state)
            outputs.append(self.readout(z, state))
        return torch.stack(outputs), state

    def readout(self, z: Tensor, state: State) -> Tensor:
        """r ∘ φ(c') + (1 - r) ∘ α x."""
        _, _, r, x = z.chunk(4, -1)
        if self.weight_c is None:
            return self.output(state[0], r, x)
        after, before = state[0].chunk(2, -1)
        return self.output(after, (r + self.weight_c[1] * before).sigmoid(), x)

    def _memory(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """In version 2, c after a step, and the forget gate of this step."""
        assert self.weight_c is not None
        f, candidate, _, _ = z.chunk(4, -1)
        f = (f + self.weight_c[0] * c).sigmoid()
        return candidate + f * (c - candidate), f

    def output(self, h: Tensor, *rest: Tensor) -> Tensor:
        """r ∘ φ(c') + (1 - r) ∘ α x, at one step or at all."""
        r, x = rest
        return x + r * ((h.tanh() if self.tanh else h) - x)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The forget gate `f`, the gate `r` between memory and input, and with tanh `tanh_c`, the memory as output."""
        f, addend, r, _ = z.chunk(4, -1)
        if self.weight_c is None:
            memory = f * state[0] + addend
        else:
            c = state[0][..., : self.hidden_size]
            memory, f = self._memory(z, c)
            r = (r + self.weight_c[1] * c).sigmoid()
        gates: dict[str, tuple[Tensor, GateKind]] = {"f": (f, "sigmoid"), "r": (r, "sigmoid")}
        if self.tanh:
            gates["tanh_c"] = (memory.tanh(), "tanh")
        return gates
