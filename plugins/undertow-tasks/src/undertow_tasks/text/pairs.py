"""Sentences and their translations, from wherever the options say, as token numbers. N pairs, S tokens of all of them.

known = pairs(TranslationOptions(train="pairs.tsv"))
known.splits["train"].source, known.target.tokens
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from undertow import RequestError, Split
from undertow_tasks.files.hub import hub_rows
from undertow_tasks.files.rows import read_rows
from undertow_tasks.holdout import held_out
from undertow_tasks.text.options import TranslationOptions
from undertow_tasks.text.sentences import sentences
from undertow_tasks.text.tokens import Vocabulary, words_of

AT = "task.options.translation"
SPLITS: tuple[Split, ...] = ("train", "test", "val")
"""In the order in which they are held out, where the data come without."""
HELD_OUT = 0.1


class Side(NamedTuple):
    """The sentences of a split in one language.

    Attributes:
        flat: Their tokens, end to end, `(S,)`.
        start: Where each starts, `(N,)`.
        end: Where each ends, `(N,)`: one past its last token.
    """

    flat: Tensor
    start: Tensor
    end: Tensor

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence."""
        return int((self.end - self.start).max())


class Pairs(NamedTuple):
    """The sentences of a split: those that are read, and those that are to be written."""

    source: Side
    target: Side


class Parallel(NamedTuple):
    """Every split, and the vocabularies of the training sentences."""

    splits: dict[Split, Pairs]
    source: Vocabulary
    target: Vocabulary


_Words = Sequence[tuple[tuple[str, ...], tuple[str, ...]]]
"""Pairs of sentences, each cut into words."""


@cache
def pairs(options: TranslationOptions) -> Parallel:
    """Read and number the sentences.

    Raises:
        RequestError: A file, a row or a dataset is not what the options say.
    """
    found = _brought(options) if _brings(options) else {split: sentences(split) for split in SPLITS}
    cut: dict[Split, _Words] = {
        split: [(tuple(words_of(source)), tuple(words_of(target))) for source, target in texts]
        for split, texts in found.items()
    }
    for split in SPLITS:
        if split not in cut:
            cut["train"], cut[split] = _part(options.dataset or options.train, cut["train"])
    source, target = (Vocabulary.of((pair[side] for pair in cut["train"]), options.vocabulary) for side in (0, 1))
    numbered = {
        s: Pairs(_side(source, [one for one, _ in c]), _side(target, [two for _, two in c])) for s, c in cut.items()
    }
    return Parallel(numbered, source, target)


def _brings(options: TranslationOptions) -> bool:
    """Whether the sentences are the user's own."""
    if options.dataset and (options.train or options.val or options.test):
        raise RequestError(f"task `translation` has two sources: take out either {AT}.dataset or the files")
    if (options.val or options.test) and not options.train:
        raise RequestError(f"task `translation` has nothing to train on: set {AT}.train to a file, as val or test is")
    return bool(options.dataset or options.train)


def _brought(options: TranslationOptions) -> dict[Split, Sequence[tuple[str, str]]]:
    """The user's sentences, of each split that they bring."""
    if options.source == options.target:
        raise RequestError(f"task `translation` reads and writes one column: set {AT}.target to another")
    columns = {options.source: f"{AT}.source", options.target: f"{AT}.target"}
    files: dict[Split, str] = {"train": options.train, "val": options.val, "test": options.test}
    if options.dataset:
        rows_of = hub_rows(options.dataset, columns, option=f"{AT}.dataset")
    else:
        rows_of = {
            split: read_rows(file, columns, option=f"{AT}.{split}", header=options.header)
            for split, file in files.items()
            if file
        }
    return {split: [(row[options.source], row[options.target]) for row in rows] for split, rows in rows_of.items()}


def _part(at: str, words: _Words) -> tuple[_Words, _Words]:
    """The pairs that stay, and those held out: all translations of a sentence go the same way."""
    seen: dict[tuple[str, ...], int] = {}
    sentence_N = [seen.setdefault(source, len(seen)) for source, _ in words]
    _, held = held_out(at, np.zeros(len(seen), dtype=np.int64), HELD_OUT)
    away_N = np.isin(sentence_N, held)
    stay, away = (np.flatnonzero(part_N).tolist() for part_N in (~away_N, away_N))
    return [words[number] for number in stay], [words[number] for number in away]


def _side(vocabulary: Vocabulary, texts: Sequence[Sequence[str]]) -> Side:
    flat_S, bounds = vocabulary.encode(texts)
    bound = torch.from_numpy(bounds)
    return Side(torch.from_numpy(flat_S), bound[:-1], bound[1:])
