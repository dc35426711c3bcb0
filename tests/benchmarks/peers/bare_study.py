"""The bare loops of a study: training loops over a grid of networks, with nothing but their losses.

    python -m benchmarks.peers.bare_study GRID          # GRID as `Grid.as_argument` writes it

Each process takes the next combination when it is done with one. The processes are forked from one that has imported
torch, so that this is paid for once.
"""

import multiprocessing
import time

import numpy as np
import torch
from torch import Tensor

from benchmarks.grid import Combination, Grid, Outcome, Report
from benchmarks.peers.network import Network
from undertow import Batch, Split
from undertow_tasks.memory.adding import Adding
from undertow_tasks.memory.options import AddingOptions


def main() -> None:
    """Train all, and report."""
    grid = Grid.from_command_line()
    torch.optim.Adam([torch.zeros(1)])  # the first one imports a second's worth of torch: once, before the fork
    start = time.perf_counter()
    combinations = grid.combinations()
    with multiprocessing.get_context("fork").Pool(grid.workers, initializer=prepare, initargs=(grid,)) as pool:
        outcomes = pool.starmap(train, [(each, grid) for each in combinations], chunksize=1)
    by_name = {each.name: outcome for each, outcome in zip(combinations, outcomes, strict=True)}
    Report(time.perf_counter() - start, by_name).write()


def prepare(grid: Grid) -> None:
    """Set up one process."""
    torch.set_flush_denormal(True)  # as the platform does by default: the same numbers at the same speed
    if grid.threads:
        torch.set_num_threads(grid.threads)


def train(combination: Combination, grid: Grid) -> Outcome:
    """Train one network, and validate it."""
    task = Adding(AddingOptions(), combination.length, combination.seed)
    torch.manual_seed(combination.seed)
    network = Network(grid.hidden_size, combination.cell)
    optimizer = torch.optim.Adam(network.parameters(), lr=grid.lr)

    def loss_of(batch: Batch) -> Tensor:
        return (network(batch.input) - batch.target).square().mean()

    def batch(split: Split, number: int) -> Batch:
        return task.batch(split, np.arange(number * grid.batch_size, (number + 1) * grid.batch_size))

    for number in range(grid.train_batches):
        optimizer.zero_grad()
        loss = loss_of(batch("train", number))
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        val_losses = [loss_of(batch("val", number)) for number in range(grid.val_batches)]
    return Outcome(loss.item(), torch.stack(val_losses).mean().item())


if __name__ == "__main__":
    main()
