"""The base of the cells that run on torch's fused kernels: the kernel, and its weights by name for the single step.

T time, B batch, I input, H hidden, G gates (1, 3 or 4): the blocks of H rows that torch stacks in one matrix.
"""

from typing import cast

import torch
from torch import Tensor, nn

from undertow import Cell, Options, State


class FusedCell(Cell):
    """A cell with one state part h whose `scan` is a one-layer torch kernel; `step` uses the same weights.

    Attributes:
        kernel: An `nn.RNN`, `nn.GRU` or `nn.LSTM`, time first. It is initialised from U(-1/√H, 1/√H) unless the cell
            changes that.
    """

    def __init__(self, kernel: nn.RNNBase, options: Options, length: int) -> None:
        super().__init__(kernel.input_size, kernel.hidden_size, options, length)
        self.kernel = kernel

    @property
    def W(self) -> Tensor:
        """Weight of the input, `(GH, I)`."""
        return cast(Tensor, self.kernel.weight_ih_l0)

    @property
    def U(self) -> Tensor:
        """Weight of the state, `(GH, H)`."""
        return cast(Tensor, self.kernel.weight_hh_l0)

    @property
    def b_W(self) -> Tensor:
        """Bias added to W x, `(GH,)`."""
        return cast(Tensor, self.kernel.bias_ih_l0)

    @property
    def b_U(self) -> Tensor:
        """Bias added to U h, `(GH,)`."""
        return cast(Tensor, self.kernel.bias_hh_l0)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, `(B, H)`."""
        return (self.U.new_zeros(batch_size, self.hidden_size),)

    def scan(self, x_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps in torch's fused kernel."""
        y_TBH, h_1BH = self.kernel(x_TBI, state[0].unsqueeze(0).contiguous())
        return y_TBH, (h_1BH.squeeze(0),)

    def _make_orthogonal(self) -> None:
        """Replace each gate's U by a random rotation (or reflection)."""
        with torch.no_grad():
            for block_HH in self.U.chunk(len(self.U) // self.hidden_size):
                nn.init.orthogonal_(block_HH)
