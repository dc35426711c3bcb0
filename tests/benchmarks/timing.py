"""Timing side by side: A B A B ..., so that other load on the machine affects all contestants alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor, nn

from undertow import Batch

Seconds = Mapping[str, Sequence[float]]


def now() -> float:
    """The time, after the GPU has finished its queue."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def cpu_now() -> float:
    """Seconds of computation of this process, which other processes hardly change; with a GPU as `now`."""
    return now() if torch.cuda.is_available() else time.process_time()


def interleaved(
    contestants: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = now
) -> Seconds:
    """Seconds of each contestant in each round, after one round that does not count.

    Args:
        contestants: What to run, by name.
        rounds: How often each is timed.
        clock: Reads the seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for count in range(rounds + 1):
        for name, contestant in contestants.items():
            start = clock()
            contestant()
            if count > 0:
                seconds[name].append(clock() - start)
    return seconds


def forward_backward(network: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], None]:
    """A contestant: the output of a network, and the gradient of all its weights.

    Args:
        network: Whose gradients are forgotten before.
        forward: Its output.
    """

    def run() -> None:
        network.zero_grad(set_to_none=True)
        forward().square().mean().backward()

    return run


def training_step(network: nn.Module, batch: Batch) -> Callable[[], None]:
    """A contestant: one training step with Adam on the mean square of the error.

    Args:
        network: What is trained.
        batch: On its device; the same at every step.
    """
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (network(batch.input) - batch.target).square().mean().backward()
        optimizer.step()

    return step


def peak_bytes(contestant: Callable[[], object]) -> int:
    """The most memory of the GPU that it takes in addition to what is there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    contestant()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def ratios(seconds: Seconds, name: str, reference: str) -> list[float]:
    """How many times as long as the reference, round by round."""
    return [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]


def ratios_of_minima(seconds: Seconds, name: str, reference: str, rounds: int) -> list[float]:
    """How many times as long as the reference: of every so many rounds the fastest, which others disturbed least."""
    starts = range(0, len(seconds[name]), rounds)
    return [min(seconds[name][at : at + rounds]) / min(seconds[reference][at : at + rounds]) for at in starts]


def in_ms(seconds: Seconds, *names: str) -> str:
    """Median milliseconds for the table, such as ``61 / 102 ms``."""
    return " / ".join(f"{1e3 * median(seconds[name]):.3g}" for name in names) + " ms"


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
