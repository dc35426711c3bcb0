"""Hold out examples for validation or test where the data have no split: the same ones for every seed. N examples.

`held_out` chooses at random. Where neighbours in the data are alike, because one person has written them, `blocks` cuts
the data into contiguous parts.
"""

import numpy as np
from numpy.typing import NDArray

from undertow import RequestError, draws

_FEWEST = 2


def held_out(at: str, labels_N: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the examples that are kept, and of those held out, in ascending order.

    About the same share of every class is held out: examples are put in a fixed random order, sorted by class, and
    taken at equal distances.

    Args:
        at: Where the examples are from, for the message.
        labels_N: The class of each.
        share: The share to hold out, between 0 and 1; at least two examples.

    Raises:
        RequestError: There are too few examples.
    """
    size = len(labels_N)
    count = max(_FEWEST, round(size * share))
    if size < _FEWEST + count:
        raise RequestError(f"{at}: {size} examples are too few to hold {count} out; use more, or a file per split")
    order_N = draws.permutation(0, "tasks/held-out", size)
    order_N = order_N[np.argsort(labels_N[order_N], kind="stable")]
    rank_N = np.arange(size)
    taken_N = (rank_N + 1) * count // size > rank_N * count // size
    return np.sort(order_N[~taken_N]), np.sort(order_N[taken_N])


def blocks(
    at: str, labels_N: NDArray[np.int64], held: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the examples for training, validation and test: contiguous blocks of every class.

    The examples of a class, in the order of the data, are cut in three: the last `held` are for the test, the `held`
    before them for validation. In each part the classes take turns, so that the first examples of it are of all
    classes: of C classes with `held` examples each, every C examples have one of each.

    Args:
        at: Where the examples are from, for the message.
        labels_N: The class of each.
        held: How many examples of each class to hold out for validation, and as many for the test.

    Raises:
        RequestError: A class has too few examples to leave one for training.
    """
    parts: tuple[list[tuple[int, int, int]], ...] = ([], [], [])
    for label in np.unique(labels_N):
        own = np.flatnonzero(labels_N == label)
        if len(own) < 2 * held + 1:
            raise RequestError(
                f"{at}: {len(own)} examples of class {label} are too few to hold out {held} for validation and {held} "
                f"for the test; use more, or a file per split"
            )
        for part, block in zip(parts, np.split(own, [len(own) - 2 * held, len(own) - held]), strict=True):
            part += [(turn, int(label), int(index)) for turn, index in enumerate(block)]
    train, val, test = (np.array([index for *_, index in sorted(part)], dtype=np.int64) for part in parts)
    return train, val, test
