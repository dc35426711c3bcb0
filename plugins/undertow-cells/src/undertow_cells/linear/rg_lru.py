"""The real-gated linear recurrent unit of Griffin. B batch, T time, I input, H hidden; stacked in the order r, i.

De et al. 2024, arXiv 2402.19427, section 2.4; the powers are taken in log space as in its appendix A.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.linear.affine import AffineCell
from undertow_cells.linear.options import RgLruOptions
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

    Initialisation: W and W_u from N(0, 1/fan-in), b = 0, and Λ such that σ(Λ)^c ~ U(`min_decay`, `max_decay`).
    """

    def __init__(self, input_size: int, hidden_size: int, options: RgLruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        H = hidden_size
        self.weight_in = nn.Parameter(torch.randn(H, input_size) * input_size**-0.5) if input_size != H else None
        self.weight = nn.Parameter(torch.randn(2 * H, H) * H**-0.5)
        self.bias = nn.Parameter(torch.zeros(2 * H))
        log_a_H = torch.empty(H).uniform_(options.min_decay, options.max_decay).log() / C
        self.Lambda = nn.Parameter(log_a_H - torch.log(-torch.expm1(log_a_H)))

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor a, the addend, and for `gates` r and i."""
        u_TBH = x_TBI if self.weight_in is None else projection(x_TBI, self.weight_in)
        from_x = self.weight if self.weight_in is None else self.weight @ self.weight_in  # W (W_u x) = (W W_u) x
        r, i = (block.sigmoid() for block in blocks(x_TBI, from_x, self.bias, 2))
        log_a = -C * functional.softplus(-self.Lambda) * r
        rest = torch.finfo(log_a.dtype).tiny - torch.expm1(2 * log_a)  # at 0 the root would have no derivative
        return log_a.exp(), rest.sqrt() * (i * u_TBH), r, i

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The recurrence gate `r` and the input gate `i`."""
        _, _, r, i = z.chunk(4, -1)
        return {"r": (r, "sigmoid"), "i": (i, "sigmoid")}
