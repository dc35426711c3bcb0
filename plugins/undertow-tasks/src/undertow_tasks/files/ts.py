"""The .ts format of the UCR and UEA archives: a header, then one series a line with its class at the end.

    @classLabel true walk run
    @data
    0.1,0.3,0.2:1.0,1.1,0.9:walk

Colons separate the channels, commas the steps; ``?`` is a missing value; a line that starts with # or % is a comment.
Bagnall et al. 2018, arXiv 1811.00075. T time, I channels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow import RequestError
from undertow_tasks.files.text import read_text

_MISSING = ("?", "nan")


class Series(NamedTuple):
    """One series.

    Attributes:
        at: Its file and line, such as ``GunPoint_TRAIN.ts:12``.
        values: The values, `(T, I)`; a missing value is interpolated between its neighbours in time.
        label: Its class.
    """

    at: str
    values: NDArray[np.float64]
    label: str


def read_ts(path: str, option: str) -> list[Series]:
    """Read the series of a file.

    Args:
        path: The file, from the working folder.
        option: The option that named it.

    Raises:
        RequestError: The file cannot be read, a series has no class, or the file is not in this format.
    """
    series: list[Series] = []
    classes: list[str] | None = None
    in_data = False
    for number, raw_line in enumerate(read_text(path, option).split("\n"), start=1):
        at, line = f"{path}:{number}", raw_line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        if in_data:
            series.append(_series(at, line, classes))
            _check_channels(series[0], series[-1])
        elif line.lower() == "@data":
            in_data = True
        elif line.startswith("@"):
            classes = _header(at, line, classes)
        else:
            raise RequestError(f"{at}: a series before the line `@data`; expected a header line, `@name value`")
    if not series:
        raise RequestError(f"{path}: no series after a line `@data`; set {option} to a .ts file with series")
    return series


def _header(at: str, line: str, classes: list[str] | None) -> list[str] | None:
    """The classes that are known after this header line."""
    name, *values = line[1:].split() or [""]
    is_true = bool(values) and values[0].lower() == "true"
    match name.lower():
        case "timestamps" if is_true:
            raise RequestError(f"{at}: series with time stamps; expected values alone, evenly spaced")
        case "targetlabel" if is_true:
            raise RequestError(f"{at}: series with a number to be predicted; expected classes, `@classLabel true …`")
        case "classlabel" if not is_true:
            raise RequestError(f"{at}: series without classes; expected `@classLabel true` and their names")
        case "classlabel":
            return values[1:] or None
        case _:
            return classes


def _series(at: str, line: str, classes: list[str] | None) -> Series:
    *channels, label = (part.strip() for part in line.split(":"))
    if not channels or not label:
        raise RequestError(f"{at}: a series without a class; expected values, a colon, and its class at the end")
    if classes is not None and label not in classes:
        raise RequestError(f"{at}: class `{label}` is not one of the header's: {', '.join(classes)}; correct either")
    values = [_channel(f"{at}: channel {number}", channel) for number, channel in enumerate(channels)]
    if len({len(value) for value in values}) > 1:
        steps = ", ".join(str(len(value)) for value in values)
        raise RequestError(f"{at}: channels of {steps} steps; expected the same number in each")
    return Series(at, np.stack(values, axis=1), label)


def _channel(at: str, text: str) -> NDArray[np.float64]:
    fields = [field.strip() for field in text.split(",")]
    values_T = np.empty(len(fields))
    for step, field in enumerate(fields):
        try:
            values_T[step] = np.nan if field.lower() in _MISSING else float(field)
        except ValueError as error:
            raise RequestError(f"{at}, step {step}: `{field}` is no number; expected one, or ? if missing") from error
    if np.isinf(values_T).any():
        raise RequestError(f"{at}: an infinite value; expected finite numbers, or ? where one is missing")
    missing_T = np.isnan(values_T)
    if missing_T.all():
        raise RequestError(f"{at}: every value is missing; remove the series")
    steps_T = np.arange(len(values_T))
    return np.interp(steps_T, steps_T[~missing_T], values_T[~missing_T])


def _check_channels(first: Series, other: Series) -> None:
    count, expected = other.values.shape[1], first.values.shape[1]
    if count != expected:
        raise RequestError(
            f"{other.at}: {count} channels, but {expected} at {first.at}; expected the same number in each series"
        )
