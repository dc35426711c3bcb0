"""Sentences and their translations as token numbers: the user's own, or generated ones. N pairs.

data = pairs(TranslationOptions(train="pairs.tsv"))
data.splits["train"].source, data.target.tokens
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from undertow import RequestError, Split
from undertow_tasks.holdout import held_out
from undertow_tasks.text.encoded import Encoded
from undertow_tasks.text.options import TranslationOptions
from undertow_tasks.text.sentences import sentences
from undertow_tasks.text.sources import HELD_OUT, SPLITS, given, read_splits
from undertow_tasks.text.tokens import Vocabulary, words_of

KEY = "task.options.translation"


class Pairs(NamedTuple):
    """The sentences of a split: those that are read, and those that are to be written."""

    source: Encoded
    target: Encoded


class Parallel(NamedTuple):
    """Every split, and the vocabularies of the training sentences."""

    splits: dict[Split, Pairs]
    source: Vocabulary
    target: Vocabulary


_Tokenized = Sequence[tuple[tuple[str, ...], tuple[str, ...]]]
"""Pairs of sentences, each split into words."""


@cache
def pairs(options: TranslationOptions) -> Parallel:
    """Read and encode the sentences.

    Raises:
        RequestError: A file, a row or a dataset is not what the options say.
    """
    found = _own_sentences(options) if given(options, "translation") else {split: sentences(split) for split in SPLITS}
    parts: dict[Split, _Tokenized] = {
        split: [(tuple(words_of(source)), tuple(words_of(target))) for source, target in texts]
        for split, texts in found.items()
    }
    for split in SPLITS:
        if split not in parts:
            parts["train"], parts[split] = _hold_out(options.dataset or options.train, parts["train"])
    source, target = (Vocabulary.of((pair[side] for pair in parts["train"]), options.vocabulary) for side in (0, 1))
    splits = {
        split: Pairs(Encoded.of([one for one, _ in part], source), Encoded.of([two for _, two in part], target))
        for split, part in parts.items()
    }
    return Parallel(splits, source, target)


def _own_sentences(options: TranslationOptions) -> dict[Split, Sequence[tuple[str, str]]]:
    """The user's sentences, of each split that the data have."""
    if options.source == options.target:
        raise RequestError(f"task `translation` reads and writes one column: set {KEY}.target to another")
    columns = {options.source: f"{KEY}.source", options.target: f"{KEY}.target"}
    rows_of = read_splits(options, columns, "translation", header=options.header)
    return {split: [(row[options.source], row[options.target]) for row in rows] for split, rows in rows_of.items()}


def _hold_out(source: str, sentence_pairs: _Tokenized) -> tuple[_Tokenized, _Tokenized]:
    """The pairs that are kept, and those held out; all translations of a sentence are in the same part."""
    seen: dict[tuple[str, ...], int] = {}
    sentence_N = [seen.setdefault(sentence, len(seen)) for sentence, _ in sentence_pairs]
    _, held = held_out(source, np.zeros(len(seen), dtype=np.int64), HELD_OUT)
    is_held_N = np.isin(sentence_N, held)
    kept, out = (np.flatnonzero(part_N).tolist() for part_N in (~is_held_N, is_held_N))
    return [sentence_pairs[number] for number in kept], [sentence_pairs[number] for number in out]
