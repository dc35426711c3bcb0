"""The original LSTM, without a forget gate. B batch, T time, I input, H hidden; stacked in the order i, o, g.

Hochreiter & Schmidhuber 1997; the variant NFG of Greff et al. 2017, arXiv 1503.04069.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.options import LstmNoForgetOptions
from undertow_cells.gated.stacked import StackedCell


class NoForgetLSTM(StackedCell):
    """The memory is a sum, so the gradient passes through it unchanged over any number of steps:

        i, o = σ(W x + U h + b),   one block of rows each
        g    = tanh(W x + U h + b)
        c'   = c + i ∘ g
        h'   = o ∘ tanh(c')

    The paper has 2 tanh(a/2) in place of tanh(a) in g, and tanh(c/2) in place of tanh(c) in h; it also cuts gradients
    at the gates. Here both are as in all later LSTMs.

    Initialisation: W and U from U(-1/√H, 1/√H), b = 0, and then `input_bias` and `output_bias`. Values below 0 are the
    paper's remedies against a memory that drifts and against units that are used as biases.
    """

    def __init__(self, input_size: int, hidden_size: int, options: LstmNoForgetOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="iog", parts=2)
        self.weight_hh = self._uniform(3 * hidden_size, hidden_size)
        self._set_bias("i", options.input_bias)
        self._set_bias("o", options.output_bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 3H)`."""
        h_BH, c_BH = state
        i, o, g = torch.addmm(z, h_BH, self.weight_hh.t()).chunk(3, 1)
        c_BH = c_BH + i.sigmoid() * g.tanh()
        return o.sigmoid() * c_BH.tanh(), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `i` and `o`, the candidate `g`, and `tanh_c`, the new memory as the output gate receives it."""
        h, c = state
        i, o, g = (z + functional.linear(h, self.weight_hh)).chunk(3, -1)
        i, o, g = i.sigmoid(), o.sigmoid(), g.tanh()
        return {
            "i": (i, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": ((c + i * g).tanh(), "tanh"),
        }
