"""Rows of named columns, from CSV, TSV or JSON lines, each with the line where it starts.

    columns = {"en": "task.options.translation.source", "ko": "task.options.translation.target"}
    for row in read_rows("pairs.tsv", columns, option="task.options.translation.train"):
        row.at, row["en"], row["ko"]

- ``.csv``: commas, quotes where a value has a comma or a line break (RFC 4180), the first row names the columns;
- ``.tsv``: tabs, quotes have no meaning, the first row names the columns unless `header` is false;
- ``.jsonl``, ``.ndjson``: one JSON object a line.

Every value is a string that is not blank; numbers and booleans of JSON lines are given as JSON writes them.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from undertow import RequestError
from undertow_tasks.files.text import read_text

_TABLES = {".csv": ",", ".tsv": "\t"}
_OBJECTS = (".jsonl", ".ndjson")


class Row:
    """One row.

    Attributes:
        at: Its file and line, such as ``reviews.csv:12``.
    """

    __slots__ = ("_values", "at")

    def __init__(self, at: str, values: Mapping[str, str]) -> None:
        self.at = at
        self._values = values

    def __getitem__(self, column: str) -> str:
        """The value of one of the columns that were read."""
        return self._values[column]


def read_rows(path: str, columns: Mapping[str, str], *, option: str, header: bool = True) -> list[Row]:
    """Read the rows of a file.

    Args:
        path: The file, from the working folder; its ending sets the format.
        columns: The columns that are needed, each with the option that names it.
        option: The option that names the file.
        header: Whether the first row of a table names its columns; without, they are `columns` in their order, and
            further columns are ignored.

    Raises:
        RequestError: The file cannot be read as what its ending says, or a row lacks one of the columns.
    """
    ending = Path(path).suffix.lower()
    if ending not in _TABLES and ending not in _OBJECTS:
        known = ", ".join([*_TABLES, *_OBJECTS])
        raise RequestError(f"{path}: unknown format `{ending}`; expected one of {known} for {option}")
    text = read_text(path, option)
    found = _objects(path, text) if ending in _OBJECTS else _table(path, text, _TABLES[ending], columns, header)
    rows = [checked(f"{path}:{line}", values, columns) for line, values in found]
    if not rows:
        raise RequestError(f"{path}: names columns but has no rows; set {option} to a file with rows")
    return rows


def checked(at: str, values: Mapping[str, object], columns: Mapping[str, str]) -> Row:
    """The row at `at`, after checking that each of `columns` is in `values` and not blank.

    Raises:
        RequestError: A column is missing or empty, or is neither text, number nor boolean.
    """
    strings = {}
    for name, option in columns.items():
        if name not in values:
            existing = ", ".join(f"`{each}`" for each in values) or "none"
            raise RequestError(f"{at}: no column `{name}`; there is {existing}: set {option} to one of them")
        strings[name] = _string(at, name, values[name])
        if not strings[name].strip():
            raise RequestError(f"{at}: column `{name}` is empty; fill it in or remove the row")
    return Row(at, strings)


def _string(at: str, name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise RequestError(f"{at}: column `{name}` holds a {type(value).__name__}; expected text or a number")


def _table(
    path: str, text: str, delimiter: str, columns: Mapping[str, str], header: bool
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The line and the values by column of every row that is not blank."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    names: Sequence[str] | None = None if header else list(columns)
    line = 1
    try:
        for fields in reader:
            if fields:
                if names is None:
                    names = _header(f"{path}:{line}", fields, columns)
                else:
                    yield line, _named(f"{path}:{line}", names, fields, exactly=header)
            line = reader.line_num + 1
    except csv.Error as error:
        kind = "TSV" if delimiter == "\t" else "CSV"
        raise RequestError(
            f"{path}:{line}: not {kind}: {error}; put a value with a quote or a line break in quotes, and double each "
            "quote in it"
        ) from error


def _header(at: str, fields: Sequence[str], columns: Mapping[str, str]) -> Sequence[str]:
    names = [field.strip() for field in fields]
    for name in columns:
        if names.count(name) > 1:
            raise RequestError(f"{at}: {names.count(name)} columns are called `{name}`; give each a different name")
    checked(at, dict.fromkeys(names, "present"), columns)  # so that the error names the header's line
    return names


def _named(at: str, names: Sequence[str], fields: Sequence[str], exactly: bool) -> Mapping[str, str]:
    if len(fields) < len(names) or (exactly and len(fields) > len(names)):
        raise RequestError(
            f"{at}: {len(fields)} columns, expected {len(names)}: {', '.join(names)}; "
            "a value that contains the delimiter splits a row"
        )
    return dict(zip(names, fields, strict=False))


def _objects(path: str, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The line and the values of every JSON object."""
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            values = json.loads(written)
        except json.JSONDecodeError as error:
            raise RequestError(f"{path}:{line}: not JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(values, dict):
            raise RequestError(f"{path}:{line}: a JSON {type(values).__name__}, expected one object a line, {{…}}")
        yield line, values
