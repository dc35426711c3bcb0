"""The diagonal state space layer S4D. B batch, T time, I input, H hidden, N complex numbers of the state of each unit.

Gu, Gupta, Goel & Ré 2022, arXiv 2206.11893; the parametrisation is that of its listing 1 and of the authors'
`models/s4/s4d.py` (state-spaces/s4 on GitHub).
"""

from math import pi

import torch
from torch import Tensor, nn

from undertow import Cell, State
from undertow_cells.linear.options import S4dOptions
from undertow_cells.linear.scan import linear_scan
from undertow_cells.projection import projection


class S4D(Cell):
    """Each unit is a linear system with N complex numbers, sampled at a step Δ of its own that is learned:

        A  = -e^α + i ω
        h' = e^(Δ A) h + (e^(Δ A) - 1) / A · u      the exact solution of dh/dt = A h + u while u is held (ZOH)
        y  = 2 Re(Σ_n C_n h'_n) + D u

    u is the input x where it is as wide as the state; otherwise u = W_u x, the linear map before the layer. The
    numbers come in conjugate pairs, of which one is kept: the authors' N is 2N here. Their input matrix B is part of C,
    since the output depends on the product alone. Only the recurrence is here: the gelu, the mixing of the units, the
    gated linear unit and the norm around it in the paper's network are left out. The state is stored in real numbers,
    `(B, H, 2N)`, real and imaginary part side by side, so that a gradient's norm over it is that over the complex ones.

    Initialisation: Δ log-uniform in (`dt_min`, `dt_max`), e^α = 1/2, both parts of C from N(0, 1/2), D from N(0, 1),
    W_u from N(0, 1/I), and by `init`, with n from 0 to N - 1,

    - `lin`: ω_n = π n;
    - `inv`: ω_n = (2N/π) (2N/(2n + 1) - 1);
    - `legs`: ω are the imaginary parts of the eigenvalues of HiPPO-LegS without its part of rank 1, and C is multiplied
      by B/2 in their basis, as in the paper's theorem (the authors' code leaves out the half).

    The authors train Δ, α and ω with a learning rate of their own, at most 0.001: `cell.lr_scale: {log_dt: 0.1, …}`.
    """

    def __init__(self, input_size: int, hidden_size: int, options: S4dOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        H, N = hidden_size, options.state_size
        self.weight_in = nn.Parameter(torch.randn(H, input_size) * input_size**-0.5) if input_size != H else None
        log_step_H = torch.empty(H).uniform_(0, 1)
        low, high = torch.tensor([options.dt_min, options.dt_max]).log()
        self.log_dt = nn.Parameter(torch.lerp(low, high, log_step_H))
        self.alpha = nn.Parameter(torch.full((H, N), 0.5).log())
        omega_N, B_N = _start(options.init, N)
        self.omega = nn.Parameter(omega_N.to(self.alpha).repeat(H, 1))
        self.C = nn.Parameter(torch.randn(H, N, 2) * 0.5**0.5 * B_N.to(self.alpha).unsqueeze(1))
        self.D = nn.Parameter(torch.randn(H))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H, 2N)`."""
        return (self.C.new_zeros(batch_size, self.hidden_size, self.C[0].numel()),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """u, `(T, B, H)`."""
        return x_TBI if self.weight_in is None else projection(x_TBI, self.weight_in)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, H)`."""
        (h,) = state
        a_HN, b_HN = self.sampled()
        return (_real(a_HN * _complex(h) + b_HN * z.to(h.dtype).unsqueeze(-1)),)

    def readout(self, z: Tensor, state: State) -> Tensor:
        """2 Re(Σ C h') + D u."""
        weight_HM = (self.C * self.C.new_tensor([2.0, -2.0])).flatten(1)  # real times real minus imaginary times same
        return torch.einsum("...hm,hm->...h", state[0], weight_HM) + self.D * z

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan, on HN complex numbers."""
        (h,) = state
        u_TBH = self.project(x_TBI)
        a_HN, b_HN = self.sampled()
        entering = (b_HN * u_TBH.to(h.dtype).unsqueeze(-1)).flatten(-2)
        states, last = linear_scan(a_HN.flatten(), entering, _complex(h).flatten(-2))
        y_TBH = self.readout(u_TBH, (_real(states.view(*states.shape[:-1], *a_HN.shape)),))
        return y_TBH, (_real(last.view(len(h), *a_HN.shape)),)

    def sampled(self) -> tuple[Tensor, Tensor]:
        """The factor and the weight of the input over one step, complex, `(H, N)` each."""
        A_HN = torch.complex(-self.alpha.exp(), self.omega)
        a_HN = torch.exp(self.log_dt.exp().unsqueeze(1) * A_HN)
        return a_HN, (a_HN - 1) / A_HN


def _start(init: str, size: int) -> tuple[Tensor, Tensor]:
    """The initial ω and the absolute values of the input's weights, in 64 bits, `(N,)` each."""
    n = torch.arange(2 * size, dtype=torch.float64)
    ones = torch.ones(size, dtype=torch.float64)
    if init == "lin":
        return pi * n[:size], ones
    if init == "inv":
        return 2 * size / pi * (2 * size / (2 * n[:size] + 1) - 1), ones
    root = (n + 0.5).sqrt()
    upper = torch.outer(root, root).triu(1)
    frequencies, basis = torch.linalg.eigh((upper.t() - upper) * 1j)
    weights = (
        basis.mH @ (2 * n + 1).sqrt().to(basis)
    ).abs() / 2  # their phases are lost in those of C, which are uniform
    return frequencies[size:], weights[size:]


def _complex(pairs: Tensor) -> Tensor:
    """`(…, 2N)` real numbers as `(…, N)` complex ones, without a copy."""
    return torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))


def _real(numbers: Tensor) -> Tensor:
    """The inverse of `_complex`."""
    return torch.view_as_real(numbers).flatten(-2)
