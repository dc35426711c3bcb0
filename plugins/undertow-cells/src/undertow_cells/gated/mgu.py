"""The minimal gated unit. B batch, T time, I input, H hidden; stacked in the order f (gate), n (candidate).

Zhou, Wu, Zhang & Zhou 2016, arXiv 1603.09420.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.options import MguOptions
from undertow_cells.gated.stacked import StackedCell


class MGU(StackedCell):
    """A GRU whose one gate both resets and updates:

        f  = σ(W_f x + U_f h + b_f)
        n  = tanh(W_n x + U_n (f ∘ h) + b_n)
        h' = (1 - f) ∘ h + f ∘ n

    The paper calls f the forget gate; note that a *small* f keeps the state.

    Initialisation: W and U from U(-1/√H, 1/√H), b_n = 0, b_f = `gate_bias`.
    """

    keeps = "1 - f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: MguOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="fn")
        self.weight_hf = self._uniform(hidden_size, hidden_size)
        self.weight_hn = self._uniform(hidden_size, hidden_size)
        self._set_bias("f", options.gate_bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2H)`."""
        (h_BH,) = state
        z_f, z_n = z.chunk(2, 1)
        f = torch.addmm(z_f, h_BH, self.weight_hf.t()).sigmoid()
        n = torch.addmm(z_n, f * h_BH, self.weight_hn.t()).tanh()
        return (torch.lerp(h_BH, n.to(h_BH.dtype), f.to(h_BH.dtype)),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gate `f` and the candidate `n`."""
        (h,) = state
        z_f, z_n = z.chunk(2, -1)
        f = (z_f + functional.linear(h, self.weight_hf)).sigmoid()
        n = (z_n + functional.linear(f * h, self.weight_hn)).tanh()
        return {"f": (f, "sigmoid"), "n": (n, "tanh")}
