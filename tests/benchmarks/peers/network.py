"""The network that the bare loops and the peers train: one fused layer and a linear answer from its last output.

    torch.manual_seed(0)
    network = Network(64, cell="gru")
    answer_B1 = network(x_BTI)

It draws the same first weights as the platform, in the same order. T time, B batch, I input, H hidden.
"""

import torch
from torch import Tensor, nn

_KERNELS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Network(nn.Module):
    """For a task with two inputs and one answer.

    Args:
        hidden_size: Width H.
        cell: `rnn`, `lstm` or `gru`.
    """

    def __init__(self, hidden_size: int, cell: str = "lstm") -> None:
        super().__init__()
        self.kernel = _KERNELS[cell](2, hidden_size)
        if cell == "lstm":
            with torch.no_grad():  # the platform's start: a forget bias of 1 in all
                self.kernel.bias_ih_l0.chunk(4)[1].fill_(1.0)
                self.kernel.bias_hh_l0.chunk(4)[1].zero_()
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x_BTI: Tensor) -> Tensor:
        """`(B, T, 2)` to `(B, 1)`."""
        y_TBH, _ = self.kernel(x_BTI.transpose(0, 1))
        return self.head(y_TBH[-1])
