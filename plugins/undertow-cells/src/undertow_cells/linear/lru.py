"""The linear recurrent unit. B batch, T time, I input, H hidden, N complex numbers of the state.

Orvieto et al. 2023, arXiv 2303.06349; parametrisation and initialisation are those of its appendix A.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, Factors, State
from undertow_cells.linear.options import LruOptions
from undertow_cells.linear.scan import linear_scan
from undertow_cells.projection import projection


class LRU(Cell):
    """Complex numbers, each multiplied at every step by its own factor λ; |λ| < 1 for all parameter values:

        λ  = exp(-e^ν + i e^θ)
        h' = λ ∘ h + e^γ ∘ (B x)
        y  = Re(C h') + D x

    The state is stored in real numbers, `(B, 2N)`, real and imaginary part side by side, so that a gradient's norm over
    it is that over the complex numbers. D is a vector, D ∘ x, where the input is as wide as the output, else a matrix.

    Initialisation: λ uniform over the ring `r_min` < |λ| < `r_max`, with angles in (0, `max_phase`); e^γ = √(1 - |λ|²),
    so that the state starts with the variance of B x; parts of B from N(0, 1/(2I)), of C from N(0, 1/N), the vector D
    from N(0, 1), the matrix D from N(0, 1/I).

    ν, θ and γ have no weight decay: 0 is no neutral value for them (ν = 0 is |λ| = 1/e, a memory of one step).
    """

    def __init__(self, input_size: int, hidden_size: int, options: LruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        I, H, N = input_size, hidden_size, options.state_size or hidden_size  # noqa: E741  (the legend's letter)
        margin = 1e-6  # at 0 and at 1 the logarithms below are infinite
        area_N, turn_N = torch.empty(2, N).uniform_(margin, 1 - margin)
        decay_N = -0.5 * torch.log(options.r_min**2 + area_N * (options.r_max**2 - options.r_min**2))
        self.nu = nn.Parameter(decay_N.log())
        self.theta = nn.Parameter(torch.log(options.max_phase * turn_N))
        self.gamma = nn.Parameter(0.5 * torch.log(-torch.expm1(-2 * decay_N)))
        self.B = nn.Parameter(torch.randn(N, 2, I) * (2 * I) ** -0.5)
        self.C = nn.Parameter(torch.randn(H, N, 2) * N**-0.5)
        self.D = nn.Parameter(torch.randn(H) if I == H else torch.randn(H, I) * I**-0.5)

    @property
    def lambda_N(self) -> Tensor:
        """λ, complex."""
        return torch.polar(torch.exp(-self.nu.exp()), self.theta.exp())

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, 2N)`."""
        return (self.nu.new_zeros(batch_size, 2 * len(self.nu)),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """e^γ ∘ (B x), its parts side by side, and D x, `(T, B, 2N + H)`."""
        return torch.cat(self._project(x_TBI), -1)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2N + H)`."""
        (h,) = state
        turned = self.lambda_N * _complex(h)
        return (torch.view_as_real(turned).flatten(-2) + z[..., : h.shape[-1]],)

    def readout(self, z: Tensor, state: State) -> Tensor:
        """Re(C h') + D x."""
        (h,) = state
        return self._from_state(h) + z[..., h.shape[-1] :]

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan, on complex numbers."""
        entering, skipped = self._project(x_TBI)
        (h,) = state
        h_TBN, h_BN = linear_scan(self.lambda_N, _complex(entering.to(h.dtype)), _complex(h))
        from_state = self._from_state(torch.view_as_real(h_TBN).flatten(-2))
        return from_state + skipped, (torch.view_as_real(h_BN).flatten(-2),)

    def parameter_factors(self) -> Mapping[str, Factors]:
        """No weight decay for ν, θ and γ, which are logarithms."""
        return dict.fromkeys(("nu", "theta", "gamma"), Factors(weight_decay=0.0))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        entering = projection(x, (self.gamma.exp().view(-1, 1, 1) * self.B).flatten(0, 1))
        return entering, self.D * x if self.D.dim() == 1 else projection(x, self.D)

    def _from_state(self, h: Tensor) -> Tensor:
        """Re(C h): real times real minus imaginary times imaginary."""
        return functional.linear(h, (self.C * self.C.new_tensor([1.0, -1.0])).flatten(1))


def _complex(pairs: Tensor) -> Tensor:
    """`(…, 2N)` real numbers as `(…, N)` complex ones, without a copy."""
    return torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))
