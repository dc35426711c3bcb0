"""Independent oscillators without damping: a step that can be undone. B batch, T time, I input, H hidden.

Rusch & Mishra 2021, arXiv 2103.05487; the initialisation is that of the authors' code. One layer of the paper's stack.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.derived import DerivedCell
from undertow_cells.oscillators.options import UnicornnOptions
from undertow_cells.projection import projection


class UnICORNN(DerivedCell):
    """Each unit is a Hamiltonian system with position y and momentum z, and has a step length u of its own. The step is
    symplectic: the position is updated with the new momentum.

        u  = dt σ(a)
        z' = z - u ∘ (tanh(w ∘ y + V x + b) + α y)
        y' = y + u ∘ z'

    Initialisation: w from U(0, 1), a from U(-0.1, 0.1), V from U(-v, v) with v = √(6 / (65 I)), b = 0.
    """

    def __init__(self, input_size: int, hidden_size: int, options: UnicornnOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.dt, self.alpha = options.dt, options.alpha
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        nn.init.kaiming_uniform_(self.weight_ih, a=8)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size).uniform_(0.0, 1.0))
        self.pace = nn.Parameter(torch.empty(hidden_size).uniform_(-0.1, 0.1))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def initial_state(self, batch_size: int) -> State:
        """At rest: zeros for y and for z, `(B, H)` each."""
        y_BH, z_BH = self.bias.new_zeros(2, batch_size, self.hidden_size)
        return y_BH, z_BH

    def project(self, x_TBI: Tensor) -> Tensor:
        """V x + b, `(T, B, H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def weight(self) -> Tensor:
        """Each unit's step length u, `(H,)`."""
        return self.dt * self.pace.sigmoid()

    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step; `z` is `(B, H)`."""
        y_BH, z_BH = state
        force_BH = torch.add(torch.addcmul(z, self.weight_hh, y_BH).tanh(), y_BH, alpha=self.alpha)
        z_BH = torch.addcmul(z_BH, weight, force_BH, value=-1)
        return torch.addcmul(y_BH, weight, z_BH), z_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The drive `f`: the tanh in the force."""
        return {"f": (torch.addcmul(z, self.weight_hh, state[0]).tanh(), "tanh")}
