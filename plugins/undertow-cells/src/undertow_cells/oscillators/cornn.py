"""The coupled oscillatory network: damped pendulums that drive each other. B batch, T time, H hidden.

Rusch & Mishra 2021, arXiv 2010.00951; the damping uses the previous z, as in the authors' code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.oscillators.options import CornnOptions
from undertow_cells.projection import projection


class CoRNN(Cell):
    """One step of time `dt` of y'' = tanh(U y + 𝒰 y' + V x + b) - γ y - ε y', with z for y':

        z' = z + dt (tanh(U y + 𝒰 z + V x + b) - γ y - ε z)
        y' = y + dt z'

    `weight_hh` is U and 𝒰 side by side. Initialisation: everything from U(-a, a), a = 1/√(I + 2H), as in a linear layer
    over x, y and z together.
    """

    def __init__(self, input_size: int, hidden_size: int, options: CornnOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.dt, self.gamma, self.epsilon = options.dt, options.gamma, options.epsilon
        bound = (input_size + 2 * hidden_size) ** -0.5
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, 2 * hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(hidden_size).uniform_(-bound, bound))

    def initial_state(self, batch_size: int) -> State:
        """At rest: zeros for y and for z, `(B, H)` each."""
        y_BH, z_BH = self.bias.new_zeros(2, batch_size, self.hidden_size)
        return y_BH, z_BH

    def project(self, x_TBI: Tensor) -> Tensor:
        """V x + b, `(T, B, H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, H)`."""
        y_BH, z_BH = state
        force_BH = torch.addmm(z, torch.cat(state, 1), self.weight_hh.t()).tanh()
        force_BH = torch.sub(force_BH, y_BH, alpha=self.gamma)
        z_BH = torch.add(z_BH * (1 - self.dt * self.epsilon), force_BH, alpha=self.dt)
        return torch.add(y_BH, z_BH, alpha=self.dt), z_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The drive `f`: the tanh in the force."""
        return {"f": ((z + functional.linear(torch.cat(state, -1), self.weight_hh)).tanh(), "tanh")}
