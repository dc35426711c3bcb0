"""The options of the tasks over text, under ``task.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options


class CharLmOptions(Options):
    """Options of `char-lm`."""

    file: str = ""
    """A text file, UTF-8; without one, the documentation topics that come with Python."""


class SourceOptions(Options):
    """Where a task's texts are read from; without `train` and `dataset`, they are generated."""

    train: str = ""
    """A .csv, .tsv or .jsonl file to train on, with an example in each row."""

    val: str = ""
    """The same for validation; without it, a tenth of the training examples."""

    test: str = ""
    """The same for the test; without it, a tenth of the training examples."""

    dataset: str = ""
    """A Hugging Face dataset, by name (stanfordnlp/imdb) or as a folder, instead of files."""


class SentimentOptions(SourceOptions):
    """Options of `sentiment`; without `train` and `dataset`, the texts are a small generated set."""

    text: str = "text"
    """The column with the text."""

    label: str = "label"
    """The column with the label: positive, pos or 1; negative, neg or 0."""

    tokens: Literal["word", "char"] = "word"
    """What a step reads: a word, in lower case, or a character."""

    vocabulary: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Size of the vocabulary: the most frequent tokens of the training texts; all others are one token."""


class TranslationOptions(SourceOptions):
    """Options of `translation`; without `train` and `dataset`, the sentences are generated, English to Korean."""

    source: str = "en"
    """The column that is read."""

    target: str = "ko"
    """The column that is to be written."""

    header: bool = True
    """Whether the first row of a table names its columns; without, the first is read, the second to be written."""

    vocabulary: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Size of each language's vocabulary: the most frequent words of the training sentences; all others are one."""
