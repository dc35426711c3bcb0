"""Texts as token numbers, end to end, with a vocabulary from the training texts.

    words = Vocabulary.of(map(words_of, texts), most=10_000)
    flat, starts = words.encode(map(words_of, texts))

Number 0 is the pad, 1 any token that is not in the vocabulary.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN, FIRST = 0, 1, 2

_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words in lower case, with apostrophes inside a word; every other mark is a token of its own."""
    return _WORD.findall(text.lower())


def characters_of(text: str) -> list[str]:
    """Every character, without blanks at either end."""
    return list(text.strip())


class Vocabulary:
    """The tokens that have a number, the most frequent first, those of equal frequency by code point."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self._number = {token: number for number, token in enumerate(tokens, start=FIRST)}

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], most: int) -> "Vocabulary":
        """The vocabulary of texts that are split into tokens; at most `most` tokens are kept."""
        count = Counter(token for text in texts for token in text)
        return cls(sorted(count, key=lambda token: (-count[token], token))[:most])

    def __len__(self) -> int:
        """The number of token numbers, with pad and unknown."""
        return len(self.tokens) + FIRST

    def encode(self, texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The token numbers of all texts, end to end, and where each text starts, followed by the end of the last."""
        flat = np.fromiter((self._number.get(token, UNKNOWN) for text in texts for token in text), dtype=np.int32)
        return flat, np.array([0, *accumulate(len(text) for text in texts)], dtype=np.int64)
