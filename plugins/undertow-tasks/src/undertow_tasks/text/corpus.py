"""Labelled texts, from wherever the options say, as token numbers. N texts, S tokens of all of them."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow import RequestError, Split
from undertow_tasks.files.hub import hub_rows
from undertow_tasks.files.rows import Row, read_rows
from undertow_tasks.holdout import held_out
from undertow_tasks.text.options import SentimentOptions
from undertow_tasks.text.reviews import reviews
from undertow_tasks.text.tokens import Vocabulary, characters_of, words_of

AT = "task.options.sentiment"
SPLITS: tuple[Split, ...] = ("train", "test", "val")
"""In the order in which they are held out, where the data come without."""
HELD_OUT = 0.1
_MEANS = {"positive": 1, "pos": 1, "1": 1, "negative": 0, "neg": 0, "0": 0}
_FEWEST = 2


class Texts(NamedTuple):
    """The texts of a split.

    Attributes:
        flat: Their tokens, end to end, `(S,)`.
        start: Where each starts, `(N,)`.
        end: Where each ends, `(N,)`: one past its last token.
        label: 1 positive, 0 negative, `(N,)`.
    """

    flat: Tensor
    start: Tensor
    end: Tensor
    label: Tensor


class Corpus(NamedTuple):
    """Every split, and the vocabulary of the training texts."""

    splits: dict[Split, Texts]
    vocabulary: Vocabulary


_Labelled = tuple[Sequence[Sequence[str]], NDArray[np.int64]]
"""Texts as tokens, and the label of each."""


@cache
def corpus(options: SentimentOptions) -> Corpus:
    """Read and number the texts.

    Raises:
        RequestError: A file, a row or a dataset is not what the options say.
    """
    cut = words_of if options.tokens == "word" else characters_of
    found = _brought(options) if _brings(options) else {split: reviews(split) for split in SPLITS}
    labelled: dict[Split, _Labelled] = {s: ([cut(text) for text in texts], y_N) for s, (texts, y_N) in found.items()}
    for split in SPLITS:
        if split not in labelled:
            labelled["train"], labelled[split] = _part(options.dataset or options.train, *labelled["train"])
    vocabulary = Vocabulary.of(labelled["train"][0], options.vocabulary)
    return Corpus({split: _numbered(vocabulary, *labelled[split]) for split in SPLITS}, vocabulary)


def _brings(options: SentimentOptions) -> bool:
    """Whether the texts are the user's own."""
    if options.dataset and (options.train or options.val or options.test):
        raise RequestError(f"task `sentiment` has two sources: take out either {AT}.dataset or the files")
    if (options.val or options.test) and not options.train:
        raise RequestError(f"task `sentiment` has no training texts: set {AT}.train to a file, as val or test is")
    return bool(options.dataset or options.train)


def _brought(options: SentimentOptions) -> dict[Split, tuple[Sequence[str], NDArray[np.int64]]]:
    """The user's texts and their labels, of each split that they bring."""
    columns = {options.text: f"{AT}.text", options.label: f"{AT}.label"}
    files: dict[Split, str] = {"train": options.train, "val": options.val, "test": options.test}
    if options.dataset:
        rows_of = hub_rows(options.dataset, columns, option=f"{AT}.dataset")
    else:
        rows_of = {s: read_rows(file, columns, option=f"{AT}.{s}") for s, file in files.items() if file}
    for rows in rows_of.values():
        if len(rows) < _FEWEST:
            raise RequestError(f"{rows[0].at}: the only row; expected {_FEWEST} or more in each split")
    return {
        split: (
            [row[options.text] for row in rows],
            np.array([_meaning(row, options.label) for row in rows], dtype=np.int64),
        )
        for split, rows in rows_of.items()
    }


def _meaning(row: Row, column: str) -> int:
    said = row[column].strip()
    if said.lower() not in _MEANS:
        raise RequestError(
            f"{row.at}: label `{said}` in column `{column}`; expected positive, pos or 1, or negative, neg or 0; "
            f"write one of them there, or set {AT}.label to the column that holds them"
        )
    return _MEANS[said.lower()]


def _part(at: str, texts: Sequence[Sequence[str]], labels_N: NDArray[np.int64]) -> tuple[_Labelled, _Labelled]:
    """The texts that stay, and those held out."""
    stay_N, held_N = held_out(at, labels_N, HELD_OUT)
    return ([texts[i] for i in stay_N], labels_N[stay_N]), ([texts[i] for i in held_N], labels_N[held_N])


def _numbered(vocabulary: Vocabulary, texts: Sequence[Sequence[str]], labels_N: NDArray[np.int64]) -> Texts:
    flat_S, bounds = vocabulary.encode(texts)
    flat, bound = torch.from_numpy(flat_S), torch.from_numpy(bounds)
    return Texts(flat, bound[:-1], bound[1:], torch.from_numpy(labels_N))
