"""Gated linear attention, and retention. T time, B batch, I input, H hidden, N heads, K size of a key, V = H / N.

Yang et al. 2023, arXiv 2312.06635, sections 4.2 to 4.4. The decay of `decay="constant"` is that of Sun et al. 2023
(RetNet), arXiv 2307.08621, section 2.2.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.matrix.memory import HeadNorm, MatrixCell
from undertow_cells.matrix.options import GlaOptions
from undertow_cells.projection import projection


class GLA(MatrixCell):
    """Each row of a matrix decays at a rate of its own, computed from the input:

        q, k, v = W x,                              one block of rows each
        α       = σ(W_2 W_1 x + b)^(1/τ),           τ = 16, W_1 of 16 rows
        S'      = diag(α) S + k vᵀ
        y       = swish(W_r x + b_r) ∘ LN(S'ᵀ q),   the norm by head

    With `decay="constant"`, α = 1 - 2^(-5 - n) in head n, which is not trained. RetNet also rotates q and k by an angle
    that grows with the position; that is left out, and so are a map of y and, in GLA, of every layer.

    Initialisation: matrices from U(-1/√fan-in, 1/√fan-in), biases 0. The authors' code also divides q by √K, which the
    norm undoes.
    """

    alpha: Tensor
    keeps = "a"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: GlaOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, name="gla")
        N, K, V = self.heads, self.key_size, self.value_size
        gate = V if options.output_gate else 0
        self.constant = options.decay == "constant"
        self.temperature = options.temperature
        self.widths = [1 if self.constant else K, K, K, V, *([V] if gate else [])]
        self.weight = self._weight(N * (2 * K + V + gate), input_size)
        self.bias_r = nn.Parameter(torch.zeros(hidden_size)) if gate else None
        self.norm = HeadNorm("gla", N, V, "layer") if options.norm else None
        if self.constant:
            self.register_buffer("alpha", 1 - 2.0 ** (-5 - torch.arange(N, dtype=torch.float64)).unsqueeze(-1).float())
        else:
            self.weight_1 = self._weight(options.gate_rank, input_size)
            self.weight_2 = self._weight(N * K, options.gate_rank)
            self.bias = nn.Parameter(torch.full((N * K,), options.decay_bias))

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """α, q, k, v, and what swish is applied to."""
        q, k, v, *r = self._by_head(x_TBI, self.weight, *self.widths[1:])
        if self.bias_r is not None:
            r = [r[0] + self.bias_r.view(self.heads, -1)]
        return self._decay(x_TBI), q, k, v, *r

    def output(self, read: Tensor, *rest: Tensor) -> Tensor:
        """The norm and the gate."""
        read = read if self.norm is None else self.norm(read)
        return (read * functional.silu(rest[0]) if rest else read).flatten(-2)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The decay α, as `a`."""
        return {"a": (z[..., : self.widths[0]].flatten(-2), "sigmoid")}

    def _decay(self, x_TBI: Tensor) -> Tensor:
        if self.constant:
            return self.alpha.expand(*x_TBI.shape[:-1], -1, -1)
        low = projection(x_TBI, self.weight_1)
        logits = projection(low, self.weight_2, self.bias)
        return torch.unflatten((functional.logsigmoid(logits) / self.temperature).exp(), -1, (self.heads, -1))
