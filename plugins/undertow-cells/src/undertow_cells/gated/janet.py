"""JANET, just another network. B batch, T time, I input, H hidden; stacked in the order f (gate), n (candidate).

Van der Westhuizen & Lasenby 2018, arXiv 1804.04849.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import JanetOptions
from undertow_cells.gated.stacked import StackedCell


class JANET(StackedCell):
    """An LSTM with the forget gate alone; its memory is its output:

        s  = W_f x + U_f h + b_f
        n  = tanh(W_n x + U_n h + b_n)
        h' = σ(s) ∘ h + (1 - σ(s - β)) ∘ n

    With β > 0 more is written than is forgotten, so information accumulates.

    Initialisation: W and U by Glorot's uniform over the stacked matrix, as in the authors' code, b_n = 0, and b_f by
    `chrono`, the paper's choice, unless `forget_bias` is set.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: JanetOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="fn")
        self.beta = options.beta
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.xavier_uniform_(self.weight_hh)
        if (b_f := initial_forget_bias(options, hidden_size, length)) is not None:
            self._set_bias("f", b_f)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2H)`."""
        (h_BH,) = state
        s, a = torch.addmm(z, h_BH, self.weight_hh.t()).chunk(2, 1)
        return (s.sigmoid() * h_BH + (self.beta - s).sigmoid() * a.tanh(),)  # 1 - σ(s - β) = σ(β - s)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The forget gate `f`, the share that is written, `i` = 1 - σ(s - β), and the candidate `n`."""
        s, a = (z + functional.linear(state[0], self.weight_hh)).chunk(2, -1)
        return {
            "f": (s.sigmoid(), "sigmoid"),
            "i": ((self.beta - s).sigmoid(), "sigmoid"),
            "n": (a.tanh(), "tanh"),
        }
