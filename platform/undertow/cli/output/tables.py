"""Tables for a terminal. No word is broken and no name is cut where the terminal has room for its longest word.

print_table(["name", "summary"], [["lstm", "long short-term memory"]])

A table that is too wide is printed in blocks of columns, each with the names of its rows, or row by row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from undertow.cli.output.console import out

GAP = 2
"""Columns of the terminal between two columns of a table."""


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    keys: int = 0,
    gap: int = GAP,
) -> None:
    """Print a table within the width of the terminal.

    Args:
        columns: The headings.
        rows: One text for each column.
        title: The text above the table.
        right: The columns that are aligned to the right.
        keys: If the table is too wide, it is printed in blocks that each begin with so many columns; 0: row by row.
        gap: Columns of the terminal between two columns of the table.
    """
    console, rows = out(), list(rows)
    for grid in tables(columns, rows, console.width, title=title, right=right, keys=keys, gap=gap):
        console.print(grid)


def tables(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    title: str = "",
    right: Sequence[str] = (),
    keys: int = 0,
    gap: int = GAP,
) -> list[Table | Text]:
    """What `print_table` prints on a terminal of this width: one table, or several blocks."""
    if keys and not fits(columns, rows, width, gap):
        blocks = _blocks(columns, rows, width, keys, gap)
    else:
        blocks = [range(len(columns))]
    found: list[Table | Text] = []
    for places in blocks:
        chosen = [columns[place] for place in places]
        texts = [[row[place] for place in places] for row in rows]
        if found:
            found.append(Text())
        if least_width(chosen, texts, gap) > width:
            found.append(_row_by_row(chosen, texts, title))
        else:
            found.append(table(chosen, texts, title=title, right=right, width=width, gap=gap))
        title = ""
    return found


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    width: int | None = None,
    gap: int = GAP,
) -> Table:
    """Build a table with one rule below its headings, whose lines wrap between words.

    Args:
        columns: The headings.
        rows: One text for each column.
        title: The text above the table.
        right: The columns that are aligned to the right.
        width: Columns of the terminal, at least `least_width`; None: those of the terminal of standard output.
        gap: Columns of the terminal between two columns of the table.
    """
    rows = list(rows)
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    grid.padding = (0, gap - 1, 0, 0)  # and the column of the box between them
    for column, room in zip(columns, _widths(columns, rows, width or out().width, gap), strict=True):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        grid.add_column(column, justify=justify, overflow="fold", width=room)
    for row in rows:
        grid.add_row(*row)
    return grid


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, gap: int = GAP) -> bool:
    """Whether a table fits into this width without a wrapped line."""
    return sum(_longest(texts, str.splitlines) for texts in _by_column(columns, rows)) + _gaps(columns, gap) <= width


def least_width(columns: Sequence[str], rows: Sequence[Sequence[str]], gap: int = GAP) -> int:
    """The columns of the terminal that a table needs to break no word."""
    return sum(_longest(texts, str.split) for texts in _by_column(columns, rows)) + _gaps(columns, gap)


def key_values(values: Mapping[str, str]) -> Table:
    """Build a table with one key and its value per line, without headings."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in values.items():
        grid.add_row(key, value)
    return grid


def format_value(value: object) -> str:
    """Format a value of a configuration as YAML writes it; the entries of a list are separated by commas."""
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _blocks(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, keys: int, gap: int
) -> list[Sequence[int]]:
    """The columns of each block: the keys, and as many of the others as fit."""
    blocks: list[list[int]] = []
    for place in range(keys, len(columns)):
        places = [*(blocks[-1] if blocks else range(keys)), place]
        grown = [columns[each] for each in places], [[row[each] for each in places] for row in rows]
        if blocks and fits(*grown, width, gap):
            blocks[-1].append(place)
        else:
            blocks.append([*range(keys), place])
    return list(blocks)


def _row_by_row(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Text:
    """The first text of each row, and the others below it, a line each."""
    lines = [title] if title else []
    for first, *others in rows:
        lines.append(first)
        named = zip(columns[1:], others, strict=True)
        lines += [f"  {' '.join(column.split())}: {text}" for column, text in named if text]
    return Text("\n".join(lines), overflow="fold")


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, gap: int) -> list[int]:
    """The width of each column: its longest line where all fit, else the widest columns are made narrower."""
    by_column = _by_column(columns, rows)
    least = [_longest(texts, str.split) for texts in by_column]
    most = [_longest(texts, str.splitlines) for texts in by_column]
    room = width - _gaps(columns, gap)
    widest = max(most, default=0)
    while widest and sum(_limited(least, most, widest)) > room:
        widest -= 1
    return _limited(least, most, widest)


def _limited(least: Sequence[int], most: Sequence[int], widest: int) -> list[int]:
    return [max(low, min(high, widest)) for low, high in zip(least, most, strict=True)]


def _by_column(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts of each column, the first one of which is a name and wraps nowhere."""
    texts = [[column, *(row[place] for row in rows)] for place, column in enumerate(columns)]
    return [[text.replace(" ", "_") for text in texts[0]], *texts[1:]] if texts else []


def _longest(texts: Iterable[str], parts: Callable[[str], list[str]]) -> int:
    return max((cell_len(part) for text in texts for part in parts(text)), default=0)


def _gaps(columns: Sequence[str], gap: int) -> int:
    return gap * (len(columns) - 1)
