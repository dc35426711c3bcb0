"""The independently recurrent network: each unit reads only its own state. B batch, T time, I input, H hidden.

Li, Li, Cook, Zhu & Gao 2018, arXiv 1803.04831; the initialisation of W is that of the authors' code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.derived import DerivedCell
from undertow_cells.plain.options import IndrnnOptions
from undertow_cells.projection import projection


class IndRNN(DerivedCell):
    """One number u per unit in place of a matrix, so that the gradient through T steps is u^T and can be bounded:

        h' = relu(W x + b + u ∘ h),   |u| ≤ g^(1/T),   g = `growth`

    As in the paper, u is clamped to the bound after each training step.

    Initialisation: u from U(0, 1), or with `recurrent_init="long"` from U(g^(-1/T), g^(1/T)). Where only the last step
    has a target, the paper uses the latter in the last layer alone, as its authors' code does: `"long-last"`. W from
    U(-a, a), a = √(6 / (65 I)); b = 0.
    """

    def __init__(self, input_size: int, hidden_size: int, options: IndrnnOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.bound = options.growth ** (1 / length)
        self.long_last = options.recurrent_init == "long-last"
        low, high = (1 / self.bound, self.bound) if options.recurrent_init == "long" else (0.0, 1.0)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        nn.init.kaiming_uniform_(self.weight_ih, a=8)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size).uniform_(low, high))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def place(self, layer: int, layers: int) -> None:
        """Draw u of the last layer again, with `recurrent_init="long-last"`."""
        if self.long_last and layer == layers - 1:
            with torch.no_grad():
                self.weight_hh.uniform_(1 / self.bound, self.bound)

    def constrain(self) -> None:
        """Clamp u to its bound."""
        self.weight_hh.clamp_(-self.bound, self.bound)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.weight_hh.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b, `(T, B, H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def weight(self) -> Tensor:
        """The bounded u, `(H,)`: within the bound its derivative is 1."""
        return self.weight_hh.clamp(-self.bound, self.bound)

    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step; `z` is `(B, H)`."""
        return (torch.addcmul(z, state[0], weight).relu(),)

    def recurrent_matrix(self) -> Tensor:
        """u, as a diagonal."""
        return self.weight().diag()

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new state `h`, which is an activation."""
        return {"h": (self.advance(z, state, self.weight())[0], "relu")}
