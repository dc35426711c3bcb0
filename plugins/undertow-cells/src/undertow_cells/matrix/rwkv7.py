"""RWKV-7. T time, B batch, I input, H hidden, N heads, K size of a key, V = H / N.

Peng et al. 2025, arXiv 2503.14456, section 4.1 (time mixing); the initialisation is that of BlinkDL/RWKV-LM on GitHub.
"""

from collections.abc import Mapping
from math import exp

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.matrix.memory import HeadNorm, MatrixCell, unit
from undertow_cells.matrix.options import Rwkv7Options
from undertow_cells.projection import projection


class RWKV7(MatrixCell):
    """A delta rule with a decay and a learning rate of their own for every entry of the key:

        r, k, v = W x,                                          one block of rows each
        w       = exp(-e^(-1/2) σ(b_w + W_w2 tanh(W_w1 x)))     the decay, above 0.545
        a       = σ(b_a + W_a2 W_a1 x)                          the learning rate
        κ       = unit(k ∘ ξ)                                   what is removed, by head
        k~      = k ∘ (1 + (a - 1) ∘ μ)                         what is written
        S'      = (diag(w) - (a ∘ κ) κᵀ) S + k~ vᵀ
        y       = (W_g2 σ(W_g1 x)) ∘ (LN(S'ᵀ r) + (rᵀ(ρ ∘ k~)) v),  the norm by head

    S is the transpose of the paper's. The shift of x by a step, the values that an upper layer takes from the lowest,
    and the map of y are left out.

    Initialisation: W from U(-1/2√I, 1/2√I), a tenth of it for k; W_w1, W_a1, W_g1 = 0, W_w2, W_a2, W_g2 a tenth of an
    orthogonal matrix; b_w rises from -5.5 to 0.5 over the units, those in the middle last, and by ±2.5 over each head;
    b_a is about -0.19, ξ 0.71, μ 1.02 and ρ -0.04.
    """

    corrected = True
    keeps = "w"  # the share of the state that is kept, of all but what the key addresses; for the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: Rwkv7Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, name="rwkv7")
        N, K, V, rank = self.heads, self.key_size, self.value_size, options.rank
        units = N * K
        self.widths = [K, K, K, V, K, K, K, V, *([V] if options.output_gate else [])]
        self.weight = self._weight(2 * units + N * V, input_size)
        with torch.no_grad():
            self.weight.mul_(0.5)
            self.weight[units : 2 * units].mul_(0.1)
        self.weight_w1, self.weight_w2 = self._two(units, rank)
        self.weight_a1, self.weight_a2 = self._two(units, rank)
        even_U = torch.linspace(0, 1, units)
        zigzag_K = torch.linspace(-1, 1, K) if K > 1 else torch.zeros(1)
        zigzag_NK = (zigzag_K * zigzag_K.abs()).expand(N, K)
        even_NK = even_U.view(N, K)
        self.bias_w = nn.Parameter(-5.5 + 6 * even_NK + 2.5 * zigzag_NK)
        self.bias_a = nn.Parameter(-0.19 + 0.3 * zigzag_NK + 0.4 * (even_NK - 0.5))
        self.xi = nn.Parameter(0.71 - 0.1 * (even_NK - 0.5))
        self.mu = nn.Parameter(torch.full((N, K), 1.02))
        self.rho = nn.Parameter(torch.full((N, K), -0.04))
        self.norm = HeadNorm("rwkv7", N, V, "layer", eps=1e-5 * V, bias=True) if options.norm else None
        if options.output_gate:
            self.weight_g1, self.weight_g2 = self._two(hidden_size, rank)

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """w, r, k~, v, κ, -a ∘ κ, a, (rᵀ(ρ ∘ k~)) v, and the output gate."""
        K, V = self.key_size, self.value_size
        r, k, v = self._by_head(x_TBI, self.weight, K, K, V)
        low = projection(x_TBI, self.weight_w1).tanh()
        w = (-exp(-0.5) * (self._by_head(low, self.weight_w2, K)[0] + self.bias_w).sigmoid()).exp()
        a = (self._by_head(projection(x_TBI, self.weight_a1), self.weight_a2, K)[0] + self.bias_a).sigmoid()
        removed = unit(k * self.xi)
        k = k * (1 + (a - 1) * self.mu)
        direct = (r * self.rho * k).sum(-1, keepdim=True) * v
        terms = w, r, k, v, removed, -a * removed, a, direct
        if len(self.widths) == len(terms):
            return terms
        (gate,) = self._by_head(projection(x_TBI, self.weight_g1).sigmoid(), self.weight_g2, V)
        return *terms, gate

    def output(self, read: Tensor, *rest: Tensor) -> Tensor:
        """The norm, what the value adds directly, and the gate."""
        _, direct, *gate = rest
        y = (read if self.norm is None else self.norm(read)) + direct
        return (y * gate[0] if gate else y).flatten(-2)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The decay `w` and the learning rate `a`."""
        w, _, _, _, _, _, a, *_ = torch.split(z, self.widths, -1)
        return {"w": (w.flatten(-2), "sigmoid"), "a": (a.flatten(-2), "sigmoid")}

    def _two(self, units: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
        """Two matrices one after the other: zeros, and a tenth of an orthogonal one."""
        first = nn.Parameter(torch.zeros(rank, self.input_size))
        return first, nn.Parameter(nn.init.orthogonal_(torch.empty(units, rank), gain=0.1))
