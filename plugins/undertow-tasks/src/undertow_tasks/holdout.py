"""Hold examples out for validation or test where the data come without: the same ones whatever the seed. N examples."""

import numpy as np
from numpy.typing import NDArray

from undertow import RequestError, draws

_FEWEST = 2


def held_out(at: str, labels_N: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the examples that stay, and of those held out, in rising order.

    Every class gives up about the same share: examples are put in a fixed random order, sorted by class, and taken
    at equal distances.

    Args:
        at: What the examples are, for the message.
        labels_N: The class of each.
        share: How many to hold out, between 0 and 1; at least two examples.

    Raises:
        RequestError: There are too few.
    """
    size = len(labels_N)
    count = max(_FEWEST, round(size * share))
    if size < _FEWEST + count:
        raise RequestError(f"{at}: {size} examples are too few to hold {count} out; give more, or a file a split")
    order_N = draws.permutation(0, "tasks/held-out", size)
    order_N = order_N[np.argsort(labels_N[order_N], kind="stable")]
    rank_N = np.arange(size)
    taken_N = (rank_N + 1) * count // size > rank_N * count // size
    return np.sort(order_N[~taken_N]), np.sort(order_N[taken_N])
