"""Series of the UCR and UEA archives, split and z-normalised, from .ts files or through aeon.

    data = archive(UcrOptions(train="GunPoint_TRAIN.ts", test="GunPoint_TEST.ts"))
    data.splits["val"], data.classes

A fifth of the training series is held out for validation, since the archives have no such split, and another fifth for
the test if no test file is given. N series, T time, I channels.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow import RequestError, Split
from undertow_tasks.files.ts import Series, read_ts
from undertow_tasks.holdout import held_out
from undertow_tasks.series.options import UcrOptions

KEY = "task.options.ucr"
HELD_OUT = 0.2
_FEWEST = 2

Labelled = tuple[Sequence[NDArray[np.float32]], NDArray[np.int64]]
"""Series, `(T, I)` each, and the number of each one's class, `(N,)`."""


class Archive(NamedTuple):
    """The series of a dataset.

    Attributes:
        splits: Series and classes by split.
        classes: The names of the classes, sorted; a class's number is its index.
        source: Where the data are from, for messages.
    """

    splits: dict[Split, Labelled]
    classes: tuple[str, ...]
    source: str


@cache
def archive(options: UcrOptions) -> Archive:
    """Read series, normalise them, and split them.

    Raises:
        RequestError: No source is named, or two, or the data are not valid.
    """
    if options.dataset and (options.train or options.test):
        raise RequestError(f"task `ucr` has two sources: remove either {KEY}.dataset or the files")
    if not options.dataset and not options.train:
        raise RequestError(
            f"task `ucr` has no data: set {KEY}.train to a .ts file, such as GunPoint_TRAIN.ts, or {KEY}.dataset to "
            "a name of the archive, such as GunPoint"
        )
    source = options.dataset or options.train
    if options.dataset:
        train, test = (_by_aeon(options.dataset, split) for split in ("train", "test"))
    else:
        train = read_ts(options.train, f"{KEY}.train")
        test = read_ts(options.test, f"{KEY}.test") if options.test else []
    classes = tuple(sorted({each.label for each in train}))
    if len(classes) < _FEWEST:
        raise RequestError(f"{source}: every series is of class `{classes[0]}`; expected two classes or more")
    splits: dict[Split, Labelled] = {"train": _labelled(train, train[0], classes)}
    if test:
        if len(test) < _FEWEST:
            raise RequestError(f"{test[0].at}: the only series; expected {_FEWEST} or more in {KEY}.test")
        splits["test"] = _labelled(test, train[0], classes)
    else:
        splits["train"], splits["test"] = _part(source, *splits["train"])
    splits["train"], splits["val"] = _part(source, *splits["train"])
    return Archive(splits, classes, source)


def _by_aeon(name: str, split: str) -> list[Series]:
    try:
        load_classification = import_module("aeon.datasets").load_classification
    except ImportError as error:
        raise RequestError(
            f"{KEY}.dataset: `{name}` needs the library aeon; type: pip install 'undertow-tasks[series]', or "
            f"set {KEY}.train to a .ts file"
        ) from error
    try:
        values, labels = load_classification(name, split=split)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{KEY}.dataset: aeon cannot give `{name}`: {error}; expected a name of the archive, such as GunPoint, and "
            "a network the first time"
        ) from error
    return [
        Series(f"{name}[{split}]:{number}", np.asarray(value_IT, dtype=np.float64).T, str(label))
        for number, (value_IT, label) in enumerate(zip(values, labels, strict=True))
    ]


def _labelled(series: Sequence[Series], first: Series, classes: Sequence[str]) -> Labelled:
    """Normalised series and the numbers of their classes."""
    width = first.values.shape[1]
    for each in series:
        if each.values.shape[1] != width:
            raise RequestError(f"{each.at}: {each.values.shape[1]} channels, but {width} at {first.at}")
        if each.label not in classes:
            raise RequestError(
                f"{each.at}: class `{each.label}` is not among the training series, which have {', '.join(classes)}"
            )
        if not np.isfinite(each.values).all():
            raise RequestError(f"{each.at}: a value is missing or infinite; expected finite numbers")
    number = {name: index for index, name in enumerate(classes)}
    labels_N = np.array([number[each.label] for each in series], dtype=np.int64)
    return [_normalised(each.values) for each in series], labels_N


def _normalised(values_TI: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean 0 and variance 1 over time, channel by channel; a channel that does not move becomes 0."""
    centred_TI = values_TI - values_TI.mean(axis=0)
    spread_I = centred_TI.std(axis=0)
    still_I = spread_I <= 1e-12 * np.maximum(np.abs(values_TI).max(axis=0), 1e-300)
    return np.where(still_I, 0.0, centred_TI / np.where(still_I, 1.0, spread_I)).astype(np.float32)


def _part(at: str, series: Sequence[NDArray[np.float32]], labels_N: NDArray[np.int64]) -> tuple[Labelled, Labelled]:
    """The series that stay, and those held out."""
    stay_N, held_N = held_out(at, labels_N, HELD_OUT)
    return ([series[i] for i in stay_N], labels_N[stay_N]), ([series[i] for i in held_N], labels_N[held_N])
