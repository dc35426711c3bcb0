"""The LSTM with one gate for keeping and writing. B batch, T time, I input, H hidden; stacked in the order f, o, g.

Greff et al. 2017, arXiv 1503.04069, where it is the variant CIFG.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import LstmCoupledOptions
from undertow_cells.gated.stacked import StackedCell


class CoupledLSTM(StackedCell):
    """The share that is not kept is replaced, so the memory stays within (-1, 1); a quarter fewer weights:

        f, o = σ(W x + U h + b),   one block of rows each
        g    = tanh(W x + U h + b)
        c'   = f ∘ c + (1 - f) ∘ g
        h'   = o ∘ tanh(c')

    Initialisation: W and U from U(-1/√H, 1/√H), b = 0, and then `forget_bias` or `chrono` as in `lstm`. With `chrono`
    an input gate starts as 1 - f; here it always is 1 - f.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: LstmCoupledOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="fog", parts=2)
        self.weight_hh = self._uniform(3 * hidden_size, hidden_size)
        if (b_f := initial_forget_bias(options, hidden_size, length)) is not None:
            self._set_bias("f", b_f)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 3H)`."""
        h_BH, c_BH = state
        f, o, g = torch.addmm(z, h_BH, self.weight_hh.t()).to(c_BH.dtype).chunk(3, 1)
        c_BH = torch.lerp(g.tanh(), c_BH, f.sigmoid())
        return o.sigmoid() * c_BH.tanh(), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `f` and `o`, the candidate `g`, and `tanh_c`, the new memory as the output gate receives it."""
        h, c = state
        f, o, g = (z + functional.linear(h, self.weight_hh)).to(c.dtype).chunk(3, -1)
        f, o, g = f.sigmoid(), o.sigmoid(), g.tanh()
        return {
            "f": (f, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": (torch.lerp(g, c, f).tanh(), "tanh"),
        }
