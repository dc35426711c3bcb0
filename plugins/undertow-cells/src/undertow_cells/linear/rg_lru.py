"""The real-gated linear recurrent unit of Griffin. B batch, T time, I input, H hidden; stacked in the order r, i.

De et al. 2024, arXiv 2402.19427, section 2.4; the powers are taken in log space as in its appendix A. The released code
is google-deepmind/recurrentgemma on GitHub; it differs from the paper in two points, which are options here.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.linear.affine import AffineCell
from undertow_cells.linear.options import RgLruOptions
from undertow_cells.linear.scan import linear_scan
from undertow_cells.projection import blocks, projection

C = 8.0
"""The paper's constant c: with a fully open recurrence gate the factor is σ(Λ)^c."""


class RGLRU(AffineCell):
    """A gate slows the decay of the state; the input is scaled so that the state keeps its variance:

        r, i = σ(W u + b),   one block of rows each
        a    = σ(Λ)^(c r) = exp(-c r ∘ ln(1 + e^-Λ)),   c = 8
        h'   = a ∘ h + √(1 - a²) ∘ (i ∘ u)

    u is the input x where it is as wide as the state; otherwise u = W_u x, the linear map before the unit in the
    paper's block.

    With `first_step="released"` the first step of a sequence has i ∘ u as it is: as there is no state yet, its factor
    √(1 - a²) would only make it small. The state part t, an integer, counts the steps, so that a sequence may run in
    pieces.

    Initialisation: W and W_u from N(0, 1/fan-in), b = 0, and Λ such that σ(Λ)^c ~ U(`min_decay`, `max_decay`). With
    `init="released"`, σ(Λ)² ~ U(`min_decay`², `max_decay`²): the factor with an open gate is the c-th power of σ(Λ), so
    the state decays about c times as fast.
    """

    def __init__(self, input_size: int, hidden_size: int, options: RgLruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        H = hidden_size
        self.weight_in = nn.Parameter(torch.randn(H, input_size) * input_size**-0.5) if input_size != H else None
        self.weight = nn.Parameter(torch.randn(2 * H, H) * H**-0.5)
        self.bias = nn.Parameter(torch.zeros(2 * H))
        low, high = options.min_decay, options.max_decay
        if options.init == "paper":
            log_a_H = torch.empty(H).uniform_(low, high).log() / C
        else:
            log_a_H = torch.empty(H).uniform_(low**2, high**2).log() / 2
        self.Lambda = nn.Parameter(log_a_H - torch.log(-torch.expm1(log_a_H)))
        self.scales_first = options.first_step == "paper"

    def initial_state(self, batch_size: int) -> State:
        """Zeros: h, `(B, H)`, and t, `(B,)`."""
        return *super().initial_state(batch_size), self.Lambda.new_zeros(batch_size, dtype=torch.int64)

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor a, the addend, for `gates` r and i, and the addend of the first step where it is another one."""
        u_TBH = x_TBI if self.weight_in is None else projection(x_TBI, self.weight_in)
        from_x = self.weight if self.weight_in is None else self.weight @ self.weight_in  # W (W_u x) = (W W_u) x
        r, i = (block.sigmoid() for block in blocks(x_TBI, from_x, self.bias, 2))
        log_a = -C * functional.softplus(-self.Lambda) * r
        rest = torch.finfo(log_a.dtype).tiny - torch.expm1(2 * log_a)  # at 0 the root would have no derivative
        terms = log_a.exp(), rest.sqrt() * (i * u_TBH), r, i
        return terms if self.scales_first else (*terms, i * u_TBH)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is all `terms` side by side."""
        h_BH, t_B = state
        a_BH, b_BH, _, _, *first = z.chunk(z.shape[-1] // self.hidden_size, -1)
        return torch.addcmul(self._addend(b_BH, first, t_B), a_BH, h_BH), t_B + 1

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in the parallel scan."""
        h_BH, t_B = state
        a_TBH, b_TBH, _, _, *first = self.terms(x_TBI)
        if first:
            start_BH = self._addend(b_TBH[0], [first[0][0]], t_B)
            b_TBH = torch.cat([start_BH.unsqueeze(0), b_TBH[1:]])
        h_TBH, h_BH = linear_scan(a_TBH, b_TBH, h_BH)
        return h_TBH, (h_BH, t_B + len(x_TBI))

    def _addend(self, b_BH: Tensor, first: Sequence[Tensor], t_B: Tensor) -> Tensor:
        """The addend, or at the first step that of `first`, if there is one."""
        return torch.where((t_B == 0).unsqueeze(-1), first[0], b_BH) if first else b_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The recurrence gate `r` and the input gate `i`."""
        _, _, r, i, *_ = z.chunk(z.shape[-1] // self.hidden_size, -1)
        return {"r": (r, "sigmoid"), "i": (i, "sigmoid")}
