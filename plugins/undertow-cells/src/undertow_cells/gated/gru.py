"""The gated recurrent unit. B batch, T time, I input, H hidden; gates stacked in torch's order r, z, n.

Cho et al. 2014, arXiv 1406.1078. The paper's first version has the reset gate after the matrix product, as cuDNN and
torch compute it; its third version has it before, as most of the literature.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import GateKind, State, unroll_by_steps
from undertow_cells.fused import FusedCell
from undertow_cells.gated.options import GruOptions
from undertow_cells.projection import projection


class GRU(FusedCell):
    """There is no separate memory: the share z of the state is kept.

        r, z = σ(W x + b_W + U h + b_U),   one block of rows each
        n    = tanh(W x + b_W + r ∘ (U h + b_U))
        h'   = (1 - z) ∘ n + z ∘ h

    With `reset="before"`, which no fused kernel computes, the steps run one by one, and

        n    = tanh(W x + b_W + U (r ∘ h) + b_U)

    Initialisation: everything from U(-1/√H, 1/√H), as in torch; `recurrent_init="orthogonal"` makes each gate's U a
    random rotation.
    """

    keeps = "z"  # the share of the state that is kept; read by the probe `timescale`

    def __init__(self, input_size: int, hidden_size: int, options: GruOptions, length: int) -> None:
        super().__init__(nn.GRU(input_size, hidden_size), options, length)
        self.reset_before = options.reset == "before"
        if options.recurrent_init == "orthogonal":
            self._make_orthogonal()

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in torch's fused kernel; one by one with `reset="before"`, which the kernel does not compute."""
        if self.reset_before:
            return unroll_by_steps(self, x_TBI, state)
        return super().scan(x_TBI, state)

    def project(self, x_TBI: Tensor) -> Tensor:
        """W x + b_W, `(T, B, 3H)`; the step adds b_U, since r scales U h + b_U."""
        return projection(x_TBI, self.W, self.b_W)

    def step(self, z: Tensor, state: State) -> State:
        """One step; `z` is `(B, 3H)`."""
        _, keep, new = self._activations(z, state[0])
        h_BH = state[0]
        return (torch.lerp(new.to(h_BH.dtype), h_BH, keep.to(h_BH.dtype)),)

    def gates(self, z: Tensor, state: State) -> Mapping[str, tuple[Tensor, GateKind]]:
        """The reset gate `r`, the update gate `z`, the candidate `n`."""
        reset, keep, new = self._activations(z, state[0])
        return {"r": (reset, "sigmoid"), "z": (keep, "sigmoid"), "n": (new, "tanh")}

    def _activations(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The paper's r, z and n."""
        H = self.hidden_size
        z_gates, z_new = z.split_with_sizes((2 * H, H), -1)
        if self.reset_before:
            (U_gates, U_new), (b_gates, b_new) = (each.split_with_sizes((2 * H, H)) for each in (self.U, self.b_U))
            reset, keep = torch.sigmoid(z_gates + functional.linear(h, U_gates, b_gates)).chunk(2, -1)
            return reset, keep, torch.tanh(z_new + functional.linear(reset * h, U_new, b_new))
        u_gates, u_new = functional.linear(h, self.U, self.b_U).split_with_sizes((2 * H, H), -1)
        reset, keep = torch.sigmoid(z_gates + u_gates).chunk(2, -1)
        return reset, keep, torch.tanh(torch.addcmul(z_new, reset, u_new))
