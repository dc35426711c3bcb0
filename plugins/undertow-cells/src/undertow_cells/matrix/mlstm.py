"""The mLSTM. T time, B batch, I input, H hidden, N heads, K size of a key, V = H / N.

Beck et al. 2024 (xLSTM), arXiv 2405.04517, eq. 19-27; the initialisation is that of the authors' code, NX-AI/xlstm on
GitHub.
"""

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.matrix.memory import HeadNorm, MatrixCell
from undertow_cells.matrix.options import MlstmOptions
from undertow_cells.matrix.scan import matrix_scan
from undertow_cells.projection import projection


class MLSTM(MatrixCell):
    """An LSTM whose memory is a matrix, with an exponential input gate; n is the sum of the keys, each by its weight:

        q, k~, v, o~ = W x + b,  k = k~ / √K        one block of rows each
        i~, f~  = W_g x + b_g                       a number a head
        log f   = log σ(f~), or f~                  depending on `forget`
        m'      = max(log f + m, i~)                the stabiliser
        C'      = exp(log f + m - m') C + exp(i~ - m') k vᵀ
        n'      = exp(log f + m - m') n + exp(i~ - m') k
        y       = σ(o~) ∘ C'ᵀ q / max(|n'ᵀ q|, exp(-m'))

    C is the transpose of the paper's. m only keeps the exponentials from overflowing: the memory without it is exp(m) C
    and exp(m) n, and y its quotient with a divisor of at least 1. So y does not depend on where m starts, here at 0,
    and it is never 0 / 0. The authors' code adds 1e-6 to the divisor and computes the gates i and f from q, k and v.

    Initialisation: W from N(0, 2 / 5I); W_g = 0; b_g of i from N(0, 0.01), of f from 3 to 6 over the heads; b = 0.
    """

    keeps = "f"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: MlstmOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, name="mlstm")
        N, K, V = self.heads, self.key_size, self.value_size
        self.widths = [1, 1, K, K, V, V]  # log f, i~, q, k, v, σ(o~)
        rows = N * (2 * K + 2 * V)
        self.weight = nn.Parameter(torch.randn(rows, input_size) * (2 / (5 * input_size)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(rows))
        self.weight_gates = nn.Parameter(torch.zeros(2 * N, input_size))
        self.bias_gates = nn.Parameter(torch.cat([0.1 * torch.randn(N), torch.linspace(3, 6, N)]))
        self.norm = HeadNorm("mlstm", N, V, "layer") if options.norm else None
        self.exponential_forget = options.forget == "exponential"
        if self.exponential_forget:
            self.keeps = ""

    def initial_state(self, batch_size: int) -> State:
        """Zeros: C, `(B, N, K, V)`, n, `(B, N, K)`, and m, `(B, N)`."""
        (C_BNKV,) = super().initial_state(batch_size)
        return C_BNKV, torch.zeros_like(C_BNKV[..., 0]), torch.zeros_like(C_BNKV[..., 0, 0])

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """log f, i~, q, k, v and σ(o~)."""
        i, f = (part.unsqueeze(-1) for part in projection(x_TBI, self.weight_gates, self.bias_gates).chunk(2, -1))
        q, k, v, o = self._by_head(x_TBI, self.weight, *self.widths[2:], bias=self.bias)
        log_f = f if self.exponential_forget else functional.logsigmoid(f)
        return log_f, i, q, k * self.key_size**-0.5, v, o.sigmoid()

    def step(self, z: Tensor, state: State) -> State:
        """One step."""
        C_BNKV, n_BNK, m_BN = state
        log_f, i, _, k, v, _ = torch.split(z.to(m_BN.dtype), self.widths, -1)
        before = m_BN.unsqueeze(-1)
        m = torch.maximum(log_f + before, i)
        kept, added = (log_f + before - m).exp(), (i - m).exp() * k
        C_BNKV = torch.addcmul(kept.unsqueeze(-1) * C_BNKV, added.unsqueeze(-1), v.unsqueeze(-2))
        return C_BNKV, torch.addcmul(added, kept, n_BNK), m.squeeze(-1)

    def readout(self, z: Tensor, state: State) -> Tensor:
        """The output for the state after the step."""
        C_BNKV, n_BNK, m_BN = state
        _, _, q, _, _, o = torch.split(z.to(m_BN.dtype), self.widths, -1)
        columns = torch.cat([C_BNKV, n_BNK.unsqueeze(-1)], -1)
        read = (q.unsqueeze(-2) @ columns).squeeze(-2)  # in 16 bits under autocast
        return self._read(read.to(m_BN.dtype), m_BN.unsqueeze(-1), o)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the chunked scan; n is one more column of C, and m a running maximum."""
        C_BNKV, n_BNK, m_BN = state
        log_f, i, q, k, v, o = (term.to(m_BN.dtype) for term in self.terms(x_TBI))
        start = m_BN[None, ..., None]
        total = log_f.cumsum(0)
        m = total + torch.maximum((i - total).cummax(0).values, start)
        before = torch.cat([start, m[:-1]])
        kept, added = (log_f + before - m).exp(), (i - m).exp() * k
        columns = torch.cat([C_BNKV, n_BNK.unsqueeze(-1)], -1)
        read, last = matrix_scan(columns, kept, q, added, torch.cat([v, torch.ones_like(v[..., :1])], -1))
        C_BNKV, n_BN1K = last[..., :-1], last[..., -1]
        return self._read(read, m, o), (C_BNKV, n_BN1K, m[-1].squeeze(-1))

    def _read(self, read: Tensor, m: Tensor, o: Tensor) -> Tensor:
        """The output from Cᵀ q and nᵀ q side by side."""
        largest = log(torch.finfo(m.dtype).max) - 1
        divisor = torch.maximum(read[..., -1:].abs(), (-m).clamp(max=largest).exp())
        h = read[..., :-1] / divisor
        return (o * (h if self.norm is None else self.norm(h))).flatten(-2)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The output gate `o`, and the forget gate `f` where it is a sigmoid; an exponential gate does not saturate."""
        log_f, *_, o = torch.split(z, self.widths, -1)
        gates: dict[str, tuple[Tensor, GateKind]] = {"o": (o.flatten(-2), "sigmoid")}
        return gates if self.exponential_forget else gates | {"f": (log_f.exp().squeeze(-1), "sigmoid")}
