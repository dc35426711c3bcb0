"""Hugging Face datasets, by name or from a folder, through the library `datasets` (extra `data`).

    columns = {"text": "task.options.sentiment.text", "label": "task.options.sentiment.label"}
    rows = hub_rows("stanfordnlp/imdb", columns, option="task.options.sentiment.dataset")["train"]

A folder may be one that `save_to_disk` wrote, or hold files that `load_dataset` reads, such as Parquet. The splits are
those named train, validation (val, valid, dev) and test.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow import RequestError
from undertow_tasks.files.rows import Row, checked

if TYPE_CHECKING:
    from undertow import Split  # importing it imports torch

_SPLIT_NAMES: "dict[Split, tuple[str, ...]]" = {
    "train": ("train",),
    "val": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
_SAVED_FILES = ("dataset_dict.json", "state.json")


def hub_splits(name: str, option: str) -> "Mapping[Split, Any]":
    """The `datasets.Dataset` of each of train, val and test that the dataset has.

    Args:
        name: A name on the Hugging Face Hub, or a folder, from the working folder.
        option: The option that named it.

    Raises:
        RequestError: `datasets` is not installed, the dataset cannot be read, or it has no split train.
    """
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise RequestError(
            f"{option}: reading `{name}` needs the library `datasets`; type: pip install 'undertow-tasks[data]'"
        ) from error
    folder = Path(name).expanduser()
    try:
        if any((folder / file).is_file() for file in _SAVED_FILES):
            found = datasets.load_from_disk(str(folder))
        else:
            found = datasets.load_dataset(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise RequestError(
            f"{option}: cannot read dataset `{name}`: {error}; expected a folder, or a name such as stanfordnlp/imdb, "
            "which needs a network the first time"
        ) from error
    by_name = found if isinstance(found, Mapping) else {"train": found}
    splits = {
        split: next(by_name[each] for each in names if each in by_name)
        for split, names in _SPLIT_NAMES.items()
        if any(each in by_name for each in names)
    }
    if "train" not in splits:
        raise RequestError(f"{option}: dataset `{name}` has no split `train`; there is {', '.join(map(str, by_name))}")
    return splits


def hub_rows(name: str, columns: Mapping[str, str], *, option: str) -> "dict[Split, list[Row]]":
    """The rows of each split that the dataset has; `name` and `option` as in `hub_splits`, `columns` as in `read_rows`.

    A class number is replaced by its name where the dataset has names; -1 is no class. A split other than train without
    a complete row counts as absent: test sets are published without labels.

    Raises:
        RequestError: As `hub_splits`, or a row lacks one of the columns.
    """
    rows: dict[Split, list[Row]] = {}
    for split, dataset in hub_splits(name, option).items():
        at = f"{name}[{split}]"
        checked(at, dict.fromkeys(dataset.column_names, "present"), columns)
        values = {column: _with_class_names(dataset, column) for column in columns}
        complete = [all(value not in ("", None) for value in row) for row in zip(*values.values(), strict=True)]
        if split != "train" and not any(complete):
            continue
        rows[split] = [
            checked(f"{at}:{number}", dict(zip(columns, row, strict=True)), columns)
            for number, row in enumerate(zip(*values.values(), strict=True))
        ]
        if not rows[split]:
            raise RequestError(f"{at}: no rows; set {option} to a dataset with rows")
    return rows


def _with_class_names(dataset: Any, column: str) -> list[Any]:
    """A column, with class names for class numbers; the empty string where the class is not given."""
    names = getattr(dataset.features[column], "names", None)
    values = dataset[column]
    if names is None:
        return list(values)
    return [names[value] if value is not None and value >= 0 else "" for value in values]
