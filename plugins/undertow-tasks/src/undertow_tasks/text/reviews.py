"""Generated reviews: one sentence each, from a small grammar.

    texts, labels = reviews("val")

"my sister found the film far from dull before the rain began" is positive: the adjective is negative and the words
before it negate it, so that no single word determines the label. Half are positive. N sentences.
"""

from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from undertow import Split, draws

SIZES: dict[Split, int] = {"train": 2000, "val": 300, "test": 300}
"""Number of sentences of each split; all are different. The splits are the same for every seed."""

LONGEST = 15
"""Number of words of the longest sentence."""

_WHO = ("i", "we", "my sister", "our neighbour", "the critic", "a friend")
_WHAT = ("film", "play", "concert", "meal", "book", "hotel", "walk", "talk")
_ADVERBS = ("", "very", "truly")
_NEGATIONS = ("not", "never", "far from")
_GOOD = ("good", "lovely", "clever", "warm", "fresh", "bright", "gentle", "fine")
_BAD = ("bad", "dull", "awful", "cold", "stale", "noisy", "clumsy", "poor")
_AFTER = (
    "",
    "on monday",
    "last summer",
    "before the rain began",
    "from the third row",
    "when the lights went out",
    "on the way home",
    "after a long day at work",
)
_SIZES = (len(_WHO), len(_WHAT), 2, len(_ADVERBS), len(_GOOD), len(_AFTER))


@cache
def reviews(split: Split) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The sentences of a split and their labels, `(N,)`: 1 positive, 0 negative, alternating."""
    first = sum(size for name, size in SIZES.items() if list(SIZES).index(name) < list(SIZES).index(split))
    labels_N = np.arange(first, first + SIZES[split]) % 2
    order = draws.permutation(0, "sentiment/reviews", prod(_SIZES))
    codes_N = order[first : first + SIZES[split]]
    return tuple(_sentence(int(c), int(y)) for c, y in zip(codes_N, labels_N, strict=True)), labels_N


def _sentence(code: int, label: int) -> str:
    """The sentence with this label and number, which is below the product of `_SIZES`; all numbers give another one."""
    who, what, negated, modifier, adjective, after = (int(part) for part in np.unravel_index(code, _SIZES))
    modifying = (_NEGATIONS if negated else _ADVERBS)[modifier]
    verdict = (_GOOD if label != negated else _BAD)[adjective]
    return " ".join(f"{_WHO[who]} found the {_WHAT[what]} {modifying} {verdict} {_AFTER[after]}".split())
