"""The antisymmetric network: small steps along a skew-symmetric matrix. B batch, T time, I input, H hidden.

Chang, Chen, Haber & Chi 2019, arXiv 1902.09689; the initialisation is that of its appendix C.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.derived import DerivedCell
from undertow_cells.plain.options import AntisymmetricOptions
from undertow_cells.plain.skew import skew
from undertow_cells.projection import projection


class AntisymmetricRNN(DerivedCell):
    """A step of Euler's method, of size ε, for a system whose Jacobian has eigenvalues close to the imaginary axis:

        M  = W - Wᵀ - γ I,   W strictly upper triangular
        h' = h + ε tanh(M h + V x + b)

    and with `gated`, the same M in gate and candidate:

        z  = σ(M h + V_z x + b_z)
        h' = h + ε z ∘ tanh(M h + V x + b)

    The gate's block of V comes first. Initialisation: V from N(0, 1/I), W from N(0, s²/H) with s = `recurrent_scale`,
    the biases 0.
    """

    def __init__(self, input_size: int, hidden_size: int, options: AntisymmetricOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.epsilon, self.gamma, self.gated = options.epsilon, options.gamma, options.gated
        rows = 2 * hidden_size if options.gated else hidden_size
        pairs = hidden_size * (hidden_size - 1) // 2
        self.weight_ih = nn.Parameter(torch.randn(rows, input_size) * input_size**-0.5)
        self.weight_hh = nn.Parameter(torch.randn(pairs) * options.recurrent_scale * hidden_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(rows))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.weight_hh.new_zeros(batch_size, self.hidden_size),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """V x + b, `(T, B, H)`, or of gate and candidate `(T, B, 2H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def weight(self) -> Tensor:
        """Mᵀ, `(H, H)`."""
        friction_HH = self.gamma * torch.eye(self.hidden_size, dtype=self.bias.dtype, device=self.bias.device)
        return -skew(self.weight_hh, self.hidden_size) - friction_HH

    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step; `z` is `(B, H)` or `(B, 2H)`."""
        (h_BH,) = state
        if not self.gated:
            return (torch.add(h_BH, torch.addmm(z, h_BH, weight).tanh(), alpha=self.epsilon),)
        gate, candidate = self._activations(z, h_BH, weight)
        return (torch.addcmul(h_BH, gate, candidate, value=self.epsilon),)

    def recurrent_matrix(self) -> Tensor:
        """M."""
        return self.weight().T

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The candidate `c` and, with `gated`, the gate `z`."""
        if not self.gated:
            return {"c": ((z + state[0] @ self.weight()).tanh(), "tanh")}
        gate, candidate = self._activations(z, state[0], self.weight())
        return {"z": (gate, "sigmoid"), "c": (candidate, "tanh")}

    def _activations(self, z: Tensor, h: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The gate and the candidate."""
        blocks = z.view(*z.shape[:-1], 2, self.hidden_size)
        gate, candidate = (blocks + (h @ weight).unsqueeze(-2)).unbind(-2)
        return gate.sigmoid(), candidate.tanh()
