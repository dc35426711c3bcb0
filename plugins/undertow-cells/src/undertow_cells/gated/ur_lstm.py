"""The LSTM with uniform starts and refined gates. B batch, T time, I input, H hidden; stacked in the order f, g, o, r.

Gu, Gulcehre, Paine, Hoffman & Pascanu 2020, arXiv 1910.09890.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from undertow import GateKind, State
from undertow_cells.gated.forget_bias import initial_forget_bias
from undertow_cells.gated.options import ForgetOptions, UrLstmOptions
from undertow_cells.gated.stacked import StackedCell


class URLSTM(StackedCell):
    """An LSTM with one gate for keeping and writing, whose derivative near 1 a second gate makes larger:

        f, r, o = σ(W x + U h + b),   one block of rows each
        g       = tanh(W x + U h + b)
        keep    = r (1 - (1 - f)²) + (1 - r) f²
        c'      = keep ∘ c + (1 - keep) ∘ g
        h'      = o ∘ tanh(c')

    The second gate r moves keep between f² and f (2 - f), by up to f (1 - f) to either side of f: so a keep of 1 - ε
    needs an f of only 1 - √ε, whose derivative is that much larger. With `refine=False` there is no r, and keep = f:
    then the cell is `lstm-coupled` with another start.

    Initialisation: W and U from U(-1/√H, 1/√H), b = 0, and then b_f = σ⁻¹(u) with u ~ U(1/H, 1 - 1/H), or as `chrono`
    in `lstm` with `forget_init="chrono"`; b_r = -b_f. With u uniform, a unit's time scale 1 / (1 - f) is above s with
    the probability 1/s, up to H steps. (The authors' later code, in state-spaces/s4 on GitHub, has no b_r.)
    """

    keeps = "keep"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: UrLstmOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length, rows="fgor" if options.refine else "fgo", parts=2)
        self.refines = options.refine
        self.weight_hh = self._uniform(len(self._rows) * hidden_size, hidden_size)
        if options.forget_init == "chrono":
            b_f = initial_forget_bias(ForgetOptions(chrono=True), hidden_size, length)
            assert b_f is not None
        else:
            edge = 1 / max(hidden_size, 2)  # of one unit, U(1, 0) would be empty
            b_f = torch.empty(hidden_size).uniform_(edge, 1 - edge).logit()
        self._set_bias("f", b_f)
        if self.refines:
            self._set_bias("r", -b_f)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 4H)`, or `(B, 3H)` without r."""
        h_BH, c_BH = state
        keep, g, o, *_ = self._activations(torch.addmm(z, h_BH, self.weight_hh.t()).to(c_BH.dtype))
        c_BH = torch.lerp(g, c_BH, keep)
        return o * c_BH.tanh(), c_BH

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gates `f`, `r`, `o`, the share `keep`, the candidate `g`, and `tanh_c`, the memory as `o` receives it."""
        h, c = state
        keep, g, o, f, *r = self._activations((z + functional.linear(h, self.weight_hh)).to(c.dtype))
        gates: dict[str, tuple[Tensor, GateKind]] = {
            "f": (f, "sigmoid"),
            "keep": (keep, "sigmoid"),
            "o": (o, "sigmoid"),
            "g": (g, "tanh"),
            "tanh_c": (torch.lerp(g, c, keep).tanh(), "tanh"),
        }
        return gates | ({"r": (r[0], "sigmoid")} if r else {})

    def _activations(self, sums: Tensor) -> list[Tensor]:
        """The share that is kept, g, o, f, and r if there is one."""
        f, g, o, *r = sums.chunk(len(self._rows), -1)
        f, r = f.sigmoid(), [each.sigmoid() for each in r]
        keep = f * (f + 2 * r[0] * (1 - f)) if r else f
        return [keep, g.tanh(), o.sigmoid(), f, *r]
