"""The catalogue as a table of Markdown, and its place in a README, between two markers:

    <!-- cells: begin -->
    …
    <!-- cells: end -->

So no table of cells, tasks or probes is kept by hand: `undertow list cells --write README.md` writes what their specs
say.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.cli.output.describe import text
from undertow.errors import RequestError

Document = Mapping[str, Any]


def markdown(kind: str, documents: Sequence[Document]) -> str:
    """A table with a row for each entry; what it needs built is left out where nothing was.

    Args:
        kind: `cells`, `tasks` or `probes`.
        documents: As `entries.describe` makes them, with `built` if they were built.
    """
    rows = [{"cells": _cell, "tasks": _task, "probes": _probe}[kind](document) for document in documents]
    columns = list(dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row))
    lines = [columns, ["---"] * len(columns), *([row.get(column, "") for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_of_plugins(plugins: Sequence[Document]) -> str:
    """A table with a row for each distribution and the names of all that it offers.

    Args:
        plugins: Each with `distribution`, and the names of its `cells`, `tasks` and `probes`.
    """
    rows = [
        f"| {_code(each['distribution'])} | "
        + "<br>".join(
            f"{kind}: {', '.join(map(_code, each[kind]))}" for kind in ("cells", "tasks", "probes") if each[kind]
        )
        + " |"
        for each in plugins
    ]
    return "\n".join(["| distribution | offers |", "| --- | --- |", *rows])


def write_between_markers(path: Path, kind: str, table: str) -> bool:
    """Put a table into a file, in place of what stands between its markers.

    Args:
        path: The file.
        kind: What the markers are called after.
        table: The new text.

    Returns:
        Whether the file is another now.

    Raises:
        RequestError: The file cannot be read or written, or has not exactly one pair of markers.
    """
    begin, end = f"<!-- {kind}: begin -->", f"<!-- {kind}: end -->"
    try:
        before = path.read_text(encoding="utf-8")
        place = re.compile(rf"(?<={re.escape(begin)}\n).*?(?=^{re.escape(end)}$)", re.DOTALL | re.MULTILINE)
        if len(place.findall(before)) != 1:
            raise RequestError(f"{path}: the table goes between two lines, `{begin}` and `{end}`: write them once.")
        after = place.sub(lambda _: f"\n{table}\n\n", before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.") from error
    return after != before


def _cell(document: Document) -> dict[str, str]:
    row = {
        "cell": _code(document["name"]),
        "update": "<br>".join(_code(line) for line in document["equation"].splitlines()) or _prose(document["summary"]),
        "state": ", ".join(document["state"]),
    }
    built = document.get("built")
    if built:
        row["runs on"] = built.get("runs_on", "")
        if "parameters" in built:  # else it could not be built with these sizes
            row[_parameters(built)] = f"{built['parameters']:,}"
    return row | _ending(document)


def _parameters(built: Document) -> str:
    inputs = "1 input" if built["inputs"] == 1 else f"{built['inputs']} inputs"
    return f"parameters ({inputs}, {built['width']} units)"


def _task(document: Document) -> dict[str, str]:
    lengths = document["lengths"]
    row = {
        "task": _code(document["name"]),
        "shape": document["shape"],
        "what": _prose(document["summary"]),
        "length": str(lengths["minimum"]) if lengths["maximum"] == lengths["minimum"] else _lengths(lengths),
        "scores": ", ".join(map(_code, document["metrics"])),
    }
    built = document.get("built")
    if built:
        trivial = built.get("trivial_loss")
        row["trivial loss"] = "" if trivial is None else f"{trivial:.4g}"
        row["solved"] = _prose(built.get("solved", ""))
    return row | _ending(document)


def _lengths(lengths: Document) -> str:
    until = " or more" if lengths["maximum"] is None else f" to {lengths['maximum']}"
    return f"{lengths['minimum']}{until} ({lengths['default']})"


def _probe(document: Document) -> dict[str, str]:
    return {"probe": _code(document["name"]), "measures": _prose(document["summary"])} | _ending(document)


def _ending(document: Document) -> dict[str, str]:
    options = [_code(f"{option['name']}={text(option['default'])}".rstrip("=")) for option in document["options"]]
    return {"options": ", ".join(options), "source": _prose(document["paper"])}


def _code(words: str) -> str:
    """Verbatim; a bar would end the cell of the table even there."""
    return "`" + words.strip().replace("|", r"\|") + "`"


def _prose(words: str) -> str:
    """With a backslash before what Markdown would take for more than itself."""
    return re.sub(r"[|*`]|<(?=\S)|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(words.split()))
