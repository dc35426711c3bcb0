"""The plain recurrent network: one matrix, by which gradients are multiplied at every step. B batch, T time, H hidden.

Elman 1990; the identity initialisation is Le, Jaitly & Hinton 2015, arXiv 1504.00941.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.fused import FusedCell
from undertow_cells.plain.options import RnnOptions
from undertow_cells.projection import projection


class RNN(FusedCell):
    """h' = φ(W x + b_W + U h + b_U), with φ = tanh or relu.

    Initialisation: all of W, U and the biases from U(-1/√H, 1/√H), as in torch. `recurrent_init="orthogonal"` replaces
    U by a random rotation, `"identity"` by I, with zero biases; `input_init="small"` draws W from N(0, 0.001²).
    `recurrent_scale` then multiplies U, and `input_scale` W and the biases. Relu, the identity and the small W together
    are the IRNN.
    """

    def __init__(self, input_size: int, hidden_size: int, options: RnnOptions, length: int) -> None:
        super().__init__(nn.RNN(input_size, hidden_size, nonlinearity=options.nonlinearity), options, length)
        self.nonlinearity: GateKind = options.nonlinearity
        self.activation = torch.tanh if options.nonlinearity == "tanh" else torch.relu
        with torch.no_grad():
            if options.recurrent_init == "orthogonal":
                self._make_orthogonal()
            elif options.recurrent_init == "identity":
                nn.init.eye_(self.U)
                self.b_W.zero_()
                self.b_U.zero_()
            if options.input_init == "small":
                self.W.normal_(0.0, 0.001)
            self.U.mul_(options.recurrent_scale)
            for parameter in (self.W, self.b_W, self.b_U):
                parameter.mul_(options.input_scale)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x and both biases, `(T, B, H)`."""
        return projection(x_TBI, self.W, self.b_W + self.b_U)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, H)`."""
        return (self.activation(torch.addmm(z, state[0], self.U.t())),)

    def recurrent_matrix(self) -> Tensor:
        """U."""
        return self.U

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new state `h`, which is an activation."""
        return {"h": (self.activation(z + functional.linear(state[0], self.U)), self.nonlinearity)}
