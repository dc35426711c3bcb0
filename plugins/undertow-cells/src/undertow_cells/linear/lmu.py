"""The Legendre memory unit. B batch, T time, I input, H hidden, M order of the memory.

Voelker, Kajić & Eliasmith 2019, NeurIPS 32, "Legendre Memory Units: Continuous-Time Representation in Recurrent
Neural Networks", equations 1, 2 and 5 to 7.
"""

from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.linear.options import LmuOptions
from undertow_cells.projection import projection


class LMU(Cell):
    """A linear memory m, which holds the last θ steps of a signal u as Legendre coefficients, and a hidden state h:

        u  = e_x · x + e_h · h + e_m · m
        m' = Ā m + B̄ u
        h' = tanh(W_x x + W_h h + W_m m')

    The memory solves θ dm/dt = A m + B u, A_ij = (2i + 1) (-1 if i < j else (-1)^(i-j+1)), B_i = (2i + 1) (-1)^i; Ā
    and B̄ are the exact solution over one step with u held (zero-order hold). They are not trained. h' depends on h
    through a tanh, so there is no scan.

    Initialisation: e_x, e_h from U(-√(3/fan-in), √(3/fan-in)), e_m = 0, each W Glorot normal, no biases.
    """

    def __init__(self, input_size: int, hidden_size: int, options: LmuOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        M = options.order or hidden_size
        self.theta = float(options.theta or length)
        self.e_x = nn.Parameter(torch.empty(1, input_size).uniform_(-1, 1) * (3 / input_size) ** 0.5)
        self.e_h = nn.Parameter(torch.empty(1, hidden_size).uniform_(-1, 1) * (3 / hidden_size) ** 0.5)
        self.e_m = nn.Parameter(torch.zeros(1, M))
        self.W_x, self.W_h, self.W_m = (
            nn.Parameter(nn.init.xavier_normal_(torch.empty(hidden_size, width)))
            for width in (input_size, hidden_size, M)
        )
        self._exact = legendre_memory(M, self.theta)
        for name, value in zip(("A", "B"), self._exact, strict=True):
            self.register_buffer(name, value.to(self.W_h), persistent=False)

    A: Tensor
    B: Tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert; the memory's matrices are rounded from 64 bits each time, so a wider type is exact."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.A, self.B = (value.to(self.W_h) for value in self._exact)
        return self

    def initial_state(self, batch_size: int) -> State:
        """Zeros for h, `(B, H)`, and for m, `(B, M)`."""
        return self.W_h.new_zeros(batch_size, self.hidden_size), self.W_m.new_zeros(batch_size, len(self.B))

    def project(self, x_TBI: Tensor) -> Tensor:
        """W_x x and e_x · x, `(T, B, H + 1)`."""
        return projection(x_TBI, torch.cat([self.W_x, self.e_x]))

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, H + 1)`."""
        h, m = state
        u = z[..., -1:] + functional.linear(h, self.e_h) + functional.linear(m, self.e_m)
        m = functional.linear(m, self.A) + u * self.B
        return torch.tanh(z[..., :-1] + functional.linear(h, self.W_h) + functional.linear(m, self.W_m)), m

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new hidden state `h`, which is an activation."""
        return {"h": (self.step(z, state)[0], "tanh")}


def legendre_memory(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """Ā, `(M, M)`, and B̄, `(M,)`, over one step of a window of `theta` steps, in 64 bits."""
    i = torch.arange(order, dtype=torch.float64)
    sign = torch.where(i % 2 == 0, 1.0, -1.0).double()
    below = -sign.outer(sign)  # (-1)^(i-j+1)
    A = (2 * i + 1).unsqueeze(1) * torch.where(i.unsqueeze(1) < i, -1.0, below) / theta
    B = (2 * i + 1) * sign / theta
    joint = torch.zeros(order + 1, order + 1, dtype=torch.float64)  # of (m, u): one exponential gives Ā and B̄
    joint[:order, :order], joint[:order, order] = A, B
    step = torch.matrix_exp(joint)
    return step[:order, :order].contiguous(), step[:order, order].contiguous()
