"""The minimal GRU. B batch, T time, I input, H hidden; stacked in the order z (gate), h (candidate).

Feng et al. 2024, arXiv 2410.01201, section 3.1; the positive candidate is the log-space form of appendix B.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from undertow import GateKind, State
from undertow_cells.linear.affine import AffineCell
from undertow_cells.linear.candidate import candidate
from undertow_cells.linear.options import MinGruOptions
from undertow_cells.projection import blocks


class MinGRU(AffineCell):
    """The GRU without its reset gate; the other gate reads the input alone:

        z  = σ(W_z x + b_z)
        n  = W_h x + b_h          or, with `candidate="positive"`, g(W_h x + b_h)
        h' = (1 - z) ∘ h + z ∘ n

    The paper's log-space form differs from its plain one by g (see `candidate`) and by how it is computed; the scan
    used here needs no logarithms for either, so states stay exact and may start from 0.

    Initialisation: as in torch's linear layer, all from U(-1/√I, 1/√I), which the paper leaves unchanged.
    """

    keeps = "1 - z"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: MinGruOptions, length: int) -> None:
        super().__init__(input_size, hidden_size, options, length)
        self.positive = options.candidate == "positive"
        bound = input_size**-0.5
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size).uniform_(-bound, bound))

    def terms(self, x_TBI: Tensor) -> tuple[Tensor, ...]:
        """The factor 1 - z and the addend z ∘ n."""
        gate, new = blocks(x_TBI, self.weight, self.bias, 2)
        z = gate.sigmoid()
        return 1 - z, z * candidate(new, self.positive)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The gate `z`."""
        kept, _ = z.chunk(2, -1)
        return {"z": (1 - kept, "sigmoid")}
