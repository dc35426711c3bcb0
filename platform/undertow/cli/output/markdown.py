"""Markdown tables of cells, tasks, …, and of plugins, and their place in a README, between two markers:

    <!-- cells: begin -->
    …
    <!-- cells: end -->

`undertow list cells --write README.md` writes the table from the specs, so that it is never edited by hand.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.cli.output.console import emit, out, write
from undertow.cli.output.describe import inputs_of, trivial_scores_of
from undertow.cli.output.tables import format_value
from undertow.errors import RequestError
from undertow.plugins.kinds import BY_PLURAL, Plural

Document = Mapping[str, Any]


def markdown_table(kind: Plural, documents: Sequence[Document]) -> str:
    """Return a table with one row for each entry; columns that need a built object are left out if none was built.

    Args:
        kind: What the entries are.
        documents: From `describe.describe`, with ``built`` if they were built.
    """
    rows = [_ROWS[kind](document) for document in documents]
    columns = list(dict.fromkeys(column for row in sorted(rows, key=len, reverse=True) for column in row))
    lines = [columns, ["---"] * len(columns), *([row.get(column, "") for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_table_of_plugins(plugins: Sequence[Document]) -> str:
    """Return a table with one row for each distribution and the names that it registers.

    Args:
        plugins: Each with its `distribution`, and the names of its `cells`, its `tasks` and so on.
    """
    rows = [
        f"| {_code(each['distribution'])} | "
        + "<br>".join(f"{kind}: {', '.join(map(_code, each[kind]))}" for kind in BY_PLURAL if each[kind])
        + " |"
        for each in plugins
    ]
    return "\n".join(["| distribution | offers |", "| --- | --- |", *rows])


def output_markdown(subject: str, markdown: str, file: Path | None, *, as_json: bool) -> None:
    """Write a table into a file, or print it.

    Args:
        subject: The word in the markers: `cells`, `tasks`, … or `plugins`.
        markdown: The table.
        file: The file with the markers; None prints the table.
        as_json: Print one JSON object instead of text.

    Raises:
        RequestError: As `write_between_markers`.
    """
    changed = write_between_markers(file, subject, markdown) if file else False
    if as_json:
        emit({"markdown": markdown, **({"file": str(file), "changed": changed} if file else {})})
    elif file:
        out().print(f"{file}: the table of {subject} is {'written' if changed else 'unchanged'}", soft_wrap=True)
    else:
        write(f"{markdown}\n")


def write_between_markers(path: Path, subject: str, table: str) -> bool:
    """Replace the text between the two markers of a file.

    Args:
        path: The file.
        subject: The word in the markers.
        table: The new text.

    Returns:
        Whether the content of the file has changed.

    Raises:
        RequestError: The file cannot be read or written, or does not have exactly one pair of markers.
    """
    begin, end = f"<!-- {subject}: begin -->", f"<!-- {subject}: end -->"
    try:
        before = path.read_text(encoding="utf-8")
        between = re.compile(rf"(?<={re.escape(begin)}\n).*?(?=^{re.escape(end)}$)", re.DOTALL | re.MULTILINE)
        if len(between.findall(before)) != 1:
            raise RequestError(f"{path}: the table goes between two lines, `{begin}` and `{end}`: write them once.")
        after = between.sub(lambda _: f"\n{table}\n\n", before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: it is not UTF-8 text.") from error
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
        if "parameters" in built:  # absent when the cell cannot be built with these sizes
            row[f"parameters ({inputs_of(built)}, {built['width']} units)"] = f"{built['parameters']:,}"
    return row | _options_and_source(document)


def _block(document: Document) -> dict[str, str]:
    equation = "<br>".join(_code(line) for line in document["equation"].splitlines())
    return {"block": _code(document["name"]), "output": equation, "what": _prose(document["summary"])} | (
        _options_and_source(document)
    )


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
        row["trivial scores"] = trivial_scores_of(built)
        row["solved"] = _prose(built.get("solved", ""))
    return row | _options_and_source(document)


def _lengths(lengths: Document) -> str:
    until = " or more" if lengths["maximum"] is None else f" to {lengths['maximum']}"
    return f"{lengths['minimum']}{until} ({lengths['default']})"


def _probe(document: Document) -> dict[str, str]:
    row = {"probe": _code(document["name"]), "measures": _prose(document["summary"])}
    return row | _options_and_source(document)


def _optimizer(document: Document) -> dict[str, str]:
    update = "<br>".join(_code(line) for line in document["equation"].splitlines()) or _prose(document["summary"])
    row = {"optimizer": _code(document["name"]), "update": update, "packs": "yes" if document["elementwise"] else "no"}
    return row | _options_and_source(document)


def _callback(document: Document) -> dict[str, str]:
    row = {
        "callback": _code(document["name"]),
        "what": _prose(document["summary"]),
        "changes training": "yes" if document["changes_training"] else "no",
    }
    return row | _options_and_source(document)


_ROWS: Mapping[Plural, Callable[[Document], dict[str, str]]] = {
    "cells": _cell,
    "blocks": _block,
    "tasks": _task,
    "probes": _probe,
    "optimizers": _optimizer,
    "callbacks": _callback,
}


def _options_and_source(document: Document) -> dict[str, str]:
    defaults = [(option["name"], format_value(option["default"])) for option in document["options"]]
    options = [_code(f"{name}={default}".rstrip("=")) for name, default in defaults]
    return {"options": ", ".join(options), "source": _prose(document["paper"])}


def _code(text: str) -> str:
    """Format text as code; a bar is escaped, since it would end the cell of the table even inside code."""
    return "`" + text.strip().replace("|", r"\|") + "`"


def _prose(text: str) -> str:
    """Escape the characters that Markdown would read as markup."""
    return re.sub(r"[|*`]|<(?=\S)|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
