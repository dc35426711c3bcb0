"""The non-saturating recurrent unit. B batch, T time, I input, H hidden, M memory, K heads, R² = K M.

Chandar, Sankar, Vorontsov, Kahou & Bengio 2019, arXiv 1902.06704; where the paper leaves it open, as in the authors'
`nru_project/NRU.py` (apsarath/NRU on GitHub).
"""

from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.gated.options import NruOptions
from undertow_cells.projection import projection


class NRU(Cell):
    """A memory m that is only added to, and no sigmoid or tanh anywhere:

        h'   = relu(W x + U_h h + U_m m + b)
        α, β = relu(V [h', m] + b_V)                     K strengths each, to write and to erase
        v, w = relu(p qᵀ), each divided by its 5-norm    K directions of M numbers each, p and q linear in [h', m]
        m'   = m + Σ (α v - β w) / K

    Directions that are linear in [h', m] would take a matrix with KM rows; instead the KM numbers of all heads are the
    products of two vectors of R numbers, row by row. With `relu=False` the strengths and
    directions are as they are before their relu, as in the authors' configuration for pixels. Their option of a layer
    norm is left out.

    Initialisation: as in torch's linear layer, all from U(-1/√n, 1/√n), n the width of all that a row reads.
    """

    def __init__(self, input_size: int, hidden_size: int, options: NruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.relu = options.relu
        self.memory_size, self.heads = options.memory_size, options.heads
        R, width = isqrt(self.heads * self.memory_size), hidden_size + self.memory_size
        self.widths = [self.heads, self.heads, R, R, R, R]
        self.weight_ih = _uniform(width + input_size, hidden_size, input_size)
        self.weight_hh = _uniform(width + input_size, hidden_size, width)
        self.bias = _uniform(width + input_size, hidden_size)
        self.weight_heads = _uniform(width, sum(self.widths), width)
        self.bias_heads = _uniform(width, sum(self.widths))

    def initial_state(self, batch_size: int) -> State:
        """Zeros for h, `(B, H)`, and for m, `(B, M)`."""
        return self.bias.new_zeros(batch_size, self.hidden_size), self.bias.new_zeros(batch_size, self.memory_size)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b, `(T, B, H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, H)`."""
        m_BM = state[1]
        h_BH, alpha, beta, p, q, r, s = self._activations(z, state)
        change_BKM = alpha.unsqueeze(2) * self._direct(p, q) - beta.unsqueeze(2) * self._direct(r, s)
        return h_BH, m_BM + change_BKM.mean(1)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new `h`, and with relu the strengths `alpha` of writing and `beta` of erasing."""
        h, alpha, beta, *_ = self._activations(z, state)
        gates: dict[str, tuple[Tensor, GateKind]] = {"h": (h, "relu")}
        return gates | ({"alpha": (alpha, "relu"), "beta": (beta, "relu")} if self.relu else {})

    def _activations(self, z: Tensor, state: State) -> tuple[Tensor, ...]:
        """h', α, β, and the two factors of the directions to write and to erase."""
        h, m = state
        h = (z + functional.linear(torch.cat([h, m], -1), self.weight_hh)).to(h.dtype).relu()
        heads = functional.linear(torch.cat([h, m], -1), self.weight_heads, self.bias_heads).to(h.dtype)
        alpha, beta, *factors = heads.split_with_sizes(self.widths, -1)
        return h, *(each.relu() if self.relu else each for each in (alpha, beta)), *factors

    def _direct(self, p_BR: Tensor, q_BR: Tensor) -> Tensor:
        """The directions of all heads, `(B, K, M)`, of 5-norm 1, or 0 where all products are."""
        v_BKM = (p_BR.unsqueeze(2) * q_BR.unsqueeze(1)).view(-1, self.heads, self.memory_size)
        v_BKM = v_BKM.relu() if self.relu else v_BKM
        v_BKM = v_BKM / v_BKM.detach().abs().amax(2, keepdim=True).clamp(min=1e-12)  # or fifth powers would underflow
        norm_BK1: Tensor = torch.linalg.vector_norm(v_BKM, 5, 2, keepdim=True)
        return v_BKM / norm_BK1.clamp(min=0.5)  # it is at least 1, or all products are 0


def _uniform(fan_in: int, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))
