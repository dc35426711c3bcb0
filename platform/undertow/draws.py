"""Counter-based random numbers: example 7 is the same example in every batch, on every rank, in every process.

A draw is a pure function of (seed, stream, index, position), so a whole batch is computed together, and any process can
compute any part of it. There is no state to save, restore or synchronise:

    u_BN = uniforms(seed=0, stream="adding/train", indices=np.array([3, 7]), count=5)

The generator is SplitMix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195), evaluated directly at a position.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DOUBLE = 2.0**-53


def uniforms(seed: int, stream: str, indices: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Draw `count` uniform numbers in [0, 1) for each index.

    Args:
        seed: The run's seed.
        stream: The name of a use, such as ``"adding/train"``; two streams share no numbers.
        indices: Which examples, shape `(B,)`, each >= 0.
        count: How many numbers per example.

    Returns:
        Shape `(B, count)`; row b depends on `indices[b]` alone.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    key_B = _mix(np.uint64(int.from_bytes(digest, "little")) + _GOLDEN * (indices.astype(np.uint64) + np.uint64(1)))
    counter_N = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    bits_BN = _mix(key_B[:, None] + counter_N[None, :])
    return (bits_BN >> np.uint64(11)).astype(np.float64) * _DOUBLE


def integers(seed: int, stream: str, indices: NDArray[np.int64], count: int, below: int) -> NDArray[np.int64]:
    """Draw `count` integers in `[0, below)` for each index; shapes as in `uniforms`."""
    return (uniforms(seed, stream, indices, count) * below).astype(np.int64)


def permutation(seed: int, stream: str, size: int) -> NDArray[np.int64]:
    """Return a random order of `0..size-1`, a pure function of its arguments; shape `(size,)`."""
    keys = uniforms(seed, stream, np.arange(size, dtype=np.int64), 1)[:, 0]
    return np.argsort(keys, kind="stable")


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Stafford's variant 13); unsigned arithmetic wraps around, as intended."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
