"""What can be set on each task, under ``task.options.<name>``; imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from undertow import Options


class CharLmOptions(Options):
    """Options of `char-lm`."""

    file: str = ""
    """A text file, UTF-8; without one, the documentation topics that come with Python."""


class SentimentOptions(Options):
    """Options of `sentiment`; without `train` and `dataset`, the texts are a small generated set."""

    train: str = ""
    """A .csv, .tsv or .jsonl file with the texts to train on."""

    val: str = ""
    """The same for validation; without it, a tenth of the training texts."""

    test: str = ""
    """The same for the test; without it, a tenth of the training texts."""

    dataset: str = ""
    """A Hugging Face dataset, by name (stanfordnlp/imdb) or a folder, instead of files."""

    text: str = "text"
    """The column with the text."""

    label: str = "label"
    """The column with the label: positive, pos or 1; negative, neg or 0."""

    tokens: Literal["word", "char"] = "word"
    """What one step shows: a word, in lower case, or a character."""

    vocabulary: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """How many different tokens are told apart, the most frequent of the training texts; the rest are one."""


class TranslationOptions(Options):
    """Options of `translation`; without `train` and `dataset`, the sentences are generated, English to Korean."""

    train: str = ""
    """A .tsv, .csv or .jsonl file with a sentence and its translation in each row, to train on."""

    val: str = ""
    """The same for validation; without it, a tenth of the training sentences."""

    test: str = ""
    """The same for the test; without it, a tenth of the training sentences."""

    dataset: str = ""
    """A Hugging Face dataset, by name or a folder, instead of files; with a column for each language."""

    source: str = "en"
    """The column that is read."""

    target: str = "ko"
    """The column that is to be written."""

    header: bool = True
    """Whether the first row of a table names its columns; without, the first is read, the second to be written."""

    vocabulary: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """How many different words are told apart in each language, the most frequent of training; the rest are one."""
