"""The user's own texts, from files or from a Hugging Face dataset, as rows of each split; imports no torch.

if given(options, "sentiment"):
    rows = read_splits(options, {"text": "task.options.sentiment.text"}, "sentiment")["train"]
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from undertow import RequestError
from undertow_tasks.files.hub import hub_rows
from undertow_tasks.files.rows import Row, read_rows
from undertow_tasks.text.options import SourceOptions

if TYPE_CHECKING:
    from undertow import Split  # importing it imports torch

HELD_OUT = 0.1
"""The share of the training examples that is held out for each split that the data do not have."""
SPLITS: "tuple[Split, ...]" = ("train", "test", "val")
"""The splits, in the order in which they are held out."""


def given(options: SourceOptions, task: str) -> bool:
    """Whether the options name the user's own texts; without, the task generates its texts.

    Raises:
        RequestError: Files and a dataset are named, or files without one to train on.
    """
    if options.dataset and (options.train or options.val or options.test):
        raise RequestError(
            f"task `{task}` has two sources: remove either task.options.{task}.dataset or the files (train, val, test)"
        )
    if (options.val or options.test) and not options.train:
        raise RequestError(f"task `{task}` has nothing to train on: set task.options.{task}.train to a file")
    return bool(options.dataset or options.train)


def read_splits(
    options: SourceOptions, columns: Mapping[str, str], task: str, *, header: bool = True
) -> "dict[Split, list[Row]]":
    """The rows of each split that the user's data have.

    Args:
        options: The task's options.
        columns: The columns that are needed, each with the option that names it.
        task: The task's name.
        header: Whether the first row of a table names its columns.

    Raises:
        RequestError: A file or a dataset cannot be read, or a row lacks one of the columns.
    """
    if options.dataset:
        return hub_rows(options.dataset, columns, option=f"task.options.{task}.dataset")
    files: dict[Split, str] = {"train": options.train, "val": options.val, "test": options.test}
    return {
        split: read_rows(file, columns, option=f"task.options.{task}.{split}", header=header)
        for split, file in files.items()
        if file
    }
