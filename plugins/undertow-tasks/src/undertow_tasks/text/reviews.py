"""Generated reviews: one sentence each, from a small grammar in which the last word on the matter is not the last word.

    texts, labels = reviews("val")

"my sister found the film far from dull before the rain began" is positive: the adjective is negative and what stands
before it turns it round, so that no single word tells. Half are positive. N sentences.
"""

from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from undertow import Split, draws

SIZES: dict[Split, int] = {"train": 2000, "val": 300, "test": 300}
"""Sentences of each split, no two of them alike. Which ones is fixed, whatever the seed."""

LONGEST = 15
"""Words of the longest sentence."""

_WHO = ("i", "we", "my sister", "our neighbour", "the critic", "a friend")
_WHAT = ("film", "play", "concert", "meal", "book", "hotel", "walk", "talk")
_PLAIN = ("", "very", "truly")
_TURNED = ("not", "never", "far from")
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
_WAYS = len(_PLAIN)
_KINDS = (len(_WHO), len(_WHAT), 2, _WAYS, len(_GOOD), len(_AFTER))


@cache
def reviews(split: Split) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The sentences of a split and their labels, `(N,)`: 1 positive, 0 negative, in turn."""
    first = sum(size for name, size in SIZES.items() if list(SIZES).index(name) < list(SIZES).index(split))
    labels_N = np.arange(first, first + SIZES[split]) % 2
    order = draws.permutation(0, "sentiment/reviews", prod(_KINDS))
    codes_N = order[first : first + SIZES[split]]
    return tuple(_sentence(int(c), int(y)) for c, y in zip(codes_N, labels_N, strict=True)), labels_N


def _sentence(code: int, label: int) -> str:
    """The sentence of a number below the product of all kinds, which says `label`; no two numbers say the same."""
    who, what, turned, way, adjective, after = (int(part) for part in np.unravel_index(code, _KINDS))
    words = (_TURNED if turned else _PLAIN)[way]
    verdict = (_GOOD if label != turned else _BAD)[adjective]
    return " ".join(f"{_WHO[who]} found the {_WHAT[what]} {words} {verdict} {_AFTER[after]}".split())
