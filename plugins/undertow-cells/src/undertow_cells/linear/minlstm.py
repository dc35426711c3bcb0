"""The minimal LSTM. B batch, T time, I input, H hidden; stacked in the order f, i (gates), h (candidate).

Feng et al. 2024, arXiv 2410.01201, section 3.2; the positive candidate is the log-space form of appendix B.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.linear.affine import AffineCell
from undertow_cells.linear.candidate import candidate
from undertow_cells.linear.options import MinLstmOptions
from undertow_cells.projection import blocks


class MinLSTM(AffineCell):
    """The LSTM without the state in its gates, without output gate, and with gates that share out one whole:

        f, i = σ(W x + b),   one block of rows each
        n    = W_h x + b_h          or, with `candidate="positive"`, g(W_h x + b_h)
        h'   = f / (f + i) ∘ h + i / (f + i) ∘ n

    The share let in is computed as σ(ln i - ln f), which holds where both gates are too small to divide by.

    Initialisation: as in torch's linear layer, all from U(-1/√I, 1/√I), which the paper leaves unchanged; `forget_bias`
    then sets that of f, which the paper raises to train faster.
    """

    keeps = "keep"  # the share of the state that stays; the probe `timescale` asks

    def __init__(self, input_size: int, hidden_size: int, options: MinLstmOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.positive = options.candidate == "positive"
        bound = input_size**-0.5
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size).uniform_(-bound, bound))
        if options.forget_bias is not None:
            with torch.no_grad():
                self.bias[:hidden_size] = options.forget_bias

    def parts(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The share kept, and the addend."""
        return self._shares(*self._linear(x_TBI))

    def project(self, x_TBI: Tensor) -> Tensor:
        """The same, and for `gates` f and i, `(T, B, 4H)`."""
        forget, let_in, new = self._linear(x_TBI)
        return torch.cat([*self._shares(forget, let_in, new), forget.sigmoid(), let_in.sigmoid()], -1)

    def _linear(self, x: Tensor) -> list[Tensor]:
        return blocks(x, self.weight, self.bias, 3)

    def _shares(self, forget: Tensor, let_in: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        share = torch.sigmoid(functional.logsigmoid(let_in) - functional.logsigmoid(forget))
        return 1 - share, share * candidate(new, self.positive)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `f` and `i`, and `keep`, f's share of both, which scales the state."""
        keep, _, f, i = z.chunk(4, -1)
        return {"f": (f, "sigmoid"), "i": (i, "sigmoid"), "keep": (keep, "sigmoid")}
