"""The list of what the plugins offer, by distribution.

    print_list("cells", [describe(entry) for entry in registry.cells.values()])

On a terminal too narrow for a line for each, the list stays about a screen long: cells are two in a line with the first
words of their summaries, and cells of a distribution that puts its name before all of theirs by their names alone.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from undertow.cli.output.console import out, write
from undertow.cli.output.tables import fits, format_value, print_table

Document = Mapping[str, Any]

_INDENT = "  "
_ASIDE = 3
"""Columns of the terminal between two entries of a line."""


def print_list(kind: str, documents: Sequence[Document]) -> None:
    """Print the entries of one kind.

    Args:
        kind: What they are.
        documents: From `describe.describe`, with ``built`` if they were built.
    """
    columns, rows = _columns(kind, documents)
    right = ["parameters"]
    if fits(columns, rows, out().width):
        print_table(columns, rows, right=right)
        return
    left_out = {"from", *(["summary"] if "parameters" in columns else [])}
    kept = [place for place, column in enumerate(columns) if column not in left_out]
    of = sorted(zip(documents, rows, strict=True), key=lambda each: str(each[0]["from"]))
    for number, (source, members) in enumerate(groupby(of, lambda each: str(each[0]["from"]))):
        pairs = list(members)
        some = [document for document, _ in pairs]
        if number:
            out().print()
        if kind == "cells" and "parameters" not in columns:
            _print_cells(source, some)
        else:
            texts = [[row[place] for place in kept] for _, row in pairs]
            print_table([columns[place] for place in kept], texts, title=source, right=right)
    if kind == "cells":
        out().print("\nOne of them: undertow list cells NAME", soft_wrap=True)


def print_names(documents: Sequence[Document]) -> None:
    """Print the names alone, a line each."""
    for document in documents:
        write(f"{document['name']}\n")


def _columns(kind: str, documents: Sequence[Document]) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the whole table."""
    extra = {"cells": ["state"], "tasks": ["shape"]}.get(kind, [])
    columns = ["name", "summary", *extra, "from"]
    rows = [[format_value(document[column]) for column in columns] for document in documents]
    if any("parameters" in document.get("built", {}) for document in documents):
        columns.append("parameters")
        for row, document in zip(rows, documents, strict=True):
            number = document["built"].get("parameters")
            row.append("–" if number is None else f"{number:,}")
    return columns, rows


def _print_cells(source: str, documents: Sequence[Document]) -> None:
    """Print the cells of a distribution below its name."""
    names = [document["name"] for document in documents]
    prefix = names[0].partition("/")[0] + "/" if "/" in names[0] else ""
    width = out().width - len(_INDENT)
    if prefix and all(name.startswith(prefix) for name in names):
        short = [name.removeprefix(prefix) for name in names]
        heading = f"{source}: {prefix}NAME" if len(names) > 1 else source
        lines = textwrap.wrap(", ".join(short), width, break_long_words=False, break_on_hyphens=False)
    else:
        heading = source
        longest = max(map(len, names))
        each = (width - _ASIDE) // 2 if longest < width // 3 else width
        texts = [f"{document['name']:{longest}}  {document['summary']}" for document in documents]
        cut = [_first_words(text, each) for text in texts]
        half = -(-len(cut) // 2) if each < width else len(cut)
        rest = [*cut[half:], *[""] * half]
        lines = [f"{first:{each + _ASIDE}}{second}".rstrip() for first, second in zip(cut[:half], rest, strict=False)]
    out().print("\n".join([heading, *(_INDENT + line for line in lines)]), soft_wrap=True)


def _first_words(text: str, width: int) -> str:
    """The words that a line of this width has room for, up to the end of a clause if one ends in its second half."""
    if len(text) <= width:
        return text
    cut = text[: width + 1]
    clause = max(map(cut.rfind, (":", ";", ",")))
    return cut[:clause] if clause > width // 2 else text[:width].rpartition(" ")[0] + "…"
