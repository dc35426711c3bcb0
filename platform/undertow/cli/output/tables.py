"""Tables for a terminal.

out().print(table(["name", "summary"], [["lstm", "long short-term memory"]]))
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_ANY_WIDTH = 10_000


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> Table:
    """Build a table with one rule below its headings. Only the texts of the first column, the names, are never broken.

    Args:
        columns: The headings.
        rows: One text for each column.
        title: The text above the table.
        right: The columns that are aligned to the right.
    """
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        grid.add_column(column, justify=justify, overflow="fold", no_wrap=position == 0)
    for row in rows:
        grid.add_row(*row)
    return grid


def widths(grid: Table, console: Console) -> Measurement:
    """Return the columns that a table needs to break no word (minimum) and to wrap no line (maximum)."""
    return console.measure(grid, options=console.options.update(width=_ANY_WIDTH))


def key_values(values: Mapping[str, str]) -> Table:
    """Build a table with one key and its value per line, without headings."""
    grid = Table.grid(padding=(0, 2))
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
