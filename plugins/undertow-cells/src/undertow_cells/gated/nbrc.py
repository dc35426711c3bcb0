"""The neuromodulated bistable cell. B batch, T time, I input, H hidden; stacked in the order a, c, n.

Vecoven, Ernst & Drion 2021, arXiv 2006.05252. The authors' repository (nvecoven/BRC on GitHub) has had two
initialisations: its first layers draw each U as a random rotation, its later `cells/cells.py` by Glorot's uniform. W
and b are the same in both.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.options import NbrcOptions
from undertow_cells.gated.stacked import StackedCell


class NBRC(StackedCell):
    """Each unit feeds back on itself with weight a; where a > 1 it has two stable values, and keeps them without input:

        a  = 1 + tanh(W_a x + U_a h + b_a)
        c  = σ(W_c x + U_c h + b_c)
        n  = tanh(W_n x + b_n + a ∘ h)
        h' = c ∘ h + (1 - c) ∘ n

    Initialisation: each gate's W by Glorot's uniform, each U a random rotation, or with `recurrent_init="glorot"` by
    Glorot's uniform too; b = 0. (The authors' candidate has no b_n.)
    """

    keeps = "c"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: NbrcOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="acn")
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        with torch.no_grad():
            for block_HI in self.weight_ih.chunk(3):
                nn.init.xavier_uniform_(block_HI)
            for block_HH in self.weight_hh.chunk(2):
                (nn.init.orthogonal_ if options.recurrent_init == "orthogonal" else nn.init.xavier_uniform_)(block_HH)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 3H)`."""
        (h_BH,) = state
        H = self.hidden_size
        z_ac, z_n = z.split_with_sizes((2 * H, H), 1)
        a, c = torch.addmm(z_ac, h_BH, self.weight_hh.t()).to(h_BH.dtype).chunk(2, 1)
        n = (z_n + (a.tanh() + 1) * h_BH).tanh()
        return (torch.lerp(n, h_BH, c.sigmoid()),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The update gate `c`, the candidate `n`, and `tanh_a` = a - 1: the unit is bistable where it is above 0."""
        (h,) = state
        H = self.hidden_size
        z_ac, z_n = z.split_with_sizes((2 * H, H), -1)
        a, c = (z_ac + functional.linear(h, self.weight_hh)).chunk(2, -1)
        a = a.tanh()
        return {
            "tanh_a": (a, "tanh"),
            "c": (c.sigmoid(), "sigmoid"),
            "n": ((z_n + (1 + a) * h).tanh(), "tanh"),
        }
