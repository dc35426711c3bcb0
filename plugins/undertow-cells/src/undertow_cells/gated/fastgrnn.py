"""FastGRNN. B batch, T time, I input, H hidden; gate and candidate share W and U and differ in their bias.

Kusupati et al. 2018, arXiv 1901.02358; the initialisation is that of the authors' code, EdgeML.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.gated.options import FastgrnnOptions
from undertow_cells.projection import projection


class FastGRNN(Cell):
    """A gated network with the matrices of an RNN and two learned scalars, ζ and ν:

        a  = W x + U h
        z  = σ(a + b_z)
        n  = tanh(a + b_n)
        h' = (σ(ζ) (1 - z) + σ(ν)) ∘ n + z ∘ h

    The paper's low rank, sparsity and quantisation of W and U are not implemented.

    Initialisation: W and U from N(0, 0.1²), both biases 1, ζ = `zeta`, ν = `nu`.
    """

    keeps = "z"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: FastgrnnOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.weight_ih = nn.Parameter(0.1 * torch.randn(hidden_size, input_size))
        self.weight_hh = nn.Parameter(0.1 * torch.randn(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.ones(2, hidden_size))  # b_z, b_n
        self.zeta = nn.Parameter(torch.tensor(options.zeta))
        self.nu = nn.Parameter(torch.tensor(options.nu))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.weight_hh.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b_z and W x + b_n, `(T, B, 2, H)`: to add the biases here saves two kernels per step."""
        return projection(x_TBI, self.weight_ih).unsqueeze(-2) + self.bias

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2, H)`."""
        (h_BH,) = state
        gate, n = self._activations(z, h_BH)
        scale, shift = self.zeta.sigmoid(), self.nu.sigmoid()
        return (torch.lerp(scale * n, h_BH, gate) + shift * n,)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gate `z` and the candidate `n`."""
        gate, n = self._activations(z, state[0])
        return {"z": (gate, "sigmoid"), "n": (n, "tanh")}

    def _activations(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The paper's z and its candidate n; any leading dimensions."""
        z_gate, z_new = z.unbind(-2)
        u = functional.linear(h, self.weight_hh).to(h.dtype)
        return (z_gate + u).sigmoid(), (z_new + u).tanh()
