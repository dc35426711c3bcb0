"""Hold out examples for validation or test where the data have no split: the same ones for every seed. N examples."""

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
