"""The sLSTM. B batch, T time, I input, H hidden, K heads, D = H/K; gates stacked in the order i, f, z, o.

Beck et al. 2024 (xLSTM), arXiv 2405.04517, eq. 8-17; the initialisation is that of the authors' code.
"""

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.options import SlstmOptions
from undertow_cells.gated.stacked import StackedCell
from undertow_cells.heads import head_size


class SLSTM(StackedCell):
    """An LSTM with an exponential input gate, which can outweigh everything stored before; n is the sum of the weights:

        i~, f~, z~, o~ = W x + R h + b,         one block of rows each; R mixes the units of a head
        log f = log σ(f~), or f~                depending on `forget`
        m'    = max(log f + m, i~)              the stabiliser; i~ while n = 0
        c'    = exp(log f + m - m') ∘ c + exp(i~ - m') ∘ tanh(z~)
        n'    = exp(log f + m - m') ∘ n + exp(i~ - m')
        h'    = σ(o~) ∘ c' / n'

    m only keeps the exponentials from overflowing: without it c and n would be C = exp(m) c and N = exp(m) n, and
    h = o ∘ C / N is the same. So the gradient with respect to m is 0, up to what c and n carry of it. While nothing is
    stored, log f + m has nothing to stabilise: with the paper's maximum, exp(i~ - m') and with it c' and n' are 0 where
    i~ is far below it, and h' is 0 / 0. There, as in the authors' code, m' is i~ alone.

    Initialisation: W from N(0, 2 / 5I); R = 0, or U(-1/√H, 1/√H) with `recurrent_init="uniform"`; b = 0 except b_f,
    which falls from 5 to -7 over the units of each head, as 5 - 12 x^0.3 for x from 0 to 1 (the authors' first block),
    or rises from 3 to 6 with `forget_init="linspace"`.

    Raises:
        RequestError: The number of heads does not divide the hidden size.
    """

    def __init__(self, input_size: int, hidden_size: int, options: SlstmOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="ifzo", parts=4)
        K = options.heads
        D = head_size("slstm", K, hidden_size)
        self.one_head = K == 1
        self.exponential_forget = options.forget == "exponential"
        self.weight_hh = self._uniform(K, 4, D, D)  # head, gate, to unit, from unit
        with torch.no_grad():
            self.weight_ih.normal_(std=(2 / (5 * input_size)) ** 0.5)
            if options.recurrent_init == "zeros":
                self.weight_hh.zero_()
        x_D = torch.linspace(0, 1, D)
        b_D = 5 - 12 * x_D**0.3 if options.forget_init == "powerlaw" else 3 + 3 * x_D
        self._set_bias("f", b_D.repeat(K))

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`."""
        h_BH, c_BH, n_BH, m_BH = state
        if self.one_head:
            a = torch.addmm(z, h_BH, self.weight_hh.view(-1, self.hidden_size).t())
        else:
            a = z + self._recurrent(h_BH)
        i, f, new, o = a.chunk(4, 1)
        kept = m_BH + (f if self.exponential_forget else functional.logsigmoid(f))
        m_BH = torch.where(n_BH == 0, i, torch.maximum(kept, i))
        i = (i - m_BH).exp()
        f = (kept - m_BH).clamp(max=log(torch.finfo(kept.dtype).max) - 1).exp()  # while n = 0 it multiplies zeros
        c_BH = f * c_BH + i * new.tanh()
        n_BH = f * n_BH + i
        return o.sigmoid() * (c_BH / n_BH), c_BH, n_BH, m_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The output gate `o`, the candidate `z`, and the forget gate `f` where it is a sigmoid.

        An exponential gate does not saturate, so `i` is not among them.
        """
        _, f, new, o = (z + self._recurrent(state[0])).chunk(4, -1)
        gates: dict[str, tuple[Tensor, GateKind]] = {"o": (o.sigmoid(), "sigmoid"), "z": (new.tanh(), "tanh")}
        if not self.exponential_forget:
            gates["f"] = (f.sigmoid(), "sigmoid")
        return gates

    def _recurrent(self, h: Tensor) -> Tensor:
        """R h, `(…, 4H)`, computed head by head."""
        K, _, D, _ = self.weight_hh.shape
        return torch.einsum("...kd,kged->...gke", h.reshape(*h.shape[:-1], K, D), self.weight_hh).flatten(-3)
