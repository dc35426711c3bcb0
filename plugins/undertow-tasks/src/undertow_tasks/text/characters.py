"""A text as numbers, one a character, in three blocks: the first 80 % to train on, then 10 % each to validate and test.

    text = characters("")
    text.blocks["val"], text.alphabet

The splits are blocks, not scattered pieces, so that no more than two sentences are in two splits. Number 0 is any
character that is not in the training block. N characters of a block.
"""

import math
from functools import cache
from importlib import import_module
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import Split
from undertow_tasks.files.text import read_text

SHARES: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


class Characters(NamedTuple):
    """A text as character numbers.

    Attributes:
        source: Where the text is from, for messages.
        alphabet: The characters of the training block, sorted; the first has number 1.
        blocks: The characters of each split, `(N,)`, 32 bits.
        entropy: Entropy of the character frequencies of the training block, in nats.
    """

    source: str
    alphabet: str
    blocks: dict[Split, Tensor]
    entropy: float


@cache
def characters(file: str) -> Characters:
    """Read a text.

    Args:
        file: The file, from the working folder; empty for the topics of CPython's own documentation, sorted by name.

    Raises:
        RequestError: The file cannot be read.
    """
    text = read_text(file, "task.options.char-lm.file") if file else _topics()
    codes_N = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    first, blocks = 0, {}
    for split, share in SHARES.items():
        last = len(codes_N) if split == "test" else first + int(len(codes_N) * share)
        blocks[split] = codes_N[first:last]
        first = last
    alphabet, count = np.unique(blocks["train"], return_counts=True)
    return Characters(
        source=file or "Python's documentation topics",
        alphabet="".join(map(chr, alphabet)),
        blocks={split: torch.from_numpy(_numbered(block, alphabet)) for split, block in blocks.items()},
        entropy=-sum(share * math.log(share) for share in (count / count.sum()).tolist()),
    )


def _topics() -> str:
    topics: dict[str, str] = import_module("pydoc_data.topics").topics
    return "".join(topics[name] for name in sorted(topics))


def _numbered(codes_N: NDArray[np.uint32], alphabet: NDArray[np.uint32]) -> NDArray[np.int32]:
    place_N = np.searchsorted(alphabet, codes_N).clip(max=max(len(alphabet) - 1, 0))
    return np.where(alphabet[place_N] == codes_N, place_N + 1, 0).astype(np.int32)
