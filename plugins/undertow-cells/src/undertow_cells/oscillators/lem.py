"""Long expressive memory: two coupled states, each with a time scale that the input sets. B batch, T time, H hidden.

Rusch, Mishra, Erichson & Mahoney 2022, arXiv 2110.04744. As in the authors' code, y is updated with the new z.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.oscillators.options import LemOptions
from undertow_cells.projection import projection


class LEM(Cell):
    """A step of a system with two states; the step lengths d and d̄ are gates:

        d  = Δ σ(W_d y + V_d x + b_d)                    for z
        d̄  = Δ σ(W_d̄ y + V_d̄ x + b_d̄)                    for y
        z' = (1 - d) ∘ z + d ∘ tanh(W_z y + V_z x + b_z)
        y' = (1 - d̄) ∘ y + d̄ ∘ tanh(W_y z' + V_y x + b_y)

    Blocks of rows are stacked in the order d, d̄, z, y: all four in `weight_ih` and `bias`, the first three in
    `weight_hh`; W_y is `weight_zy`. Initialisation: everything from U(-1/√H, 1/√H), b the sum of two such draws, since
    the authors' layers add two biases.
    """

    def __init__(self, input_size: int, hidden_size: int, options: LemOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.dt = options.dt
        bound = hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.weight_zy = nn.Parameter(torch.empty(hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(2, 4 * hidden_size).uniform_(-bound, bound).sum(0))

    def initial_state(self, batch_size: int) -> State:
        """Zeros for y and for z, `(B, H)` each."""
        y_BH, z_BH = self.bias.new_zeros(2, batch_size, self.hidden_size)
        return y_BH, z_BH

    def project(self, x_TBI: Tensor) -> Tensor:
        """V x + b of all four blocks, `(T, B, 4H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`. In mixed precision the states keep their dtype."""
        y_BH, z_BH = state
        with_y, with_z = self._split(z)
        d, d_bar, to_z = torch.addmm(with_y, y_BH, self.weight_hh.t()).to(y_BH.dtype).chunk(3, 1)
        d, d_bar = d.sigmoid(), d_bar.sigmoid()
        if self.dt != 1.0:
            d, d_bar = self.dt * d, self.dt * d_bar
        z_BH = torch.lerp(z_BH, to_z.tanh(), d)
        to_y = torch.addmm(with_z, z_BH, self.weight_zy.t()).to(y_BH.dtype)
        return torch.lerp(y_BH, to_y.tanh(), d_bar), z_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The step lengths as shares of Δ, `d` for z and `d_bar` for y, and the candidates `z` and `y`."""
        y, memory = state
        with_y, with_z = self._split(z)
        d, d_bar, to_z = (with_y + functional.linear(y, self.weight_hh)).to(y.dtype).chunk(3, -1)
        d, d_bar, to_z = d.sigmoid(), d_bar.sigmoid(), to_z.tanh()
        memory = torch.lerp(memory, to_z, self.dt * d)
        return {
            "d": (d, "sigmoid"),
            "d_bar": (d_bar, "sigmoid"),
            "z": (to_z, "tanh"),
            "y": ((with_z + functional.linear(memory, self.weight_zy)).tanh(), "tanh"),
        }

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Split a projection into the part that is added to W y, `(…, 3H)`, and to W_y z', `(…, H)`."""
        with_y, with_z = z.split_with_sizes((3 * self.hidden_size, self.hidden_size), -1)
        return with_y, with_z
