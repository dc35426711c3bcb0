"""The clockwork network: groups of units that move at different rates. B batch, T time, I input, H hidden, G groups.

Koutník, Greff, Gomez & Schmidhuber 2014, arXiv 1402.3511, section 3.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, RequestError, State
from undertow_cells.derived import DerivedCell
from undertow_cells.plain.options import ClockworkOptions
from undertow_cells.projection import projection

GROUPS = 8
"""Most groups that are made where no periods are given: the slowest then moves every 128 steps."""


class Clockwork(DerivedCell):
    """A plain network whose units move only at some steps and keep their value at the others:

        h'_i = tanh(W x + U h + b)_i   where t mod T_i = 0
        h'_i = h_i                     elsewhere

    Groups of units, one after the other, share a period T_i, the shortest first, and read groups of their own and of
    longer periods: U is block-triangular, and only its blocks on and above the diagonal are parameters. So through a
    unit with period T_i a gradient passes a matrix once in T_i steps. The first step of a sequence is t = 0, where all
    units move. The state part t, an integer, counts the steps, so that a sequence may run in pieces.

    By default the periods are 1, 2, 4, …, below the task's length, at most 8 and not more than units. Groups have the
    same size, up to one unit where their number does not divide H; the faster ones are larger.

    Initialisation: W and U from N(0, `weight_std`²), b = 0.

    Raises:
        RequestError: There are more periods than units.
    """

    def __init__(self, input_size: int, hidden_size: int, options: ClockworkOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        periods_G = options.periods or [2**k for k in range(min(GROUPS, hidden_size)) if 2**k < length] or [1]
        if len(periods_G) > hidden_size:
            raise RequestError(
                f"cell.options.clockwork.periods: {len(periods_G)} periods for {hidden_size} units; give at most one "
                "for each unit, or a larger cell.hidden_size"
            )
        sizes_G = [len(units) for units in torch.arange(hidden_size).tensor_split(len(periods_G))]
        periods_H = torch.tensor(periods_G).repeat_interleave(torch.tensor(sizes_G))
        places = (periods_H.unsqueeze(1) <= periods_H).nonzero().t()
        self.register_buffer("periods", periods_H, persistent=False)
        self.register_buffer("places", places.contiguous(), persistent=False)
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size) * options.weight_std)
        self.weight_hh = nn.Parameter(torch.randn(places.shape[1]) * options.weight_std)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    periods: Tensor
    places: Tensor

    def initial_state(self, batch_size: int) -> State:
        """Zeros: h, `(B, H)`, and t, `(B,)`."""
        return self.bias.new_zeros(batch_size, self.hidden_size), self.periods.new_zeros(batch_size)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b, `(T, B, H)`."""
        return projection(x_TBI, self.weight_ih, self.bias)

    def weight(self) -> Tensor:
        """Uᵀ, `(H, H)`."""
        to_unit, from_unit = self.places
        U_HH = self.weight_hh.new_zeros(self.hidden_size, self.hidden_size)
        return U_HH.index_put((from_unit, to_unit), self.weight_hh)

    def advance(self, z: Tensor, state: State, weight: Tensor) -> State:
        """One step; `z` is `(B, H)`."""
        h_BH, t_B = state
        moves_BH = t_B.unsqueeze(-1) % self.periods == 0
        return torch.where(moves_BH, torch.addmm(z, h_BH, weight).to(h_BH.dtype).tanh(), h_BH), t_B + 1

    def recurrent_matrix(self) -> Tensor:
        """U."""
        return self.weight().T

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The new value `h` of every unit, which is an activation, also where the unit does not move."""
        return {"h": ((z + state[0] @ self.weight()).tanh(), "tanh")}
