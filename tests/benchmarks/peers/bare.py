"""The bare loop: a training loop with nothing else. The reference for the overhead of the others."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.network import Network
from benchmarks.setting import Setting
from benchmarks.timing import device, now
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions


def main() -> None:
    """Train, and report."""
    setting = Setting.from_command_line()
    torch.set_flush_denormal(True)  # as the platform does by default: the same numbers at the same speed
    task = Adding(AddingOptions(), setting.length, setting.seed)
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
