"""Long short-term memory. B batch, T time, I input, H hidden; gates stacked in torch's order i, f, g, o.

Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.fused import FusedCell
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import LstmOptions
from undertow_cells.projection import projection


class LSTM(FusedCell):
    """The memory c is scaled by its gate and added to; it is never multiplied by a matrix:

        i, f, o = σ(W x + b_W + U h + b_U),   one block of rows each
        g       = tanh(W x + b_W + U h + b_U)
        c'      = f ∘ c + i ∘ g
        h'      = o ∘ tanh(c')

    Initialisation: everything from U(-1/√H, 1/√H), as in torch, and then

    - `forget_bias`: the sum of the forget gate's two biases becomes this value;
    - `chrono`: b_f = ln u with u ~ U(1, T - 1), and b_i = -b_f (Tallec & Ollivier, arXiv 1804.11188), so that
      the memory starts with time scales spread over the task's length T;
    - `recurrent_init="orthogonal"`: each gate's U becomes a random rotation.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: LstmOptions, length: int) -> None:
        super().__init__(nn.LSTM(input_size, hidden_size), options, length)
        if options.recurrent_init == "orthogonal":
            self._make_orthogonal()
        if (b_f := initial_forget_bias(options, hidden_size, length)) is not None:
            self._set_bias("f", b_f)
            if options.chrono:
                self._set_bias("i", -b_f)

    def _set_bias(self, gate: str, total: Tensor) -> None:
        index = "ifgo".index(gate)
        with torch.no_grad():
            self.b_W.chunk(4)[index].copy_(total)
            self.b_U.chunk(4)[index].zero_()

    def initial_state(self, batch_size: int) -> State:
        """Zeros for h and for c, `(B, H)` each."""
        return (*super().initial_state(batch_size), *super().initial_state(batch_size))

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x and both biases, `(T, B, 4H)`."""
        return projection(x_TBI, self.W, self.b_W + self.b_U)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`."""
        h_BH, c_BH = state
        H = self.hidden_size
        i_f, g, o = torch.addmm(z, h_BH, self.U.t()).split_with_sizes((2 * H, H, H), 1)
        i, f = i_f.sigmoid().chunk(2, 1)
        c_BH = f * c_BH + i * g.tanh()  # addcmul would be one kernel fewer, but two more backward
        return o.sigmoid() * c_BH.tanh(), c_BH

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in torch's fused kernel; under CPU autocast in 32 bits, since not every CPU has it in 16."""
        if x_TBI.is_cpu and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.scan(x_TBI.to(self.W.dtype), tuple(part.to(self.W.dtype) for part in state))
        h_1BH, c_1BH = (part.unsqueeze(0).contiguous() for part in state)
        y_TBH, (h_1BH, c_1BH) = self.kernel(x_TBI, (h_1BH, c_1BH))
        return y_TBH, (h_1BH.squeeze(0), c_1BH.squeeze(0))

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `i`, `f`, `o`, the candidate `g`, and `tanh_c`, the new memory as the output gate receives it."""
        h, c = state
        i, f, g, o = (z + functional.linear(h, self.U)).chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        return {
            "i": (i, "sigmoid"),
            "f": (f, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": ((f * c + i * g).tanh(), "tanh"),
        }
