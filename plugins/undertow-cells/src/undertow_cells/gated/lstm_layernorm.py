"""The LSTM with layer normalisation. B batch, T time, I input, H hidden; gates stacked in the order i, f, o, g.

Ba, Kiros & Hinton 2016, arXiv 1607.06450, eq. 20-22; what the paper leaves open is as in the authors' code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import LstmLayernormOptions
from undertow_cells.gated.stacked import StackedCell
from undertow_cells.projection import projection

_EPSILON = 1e-5


class LayerNormLSTM(StackedCell):
    """With any weights, the gates' inputs have mean 0 and variance 1 before gains α and shifts are applied:

        LN(v; α) = α ∘ (v - mean(v)) / √(variance(v) + 1e-5)

        i, f, o = σ(LN(U h; α_U) + LN(W x; α_W) + b),   one block of rows each; LN is over all four blocks
        g       = tanh(of the same sum)
        c'      = f ∘ c + i ∘ g                         the memory is not normalised
        h'      = o ∘ tanh(LN(c'; α_c) + b_c)

    The paper has a shift in each LN, and b. For the gates only their sum matters: here it is b.

    Initialisation: each gate's U a random rotation, W from U(-1/√H, 1/√H) (its scale has no effect), gains 1, shifts
    0, and then `forget_bias` or `chrono` as in `lstm`.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: LstmLayernormOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="ifog", parts=2)
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        with torch.no_grad():
            for block_HH in self.weight_hh.chunk(4):
                nn.init.orthogonal_(block_HH)
        self.gain_ih = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_hh = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_c = nn.Parameter(torch.ones(hidden_size))
        self.bias_c = nn.Parameter(torch.zeros(hidden_size))
        if (b_f := initial_forget_bias(options, hidden_size, length)) is not None:
            self._set_bias("f", b_f)
            if options.chrono:
                self._set_bias("i", -b_f)

    def project(self, x_TBI: Tensor) -> Tensor:
        """LN(W x; α_W) + b, `(T, B, 4H)`."""
        a_TBG = projection(x_TBI, self.weight_ih)
        return functional.layer_norm(a_TBG, self.bias.shape, self.gain_ih, self.bias, _EPSILON)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`."""
        i, f, o, g = self._activations(z, state[0])
        c_BH = f * state[1] + i * g
        return o * self._tanh_of_norm(c_BH), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `i`, `f`, `o`, the candidate `g`, and `tanh_c`, the new memory as the output gate receives it."""
        i, f, o, g = self._activations(z, state[0])
        return {
            "i": (i, "sigmoid"),
            "f": (f, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": (self._tanh_of_norm(f * state[1] + i * g), "tanh"),
        }

    def _activations(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The paper's i, f, o and g; any leading dimensions."""
        H = self.hidden_size
        u = functional.layer_norm(functional.linear(h, self.weight_hh), self.bias.shape, self.gain_hh, None, _EPSILON)
        a_ifo, a_g = (z + u).split_with_sizes((3 * H, H), -1)
        i, f, o = a_ifo.sigmoid().chunk(3, -1)
        return i, f, o, a_g.tanh()

    def _tanh_of_norm(self, c: Tensor) -> Tensor:
        """tanh(LN(c; α_c) + b_c)."""
        return functional.layer_norm(c, self.gain_c.shape, self.gain_c, self.bias_c, _EPSILON).tanh()
