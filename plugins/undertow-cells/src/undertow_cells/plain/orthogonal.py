"""The orthogonal network: its matrix stays a rotation during training. B batch, T time, I input, H hidden.

Lezcano-Casado & Martínez-Rubio 2019, arXiv 1901.08428; the Cayley map is Helfrich, Willmott & Ye 2018, arXiv
1707.09520 (without its diagonal D); modReLU is Arjovsky, Shah & Bengio 2016, arXiv 1511.06464.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.derived import DerivedCell
from undertow_cells.plain.options import OrthogonalOptions
from undertow_cells.plain.skew import skew, upper
from undertow_cells.projection import projection


class OrthogonalRNN(DerivedCell):
    """All singular values of Q are 1, and modReLU changes the absolute value of a number but not its sign:

        A  = a skew-symmetric matrix, whose entries above the diagonal are trained
        Q  = exp(A),   or (I + A)⁻¹ (I - A) with `map="cayley"`
        a  = W x + Q h
        h' = sign(a) ∘ relu(|a| + b)

    The authors' experiments train A with a learning rate of its own, on the copy task a tenth of that of the other
    parameters: `cell.lr_scale: {weight_hh: 0.1}`.

    Initialisation, as in the code of Lezcano-Casado: A has 2×2 blocks [[0, s], [-s, 0]] on its diagonal, with s from
    U(-π, π) (`recurrent_init="henaff"`) or s = -tan(u/2), u from U(0, π/2) (`"cayley"`); W from N(0, 2/I); b from
    U(-0.01, 0.01).
    """

    def __init__(self, input_size: int, hidden_size: int, options: OrthogonalOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.map = options.map
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size) * math.sqrt(2 / input_size))
        self.weight_hh = nn.Parameter(upper(_blocks(hidden_size, options.recurrent_init)))
        self.bias = nn.Parameter(torch.empty(hidden_size).uniform_(-0.01, 0.01))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.weight_hh.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x, `(T, B, H)`; b is added in modReLU, after the matrix."""
        return projection(x_TBI, self.weight_ih)

    def weight(self) -> Tensor:
        """Qᵀ, `(H, H)`: both maps give it for -A."""
        minus_A_HH = -skew(self.weight_hh, self.hidden_size)
        if self.map == "expm":
            return torch.matrix_exp(minus_A_HH)
        I_HH = torch.eye(self.hidden_size, dtype=minus_A_HH.dtype, device=minus_A_HH.device)
        rotation_HH: Tensor = torch.linalg.solve(I_HH + minus_A_HH, I_HH - minus_A_HH)
        return rotation_HH

    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step; `z` is `(B, H)`."""
        a_BH = torch.addmm(z, state[0], weight)
        return (a_BH.detach().sign() * (a_BH.abs() + self.bias).relu(),)

    def recurrent_matrix(self) -> Tensor:
        """Q."""
        return self.weight().T

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """`modulus`, the absolute value of the new state: where it is 0, modReLU passes no gradient."""
        return {"modulus": (((z + state[0] @ self.weight()).abs() + self.bias).relu(), "relu")}


def _blocks(size: int, init: str) -> Tensor:
    """The initial A above its diagonal, `(H, H)`."""
    s = torch.empty(size // 2)
    if init == "henaff":
        s.uniform_(-math.pi, math.pi)
    else:
        s.uniform_(0.0, math.pi / 2).div_(2).tan_().neg_()
    first = torch.arange(0, size - 1, 2)
    return torch.zeros(size, size).index_put((first, first + 1), s)
