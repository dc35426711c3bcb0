"""Tables for a terminal.

out().print(table(["name", "summary"], [["lstm", "long short-term memory"]]))
"""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> Table:
    """Build a table with one rule below its headings.

    Args:
        columns: The headings.
        rows: One text for each column.
        title: The text above the table.
        right: The columns that are aligned to the right.
    """
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


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
