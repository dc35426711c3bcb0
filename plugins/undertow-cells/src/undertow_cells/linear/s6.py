"""The selective state space of Mamba, S6. B batch, T time, I input, H hidden, N numbers of the state of each unit.

Gu & Dao 2023, arXiv 2312.00752, algorithm 2; the initialisation is that of the authors' `mamba_ssm/modules/
mamba_simple.py` (state-spaces/mamba on GitHub). Signed factors: Grazzi et al. 2024, arXiv 2411.12537.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import Cell, GateKind, State
from undertow_cells.linear.options import S6Options
from undertow_cells.linear.scan import linear_scan
from undertow_cells.projection import projection


class S6(Cell):
    """Each unit holds N numbers; how much of them is kept, what is added and what is read depends on the input:

        Δ    = softplus(W_Δ V_Δ u + b_Δ)             one step size for each unit
        B, C = W_B u, W_C u                          N numbers each, the same for all units
        a    = e^(Δ A),   A = -e^α                   or 2 e^(Δ A) - 1 with `signed=True`
        h'   = a ∘ h + Δ u Bᵀ
        y    = h' C + D ∘ u

    u is the input x where it is as wide as the state; otherwise u = W_u x + b_u, for the linear map before the unit in
    the paper's block and the bias of the convolution between them. Without a bias, an input of 0 would have B = C = 0:
    after a blank step the output would be 0, whatever the state. W_Δ V_Δ has the rank `dt_rank`. With signed factors,
    in (-1, 1), a state can change its sign at every step, so that a layer can compute parity. Only the recurrence is
    here: the convolution, the gate beside it and the linear maps around it in the paper's block are left out.

    Initialisation: e^α = 1, …, N; V_Δ, W_B, W_C from U(-1/√H, 1/√H); W_Δ from U(-1/√R, 1/√R) for the rank R; b_Δ such
    that softplus(b_Δ) is log-uniform in (`dt_min`, `dt_max`); D = 1; W_u from N(0, 1/I); b_u from U(-1/2, 1/2), as the
    bias of a convolution of width 4.
    """

    def __init__(self, input_size: int, hidden_size: int, options: S6Options, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        H, N, R = hidden_size, options.state_size, options.dt_rank or -(-hidden_size // 16)
        self.signed = options.signed
        self.keeps = "" if options.signed else "keep"
        self.widths = [R, N, N]
        self.weight_in = self.bias_in = None
        if input_size != H:
            self.weight_in = nn.Parameter(torch.randn(H, input_size) * input_size**-0.5)
            self.bias_in = nn.Parameter(torch.empty(H).uniform_(-0.5, 0.5))
        self.weight = nn.Parameter(torch.empty(R + 2 * N, H).uniform_(-(H**-0.5), H**-0.5))
        self.weight_dt = nn.Parameter(torch.empty(H, R).uniform_(-(R**-0.5), R**-0.5))
        dt_H = torch.empty(H).uniform_(0, 1)
        low, high = torch.tensor([options.dt_min, options.dt_max]).log()
        dt_H = torch.lerp(low, high, dt_H).exp()
        self.bias_dt = nn.Parameter(dt_H + torch.log(-torch.expm1(-dt_H)))  # softplus⁻¹
        self.alpha = nn.Parameter(torch.arange(1.0, N + 1).log().repeat(H, 1))
        self.D = nn.Parameter(torch.ones(H))

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H, N)`."""
        return (self.alpha.new_zeros(batch_size, *self.alpha.shape),)

    def project(self, x_TBI: Tensor) -> Tensor:
        """Δ, u, B and C side by side, `(T, B, 2H + 2N)`."""
        u_TBH = x_TBI if self.weight_in is None else projection(x_TBI, self.weight_in, self.bias_in)
        dt, B_TBN, C_TBN = projection(u_TBH, self.weight).split_with_sizes(self.widths, -1)
        dt_TBH = functional.softplus(projection(dt, self.weight_dt, self.bias_dt))
        return torch.cat([dt_TBH, u_TBH, B_TBN, C_TBN], -1)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 2H + 2N)`."""
        (h,) = state
        a_BHN, b_BHN = self._terms(z)
        return (torch.addcmul(b_BHN.to(h.dtype), a_BHN.to(h.dtype), h),)

    def readout(self, z: Tensor, state: State) -> Tensor:
        """h' C + D u."""
        _, u, _, C = self._split(z)
        return torch.einsum("...hn,...n->...h", state[0], C.to(state[0].dtype)) + self.D * u

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan, on HN numbers."""
        (h,) = state
        z_TB = self.project(x_TBI)
        a, b = (each.flatten(-2).to(h.dtype) for each in self._terms(z_TB))
        states, last = linear_scan(a, b, h.flatten(-2))
        y_TBH = self.readout(z_TB, (states.view(*states.shape[:-1], *self.alpha.shape),))
        return y_TBH, (last.view_as(h),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The factors on the state, `(…, H, N)`: `keep`, the share that is kept, or signed ones as `factor`.

        Where A = -1, they are σ(-s) and -tanh(s/2) of what enters the softplus.
        """
        a, _ = self._terms(z)
        return {"factor": (a, "tanh")} if self.signed else {"keep": (a, "sigmoid")}

    def _split(self, z: Tensor) -> tuple[Tensor, ...]:
        """Δ, u, B and C."""
        H, N = self.alpha.shape
        return z.split_with_sizes([H, H, N, N], -1)

    def _terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The factors on the state and what is added, `(…, H, N)` each."""
        dt, u, B, _ = self._split(z)
        a = torch.exp(dt.unsqueeze(-1) * -self.alpha.exp())
        return 2 * a - 1 if self.signed else a, (dt * u).unsqueeze(-1) * B.unsqueeze(-2)
