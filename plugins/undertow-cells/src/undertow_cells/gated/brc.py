"""The bistable cell, `nbrc` without matrices of the state. B batch, T time, I input, H hidden; stacked as a, c, n.

Vecoven, Ernst & Drion 2021, arXiv 2006.05252; the initialisation is that of the authors' `cells/cells.py`
(nvecoven/BRC on GitHub).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.gated.options import BrcOptions
from undertow_cells.gated.stacked import StackedCell


class BRC(StackedCell):
    """Each unit reads its own state alone; where a > 1 it has two stable values, and keeps them without input:

        a  = 1 + tanh(W_a x + w_a ∘ h + b_a)
        c  = σ(W_c x + w_c ∘ h + b_c)
        n  = tanh(W_n x + b_n + a ∘ h)
        h' = c ∘ h + (1 - c) ∘ n

    Initialisation: each gate's W by Glorot's uniform, w = `recurrent_weight`, b = 0. (The authors' candidate has no
    b_n.)
    """

    keeps = "c"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: BrcOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="acn")
        self.weight_hh = nn.Parameter(torch.full((2, hidden_size), options.recurrent_weight))
        with torch.no_grad():
            for block_HI in self.weight_ih.chunk(3):
                nn.init.xavier_uniform_(block_HI)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 3H)`."""
        (h_BH,) = state
        _, c, n = self._activations(z, h_BH)
        return (torch.lerp(n, h_BH, c),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The update gate `c`, the candidate `n`, and `tanh_a` = a - 1: the unit is bistable where it is above 0."""
        tanh_a, c, n = self._activations(z, state[0])
        return {"tanh_a": (tanh_a, "tanh"), "c": (c, "sigmoid"), "n": (n, "tanh")}

    def _activations(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """tanh_a, c and n."""
        a, c, n = z.to(h.dtype).chunk(3, -1)
        w_a, w_c = self.weight_hh
        tanh_a = torch.addcmul(a, w_a, h).tanh()
        return tanh_a, torch.addcmul(c, w_c, h).sigmoid(), torch.addcmul(n, 1 + tanh_a, h).tanh()
