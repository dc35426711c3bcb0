"""Random strings, none of them in two splits, however short they are.

    x_BT = strings("reverse", seed=0, split="val", indices=np.arange(32), length=10, alphabet=8)

Half of all strings are for training, a quarter each for validation and for the test; of five symbols two, one and two
fifths. Which part a string is in depends on its last symbols and a hash of those before them, so that no part has a
mark that could be learned, and every symbol is as frequent as any other at every step: exactly, but for the last ones,
and there up to chance, which shows where the strings are few. As few last symbols as have four endings or more are
drawn from the endings that are the split's, all the others freely. B batch, T time.
"""

from itertools import count

import numpy as np
from numpy.typing import NDArray

from undertow import Split, draws

_PARTS = 4
_OF: dict[Split, tuple[int, int]] = {"train": (0, 2), "val": (2, 3), "test": (3, 4)}


def strings(
    name: str, seed: int, split: Split, indices: NDArray[np.int64], length: int, alphabet: int
) -> NDArray[np.int64]:
    """The strings of these numbers, `(B, T)`, of symbols below `alphabet`.

    Args:
        name: The task's, so that each draws its own.
        seed: The run's. It draws the strings, and does not move any to another split.
        split: Which part of all strings they are from.
        indices: Shape `(B,)`.
        length: T, 2 or more.
        alphabet: How many symbols there are, 2 or more.
    """
    ending = next(symbols for symbols in count(1) if alphabet**symbols >= _PARTS)
    endings = alphabet**ending
    first, end = (endings * part // _PARTS for part in _OF[split])
    x_BT = draws.integers(seed, f"{name}/{split}", indices, length, alphabet)
    mine_B = first + draws.integers(seed, f"{name}/{split}/ending", indices, 1, end - first)[:, 0]
    code_B = (mine_B + _hash(x_BT[:, :-ending], endings)) % endings
    x_BT[:, -ending:] = code_B[:, None] // alphabet ** np.arange(ending) % alphabet
    return x_BT


def _hash(x_BT: NDArray[np.int64], below: int) -> NDArray[np.int64]:
    """A number in `[0, below)` for each string, the same whatever the seed, `(B,)`."""
    weights_T = draws.integers(0, "formal/strings", np.arange(x_BT.shape[1]), 1, 2**53)[:, 0]
    keys_B = (x_BT * weights_T).sum(axis=1) & np.iinfo(np.int64).max  # overflow wraps, which a hash may
    return draws.integers(0, "formal/strings/hash", keys_B, 1, below)[:, 0]
