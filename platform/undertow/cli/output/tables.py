"""Tables for people.

out().print(table(["name", "summary"], [["lstm", "long short-term memory"]]))
"""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
) -> Table:
    """A plain table.

    Args:
        columns: The headings.
        rows: A text for each column.
        title: Above the table.
        right: The columns whose texts are set to the right.
    """
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def facts(values: Mapping[str, str]) -> Table:
    """Keys and values, one a line, without headings."""
    grid = Table.grid(padding=(0, 2))
    for key, value in values.items():
        grid.add_row(key, value)
    return grid
