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
    """The LSTM without output gate; its gates read the input alone and are divided by their sum:

        f, i = σ(W x + b),   one block of rows each
        n    = W_h x + b_h          or, with `candidate="positive"`, g(W_h x + b_h)
        h'   = f / (f + i) ∘ h + i / (f + i) ∘ n

    i / (f + i) is computed as σ(ln i - ln f), which is exact where both gates are too small to divide by.

    Initialisation: as in torch's linear layer, all from U(-1/√I, 1/√I), which the paper leaves unchanged; `forget_bias`
    then sets that of f, which the paper raises to train faster.
    """

    keeps = "keep"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: MinLstmOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.positive = options.candidate == "positive"
        bound = input_size**-0.5
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size).uniform_(-bound, bound))
        if options.forget_bias is not None:
            with torch.no_grad():
                self.bias[:hidden_size] = options.forget_bias

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The share that is kept, and the addend."""
        return self._shares(*self._linear(x_TBI))

    def project(self, x_TBI: Tensor) -> Tensor:
        """The terms, and for `gates` f and i, `(T, B, 4H)`."""
        forget, write, new = self._linear(x_TBI)
        return torch.cat([*self._shares(forget, write, new), forget.sigmoid(), write.sigmoid()], -1)

    def _linear(self, x: Tensor) -> list[Tensor]:
        return blocks(x, self.weight, self.bias, 3)

    def _shares(self, forget: Tensor, write: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        share = torch.sigmoid(functional.logsigmoid(write) - functional.logsigmoid(forget))
        return 1 - share, share * candidate(new, self.positive)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `f` and `i`, and `keep` = f / (f + i), which scales the state."""
        keep, _, f, i = z.chunk(4, -1)
        return {"f": (f, "sigmoid"), "i": (i, "sigmoid"), "keep": (keep, "sigmoid")}
