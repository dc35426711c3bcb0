"""The bare loop: what a person writes who needs nothing but a trained network. The measure of everyone's overhead."""

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from benchmarks.timing import device, now
from undertow import Options
from undertow_tasks.adding import Adding


class Network(nn.Module):
    """One LSTM layer and a linear answer from its last output."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, hidden_size)
        with torch.no_grad():  # the platform's start: a forget bias of 1 in all
            self.lstm.bias_ih_l0.chunk(4)[1].fill_(1.0)
            self.lstm.bias_hh_l0.chunk(4)[1].zero_()
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x_BTI: Tensor) -> Tensor:
        """`(B, T, 2)` to `(B, 1)`."""
        y_TBH, _ = self.lstm(x_BTI.transpose(0, 1))
        return self.head(y_TBH[-1])


def main() -> None:
    """Train, and report."""
    setting = Setting.from_command_line()
    torch.set_flush_denormal(True)  # as the platform does by default: the same numbers at the same speed
    task = Adding(Options(), setting.length, setting.seed)
    torch.manual_seed(setting.seed)
    network = Network(setting.hidden_size).to(device())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    at: dict[int, float] = {}
    losses: list[Tensor] = []
    for step in range(1, setting.last + 1):
        x_BTI, target = task.batch("train", np.arange((step - 1) * setting.batch_size, step * setting.batch_size))
        optimizer.zero_grad()
        loss = (network(x_BTI.to(device())) - target.to(device())).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step in (setting.early, setting.first, setting.last):
            at[step] = now()
    setting.report(at, float(torch.stack(losses[-setting.log_every :]).mean()))


if __name__ == "__main__":
    main()
