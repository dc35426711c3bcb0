"""The update-gate network. B batch, T time, I input, H hidden; stacked in the order g (gate), c (candidate).

Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913. It defines only a step; the platform's loop runs it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.gated.options import UgrnnOptions
from undertow_cells.projection import projection


class UGRNN(Cell):
    """One gate sets how much of a unit's value is kept and how much is replaced:

        g  = σ(W_g x + U_g h + b_g)
        c  = tanh(W_c x + U_c h + b_c)
        h' = g ∘ h + (1 - g) ∘ c

    Initialisation: W and U from U(-1/√H, 1/√H), b_c = 0, b_g = `gate_bias`.
    """

    keeps = "g"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: UgrnnOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        bound = hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size))
        with torch.no_grad():
            self.bias[:hidden_size] = options.gate_bias

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.weight_hh.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b of gate and candidate, `(T, B, 2H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2H)`."""
        (h_BH,) = state
        gate, candidate = torch.addmm(z, h_BH, self.weight_hh.t()).to(h_BH.dtype).chunk(2, 1)
        return (torch.lerp(torch.tanh(candidate), h_BH, torch.sigmoid(gate)),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gate `g` and the candidate `c`."""
        gate, candidate = (z + functional.linear(state[0], self.weight_hh)).chunk(2, -1)
        return {"g": (gate.sigmoid(), "sigmoid"), "c": (candidate.tanh(), "tanh")}
