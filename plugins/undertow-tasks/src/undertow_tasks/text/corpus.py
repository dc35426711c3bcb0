"""Labelled texts as token numbers: the user's own, or generated reviews. N texts."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import RequestError, Split
from undertow_tasks.files.rows import Row
from undertow_tasks.holdout import held_out
from undertow_tasks.text.encoded import Encoded
from undertow_tasks.text.options import SentimentOptions
from undertow_tasks.text.reviews import reviews
from undertow_tasks.text.sources import HELD_OUT, SPLITS, given, read_splits
from undertow_tasks.text.tokens import Vocabulary, characters_of, words_of

KEY = "task.options.sentiment"
_LABELS = {"positive": 1, "pos": 1, "1": 1, "negative": 0, "neg": 0, "0": 0}
_FEWEST = 2


class LabelledTexts(NamedTuple):
    """The texts of a split.

    Attributes:
        texts: Their tokens.
        label: 1 positive, 0 negative, `(N,)`.
    """

    texts: Encoded
    label: Tensor


class Corpus(NamedTuple):
    """Every split, and the vocabulary of the training texts."""

    splits: dict[Split, LabelledTexts]
    vocabulary: Vocabulary


_Tokenized = tuple[Sequence[Sequence[str]], NDArray[np.int64]]
"""Texts split into tokens, and the label of each."""


@cache
def corpus(options: SentimentOptions) -> Corpus:
    """Read and encode the texts.

    Raises:
        RequestError: A file, a row or a dataset is not what the options say.
    """
    tokenize = words_of if options.tokens == "word" else characters_of
    found = _own_texts(options) if given(options, "sentiment") else {split: reviews(split) for split in SPLITS}
    parts: dict[Split, _Tokenized] = {s: ([tokenize(text) for text in texts], y_N) for s, (texts, y_N) in found.items()}
    for split in SPLITS:
        if split not in parts:
            parts["train"], parts[split] = _hold_out(options.dataset or options.train, *parts["train"])
    vocabulary = Vocabulary.of(parts["train"][0], options.vocabulary)
    splits = {
        split: LabelledTexts(Encoded.of(texts, vocabulary), torch.from_numpy(labels_N))
        for split, (texts, labels_N) in parts.items()
    }
    return Corpus(splits, vocabulary)


def _own_texts(options: SentimentOptions) -> dict[Split, tuple[Sequence[str], NDArray[np.int64]]]:
    """The user's texts and their labels, of each split that the data have."""
    rows_of = read_splits(options, {options.text: f"{KEY}.text", options.label: f"{KEY}.label"}, "sentiment")
    for rows in rows_of.values():
        if len(rows) < _FEWEST:
            raise RequestError(f"{rows[0].at}: the only row; expected {_FEWEST} or more in each split")
    return {
        split: (
            [row[options.text] for row in rows],
            np.array([_label(row, options.label) for row in rows], dtype=np.int64),
        )
        for split, rows in rows_of.items()
    }


def _label(row: Row, column: str) -> int:
    value = row[column].strip()
    if value.lower() not in _LABELS:
        raise RequestError(
            f"{row.at}: label `{value}` in column `{column}`; expected positive, pos or 1, or negative, neg or 0; "
            f"write one of them there, or set {KEY}.label to the column that has them"
        )
    return _LABELS[value.lower()]


def _hold_out(
    source: str, texts: Sequence[Sequence[str]], labels_N: NDArray[np.int64]
) -> tuple[_Tokenized, _Tokenized]:
    """The texts that are kept, and those held out."""
    kept_N, held_N = held_out(source, labels_N, HELD_OUT)
    return ([texts[i] for i in kept_N], labels_N[kept_N]), ([texts[i] for i in held_N], labels_N[held_N])
