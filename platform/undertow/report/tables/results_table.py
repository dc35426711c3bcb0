"""The table of results: a row for each group, for the page, for Markdown and for a terminal.

table = result_table(results)
print(*table.columns)
for row in table.rows:
    print(*row)
markdown_table(results)               # short enough for the description of a run in MLflow
"""

import re
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from undertow._system.atomic import write_atomically
from undertow.report.format import NO_VALUE, format_number, format_value, short_names
from undertow.report.grouping import group_results
from undertow.report.groups import Group, Groups
from undertow.report.quantities import GROWS, Quantity, finite_metric
from undertow.report.results import StudyResults

MARKDOWN_LIMIT = 6000
"""Characters; MLflow cuts a tag at 8000."""

COSTS = {"parameters": "cost/parameters", "steps/s": "cost/steps_per_second"}
"""Metrics of the columns of costs, by their headings."""

HOW_TO_READ = "IQM over seeds with its 95 % bootstrap interval, costs their median; half-life and reach in time steps"


class Table(NamedTuple):
    """Texts in rows.

    Attributes:
        columns: The headings.
        rows: A text for each column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def right(self) -> frozenset[str]:
        """The headings of the columns of numbers, which are aligned to the right."""
        by_column = zip(self.columns, zip(*self.rows, strict=True), strict=True) if self.rows else ()
        return frozenset(name for name, texts in by_column if all(map(_NUMBER.match, texts)) and {*texts} != {NO_VALUE})


_NUMBER = re.compile(rf"(-?[\d.,]+(e[+-]\d+)?|{NO_VALUE}|{GROWS})( \[.*\]| of \d+)?$")


def result_table(results: StudyResults, intervals: bool = True) -> Table:
    """A row for each combination of what is varied but the seed: IQM of objectives, half-life, reach; costs, n, seeds.

    Args:
        results: The study.
        intervals: Whether the bootstrap intervals are written beside the means.
    """
    return group_table(group_results(results), intervals)


def group_table(groups: Groups, intervals: bool = True) -> Table:
    """The same table, for a study that is grouped already."""
    factors = [key for key in groups.results.space.vary if any(key in group.params for group in groups.groups)]
    compared = [each for each in groups.quantities if each.kind == "objective" or _has_column(groups, each)]
    known = {each.name for each in compared}
    costs = {
        name: metric
        for name, metric in COSTS.items()
        if metric not in known and any(metric in each.metrics for each in groups.complete)
    }
    columns = (*short_names(factors).values(), *(each.label for each in compared), *costs, "n", "seeds", "left out")
    rows = tuple(
        (
            *(format_value(group.params[key]) if key in group.params else NO_VALUE for key in factors),
            *(each.text(group.estimates.get(each.name), intervals) for each in compared),
            *(_median(group, metric) for metric in costs.values()),
            group.n,
            group.seeds,
            group.excluded or NO_VALUE,
        )
        for panel in groups.panels
        for group in groups.in_panel(panel)
    )
    return _without_empty(Table(columns, rows))


def summary_table(groups: Groups) -> Table:
    """The summary: a row for each line, a column for each panel; the first objective, and below it the half-lives."""
    columns = (groups.line_name, *(groups.panel_title(panel) or groups.objectives[0].label for panel in groups.panels))
    rows = tuple((line, *(_summary(groups, line, panel) for panel in groups.panels)) for line in groups.lines)
    return Table(columns, rows)


def markdown_table(results: StudyResults, limit: int = MARKDOWN_LIMIT) -> str:
    """The table of results in Markdown; a sentence gives the number of rows that were left out.

    Args:
        results: The study.
        limit: The text is shorter than so many characters.
    """
    table = result_table(results)
    kept = list(table.rows)
    while len(text := _markdown(Table(table.columns, tuple(kept)), len(table.rows) - len(kept))) >= limit:
        if not kept:
            return "The table of results is too wide for this place; the report has it.\n"
        kept = kept[: max(0, min(len(kept) - 1, len(kept) * limit // len(text)))]
    return text


def write_table(results: StudyResults, path: Path) -> Path:
    """Write the whole table of results as Markdown, below the study's question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = markdown_table(results, limit=sys.maxsize)
    write_atomically(path, f"# {results.name}\n\n{results.question}\n\n{table}\n{HOW_TO_READ}.\n")
    return path


def _markdown(table: Table, left_out: int) -> str:
    lines = [table.columns, [("---:" if name in table.right else "---") for name in table.columns], *table.rows]
    text = "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)
    if not table.rows and not left_out:
        text += "\nThe study has no combination.\n"
    return f"{text}\n{left_out} more rows are in the report.\n" if left_out else text


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _has_column(groups: Groups, quantity: Quantity) -> bool:
    return quantity.kind != "cue" and groups.measured(quantity)


def _median(group: Group, metric: str) -> str:
    """The median cost of the included runs: times have outliers."""
    values = [value for each in group.included if (value := finite_metric(each, metric)) is not None]
    return format_number(median(values)) if values else NO_VALUE


def _summary(groups: Groups, line: str, panel: str) -> str:
    """A cell of the summary."""
    group = groups.at(line, panel)
    if group is None:
        return NO_VALUE
    if not group.included:
        return group.excluded
    estimates = group.estimates
    first = groups.objectives[0]
    half_lives = [
        f"{each.name.removeprefix('half-life-')} {each.text(estimates[each.name], intervals=False)}"
        for each in groups.quantities
        if each.kind == "half-life" and each.name in estimates
    ]
    score = first.text(estimates.get(first.name), intervals=False)
    return "\n".join([score, *([" · ".join(half_lives)] if half_lives else [])])


def _without_empty(table: Table) -> Table:
    """Without the columns `seeds` and `left out` where they have no value in any row."""
    if not table.rows:
        return table
    empty = {
        index
        for index in (len(table.columns) - 2, len(table.columns) - 1)
        if all(row[index] == NO_VALUE for row in table.rows)
    }
    return Table(
        tuple(name for index, name in enumerate(table.columns) if index not in empty),
        tuple(tuple(text for index, text in enumerate(row) if index not in empty) for row in table.rows),
    )
