"""Gated DeltaNet. T time, B batch, I input, H hidden, N heads, K size of a key, V = H / N.

Yang, Kautz & Hatamizadeh 2024, arXiv 2412.06464, eq. 10; β up to 2: Grazzi et al. 2024, arXiv 2411.12537. The
activations and the initialisation are those of NVlabs/GatedDeltaNet on GitHub.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.matrix.memory import HeadNorm, MatrixCell, unit
from undertow_cells.matrix.options import DeltanetOptions
from undertow_cells.projection import projection


class DeltaNet(MatrixCell):
    """What is stored under a key is replaced, by the share β, and not only added to:

        q, k    = unit(swish(W x)),    v = swish(W x),                   one block of rows each
        β       = σ(W_β x + b_β),      times 2 with `max_beta=2`         a number a head
        α       = exp(-exp(A) softplus(W_α x + b_α))                     a number a head; 1 unless `gated`
        S'      = α (I - β k kᵀ) S + β k vᵀ
        y       = swish(W_g x) ∘ RMSNorm(S'ᵀ q),                         the norm by head

    S is the transpose of the paper's. The factor of S has the eigenvalues α and, along k, α (1 - β): with β above 1 the
    latter is negative. The convolutions of q, k and v and the map of y are left out.

    Initialisation: matrices from U(-1/√I, 1/√I), b_β = 0, exp(A) from U(0, 16), and b_α such that its softplus is
    between 0.001 and 0.1, uniform in the logarithm.
    """

    corrected = True
    keeps = "a"  # the share of the state that is kept, of all but what the key addresses; for the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: DeltanetOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, name="deltanet")
        N, K, V = self.heads, self.key_size, self.value_size
        gate = [V] if options.output_gate else []
        self.gated, self.max_beta = options.gated, options.max_beta
        self.widths = [1, K, K, V, K, K, 1, *gate]
        self.weight = self._weight(N * (2 * K + V + sum(gate)), input_size)
        self.norm = HeadNorm("deltanet", N, V, "rms") if options.norm else None
        self.weight_beta = self._weight(N, input_size)
        self.bias_beta = nn.Parameter(torch.zeros(N))
        if self.gated:
            self.weight_alpha = self._weight(N, input_size)
            self.A = nn.Parameter(torch.empty(N).uniform_(1e-4, 16).log())
            rate_N = torch.empty(N).uniform_(-3, -1).mul(torch.tensor(10.0).log()).exp()
            self.bias_alpha = nn.Parameter(rate_N + torch.log(-torch.expm1(-rate_N)))  # softplus of it is the rate
        else:
            self.keeps = ""

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """α, q, β k, v, k, -α β k, β as a share of its limit, and what swish is applied to."""
        K, V = self.key_size, self.value_size
        q, k, v, *g = self._by_head(x_TBI, self.weight, K, K, V, *self.widths[7:])
        q, k, v = unit(functional.silu(q)), unit(functional.silu(k)), functional.silu(v)
        share = projection(x_TBI, self.weight_beta, self.bias_beta).sigmoid().unsqueeze(-1)
        beta_k = self.max_beta * share * k
        if self.gated:
            rate = functional.softplus(projection(x_TBI, self.weight_alpha, self.bias_alpha))
            alpha = (-self.A.exp() * rate).exp().unsqueeze(-1)
        else:
            alpha = torch.ones_like(q[..., :1])
        return alpha, q, beta_k, v, k, -alpha * beta_k, share, *g

    def output(self, read: Tensor, *rest: Tensor) -> Tensor:
        """The norm and the gate."""
        read = read if self.norm is None else self.norm(read)
        _, *g = rest
        return (read * functional.silu(g[0]) if g else read).flatten(-2)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The decay α, as `a`, if the cell is `gated`, and β as a share of its limit, `b`."""
        alpha, _, _, _, _, _, share, *_ = torch.split(z, self.widths, -1)
        gates: dict[str, tuple[Tensor, GateKind]] = {"b": (share.squeeze(-1), "sigmoid")}
        return gates | {"a": (alpha.squeeze(-1), "sigmoid")} if self.gated else gates
