"""The duration of training, without validation, probes and saving."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Counts seconds of training; the first step, which warms up kernels, is left out.

    Args:
        on_gpu: Synchronise with the GPU when it pauses and resumes, so that queued work counts where it was queued.
            False for a run on the CPU: synchronising would take memory of a GPU that the run does not use.
    """

    def __init__(self, *, on_gpu: bool = False) -> None:
        self._on_gpu = on_gpu
        self._seconds = 0.0
        self._steps = 0
        self._since: float | None = None

    def step(self) -> None:
        """Count one training step; the clock starts after the first."""
        if self._since is None:
            self._since = self._now()
        else:
            self._steps += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause inside the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        """Stop counting."""
        if self._since is not None:
            self._seconds += self._now() - self._since

    def resume(self) -> None:
        """Continue counting."""
        if self._since is not None:
            self._since = self._now()

    @property
    def seconds_per_step(self) -> float | None:
        """Mean seconds of a step up to the last pause; None before the second step."""
        return self._seconds / self._steps if self._steps and self._seconds else None

    def _now(self) -> float:
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()
