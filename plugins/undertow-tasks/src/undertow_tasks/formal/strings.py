"""Random strings, none of them in two splits, at any length.

    x_BT = strings("reverse", seed=0, split="val", indices=np.arange(32), length=10, alphabet=8)

Half of all strings are for training, a quarter each for validation and test; with five symbols two, one and two fifths.
The split of a string is given by its last symbols and a hash of those before them, so that no split has a property that
could be learned, and every symbol is equally frequent at every step: exactly at all steps but the last ones, and there
up to chance, which is visible only if there are few strings. The ending, the fewest last symbols that make four
combinations or more, is drawn from the endings of the split; all other symbols are drawn freely. B batch, T time.
"""

from itertools import count

import numpy as np
from numpy.typing import NDArray

from undertow import Split, draws

_PARTS = 4
_PARTS_OF: dict[Split, tuple[int, int]] = {"train": (0, 2), "val": (2, 3), "test": (3, 4)}


def strings(
    name: str, seed: int, split: Split, indices: NDArray[np.int64], length: int, alphabet: int
) -> NDArray[np.int64]:
    """The strings of these indices, `(B, T)`, of symbols below `alphabet`.

    Args:
        name: The task's name: each task draws its own strings.
        seed: The run's seed. It sets which strings are drawn, not which split a string belongs to.
        split: The split.
        indices: Shape `(B,)`.
        length: T, 2 or more.
        alphabet: The number of different symbols, 2 or more.
    """
    ending, first, end = _endings(split, alphabet)
    endings = alphabet**ending
    x_BT = draws.integers(seed, f"{name}/{split}", indices, length, alphabet)
    number_B = first + draws.integers(seed, f"{name}/{split}/ending", indices, 1, end - first)[:, 0]
    code_B = (number_B + _hash(x_BT[:, :-ending], endings)) % endings
    x_BT[:, -ending:] = code_B[:, None] // alphabet ** np.arange(ending) % alphabet
    return x_BT


def share(split: Split, alphabet: int) -> float:
    """The share of all strings that are in a split."""
    ending, first, end = _endings(split, alphabet)
    return float((end - first) / alphabet**ending)


def _endings(split: Split, alphabet: int) -> tuple[int, int, int]:
    """How many symbols an ending has, and the first ending of a split and the one after its last."""
    ending = next(symbols for symbols in count(1) if alphabet**symbols >= _PARTS)
    first, end = (alphabet**ending * part // _PARTS for part in _PARTS_OF[split])
    return ending, first, end


def _hash(x_BT: NDArray[np.int64], below: int) -> NDArray[np.int64]:
    """A number in `[0, below)` for each string, the same for every seed, `(B,)`."""
    weights_T = draws.integers(0, "formal/strings", np.arange(x_BT.shape[1]), 1, 2**53)[:, 0]
    keys_B = (x_BT * weights_T).sum(axis=1) & np.iinfo(np.int64).max  # overflow wraps around: harmless in a hash
    return draws.integers(0, "formal/strings/hash", keys_B, 1, below)[:, 0]
