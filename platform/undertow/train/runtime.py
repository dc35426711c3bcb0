"""Settings of the training process: keep freed memory, full float32 precision, flush denormals to zero.

    keep_freed_memory()
    use_full_precision()
    with denormals_flushed(config.train.flush_denormals):
        ...

**Freed memory.** A training step of a few hundred time steps frees some megabytes at its end and allocates them again
at once. By default glibc returns them to the system each time, and the system clears them before the next allocation.
That takes up to a tenth of a step.

**Precision.** By default, cuDNN's recurrent kernels round float32 factors to TF32, which has the 10 bits of a float16,
and no other product of torch's does. The same network would then have other numbers by a fused kernel than by steps.

**Denormals** are numbers too small for the full precision of their format; a vanishing gradient has many. A CPU
computes with them many times slower: a GRU trained through 400 steps on a loss at the last one took 640 ms a step
with them and 146 ms without (2 threads). So training flushes them to zero by default (`train.flush_denormals`); a
float32 gradient below 1.2e-38 is then 0, instead of losing precision down to 1.4e-45.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_KEPT = 256 << 20
_LARGEST = 32 << 20  # the largest value that glibc accepts


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MiB of freed memory; returns False if the C library is not glibc."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and bool(set_option(_MMAP_THRESHOLD, _LARGEST) and set_option(_TRIM_THRESHOLD, _KEPT))


def use_full_precision() -> None:
    """Let cuDNN compute float32 in float32, unless this process has set matrix products to TF32, too."""
    if torch.backends.cuda.matmul.fp32_precision != "tf32":
        torch.backends.cudnn.allow_tf32 = False  # the new name, `rnn.fp32_precision`, breaks `cudnn.flags()`


@contextmanager
def denormals_flushed(flush: bool) -> Iterator[None]:
    """Flush denormals to zero inside the block, and restore the previous setting; does nothing if not `flush`.

    torch's threads inherit the setting from the thread that starts them: enter the block before the first kernel.
    """
    before = _flushes()
    if flush and not before:
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flush and not before:
            torch.set_flush_denormal(False)


def _flushes() -> bool:
    """Whether this thread flushes denormals now; torch can set this but not report it."""
    return bool(torch.tensor(1e-40, dtype=torch.float32) * 1.0 == 0)
