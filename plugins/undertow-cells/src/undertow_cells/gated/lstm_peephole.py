"""The LSTM with peepholes. B batch, T time, I input, H hidden; gates stacked in torch's order i, f, g, o.

Gers, Schraudolph & Schmidhuber 2002, Journal of Machine Learning Research 3:115-143.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import LstmPeepholeOptions
from undertow_cells.gated.stacked import StackedCell


class PeepholeLSTM(StackedCell):
    """An LSTM whose gates read the memory of their own unit, even while the output gate is closed:

        i  = σ(W_i x + U_i h + p_i ∘ c + b_i)
        f  = σ(W_f x + U_f h + p_f ∘ c + b_f)
        g  = tanh(W_g x + U_g h + b_g)
        c' = f ∘ c + i ∘ g
        o  = σ(W_o x + U_o h + p_o ∘ c' + b_o)      reads the new memory
        h' = o ∘ tanh(c')

    The paper cuts the gradient at the peepholes; here it flows through them, as in Graves & Schmidhuber 2005.

    Initialisation: W, U and p from U(-1/√H, 1/√H), b = 0, and then `forget_bias` or `chrono` as in `lstm`.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: LstmPeepholeOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="ifgo", parts=2)
        self.weight_hh = self._uniform(4 * hidden_size, hidden_size)
        self.peephole_if = self._uniform(2, hidden_size)
        self.peephole_o = self._uniform(hidden_size)
        if (b_f := initial_forget_bias(options, hidden_size, length)) is not None:
            self._set_bias("f", b_f)
            if options.chrono:
                self._set_bias("i", -b_f)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`."""
        h_BH, c_BH = state
        H = self.hidden_size
        a_if, a_g, a_o = torch.addmm(z, h_BH, self.weight_hh.t()).split_with_sizes((2 * H, H, H), 1)
        i, f = (a_if.view(-1, 2, H) + self.peephole_if * c_BH.unsqueeze(1)).sigmoid().unbind(1)
        c_BH = f * c_BH + i * a_g.tanh()
        return (a_o + self.peephole_o * c_BH).sigmoid() * c_BH.tanh(), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `i`, `f`, `o`, the candidate `g`, and `tanh_c`, the new memory as the output gate receives it."""
        h, c = state
        a_i, a_f, a_g, a_o = (z + functional.linear(h, self.weight_hh)).chunk(4, -1)
        p_i, p_f = self.peephole_if
        i, f, g = (a_i + p_i * c).sigmoid(), (a_f + p_f * c).sigmoid(), a_g.tanh()
        c = f * c + i * g
        o = (a_o + self.peephole_o * c).sigmoid()
        return {
            "i": (i, "sigmoid"),
            "f": (f, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": (c.tanh(), "tanh"),
        }
