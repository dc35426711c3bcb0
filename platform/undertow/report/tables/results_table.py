"""The table of results: what each combination came to, for the page, for Markdown and for a terminal.

table = result_table(results)
print(*table.columns)
for row in table.rows:
    print(*row)
markdown_table(results)               # fits into the description of a run in MLflow
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from undertow._system.atomic import write_atomically
from undertow.report.format import NOTHING, number, scalar, short_names
from undertow.report.groups import Group, Groups, arrange
from undertow.report.quantities import GROWS
from undertow.report.results import StudyResults

MARKDOWN_LIMIT = 6000
"""Characters; MLflow cuts a tag at 8000."""

COSTS = {"parameters": "cost/parameters", "steps/s": "cost/steps_per_second"}
"""Columns of what a run cost, by the metric that they show."""


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
        """The columns of numbers, whose texts are set to the right."""
        by_column = zip(self.columns, zip(*self.rows, strict=True), strict=True) if self.rows else ()
        return frozenset(name for name, texts in by_column if all(map(_NUMBER.match, texts)) and {*texts} != {NOTHING})


_NUMBER = re.compile(rf"(-?[\d.,]+(e[+-]\d+)?|{NOTHING}|{GROWS})( \[.*\]| of \d+)?$")


def result_table(results: StudyResults, intervals: bool = True) -> Table:
    """A row for each combination of what is varied but the seed: IQM of objectives, half-life, reach; costs, n, seeds.

    Args:
        results: The study.
        intervals: Whether the bootstrap intervals are written beside the means.
    """
    return results_of(arrange(results), intervals)


def results_of(digest: Groups, intervals: bool = True) -> Table:
    """The table of results of a study that is arranged already."""
    names = short_names(_factors(digest))
    shown = [each for each in digest.quantities if each.kind != "cue"]
    shown = [each for each in shown if each.kind == "objective" or any(each.name in g.estimates for g in digest.groups)]
    known = {each.name for each in shown}
    spent = {
        name: metric
        for name, metric in COSTS.items()
        if metric not in known and any(metric in trial.metrics for trial in digest.complete)
    }
    columns = (*names.values(), *(each.label for each in shown), *spent, "n", "seeds", "left out")
    rows = tuple(
        (
            *(scalar(group.params[key]) if key in group.params else NOTHING for key in names),
            *(each.text(group.estimates.get(each.name), intervals) for each in shown),
            *(_median(group, metric) for metric in spent.values()),
            group.n,
            group.seeds,
            group.left_out or NOTHING,
        )
        for group in _by_panel(digest)
    )
    return _without_empty(Table(columns, rows))


def answer_table(digest: Groups) -> Table:
    """The short answer: a row for each line, a column for each panel; first objective over half-lives."""
    columns = (digest.line_name, *(digest.titled(panel) or digest.objectives[0].label for panel in digest.panels))
    rows = tuple((line, *(_answer(digest, line, panel) for panel in digest.panels)) for line in digest.lines)
    return Table(columns, rows)


def markdown_table(results: StudyResults, limit: int = MARKDOWN_LIMIT) -> str:
    """The table of results in Markdown; a sentence says what was cut.

    Args:
        results: The study.
        limit: Characters that it has to stay below.
    """
    table = result_table(results)
    kept = list(table.rows)
    while len(text := _markdown(Table(table.columns, tuple(kept)), len(table.rows) - len(kept))) >= limit:
        if not kept:
            return "The table of results is too wide for this place; the report has it.\n"
        kept = kept[: max(0, min(len(kept) - 1, len(kept) * limit // len(text)))]
    return text


def write_table(results: StudyResults, path: Path) -> Path:
    """Write the whole table of results as Markdown, below its question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    read = "IQM over seeds with its 95 % bootstrap interval, costs their median; half-life and reach in time steps."
    table = markdown_table(results, limit=sys.maxsize)
    write_atomically(path, f"# {results.name}\n\n{results.question}\n\n{table}\n{read}\n")
    return path


def _markdown(table: Table, cut: int) -> str:
    lines = [table.columns, [("---:" if name in table.right else "---") for name in table.columns], *table.rows]
    text = "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)
    if not table.rows and not cut:
        text += "\nNothing has been planned yet.\n"
    return f"{text}\n{cut} more rows are in the report.\n" if cut else text


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _factors(digest: Groups) -> list[str]:
    return [key for key in digest.results.space.vary if any(key in group.params for group in digest.groups)]


def _by_panel(digest: Groups) -> Iterable[Group]:
    for panel in digest.panels:
        for line in digest.lines:
            if group := digest.at(line, panel):
                yield group


def _median(group: Group, metric: str) -> str:
    """What the runs that count cost, the middle one over the seeds: times have outliers."""
    values = [trial.metrics[metric] for trial in group.counted if metric in trial.metrics]
    return number(median(values)) if values else NOTHING


def _answer(digest: Groups, line: str, panel: str) -> str:
    group = digest.at(line, panel)
    if group is None:
        return NOTHING
    if not group.counted:
        return group.left_out
    found = group.estimates
    first = digest.objectives[0]
    lives = [
        f"{each.name.removeprefix('half-life-')} {each.text(found[each.name], intervals=False)}"
        for each in digest.quantities
        if each.kind == "half-life" and each.name in found
    ]
    return "\n".join([first.text(found.get(first.name), intervals=False), *([" · ".join(lives)] if lives else [])])


def _without_empty(table: Table) -> Table:
    """Leave out the last two columns where they say nothing: no seed is varied, nothing is left out."""
    empty = {
        place
        for place, name in enumerate(table.columns)
        if name in ("seeds", "left out") and all(row[place] == NOTHING for row in table.rows)
    }
    if not empty or not table.rows:
        return table
    return Table(
        tuple(name for place, name in enumerate(table.columns) if place not in empty),
        tuple(tuple(text for place, text in enumerate(row) if place not in empty) for row in table.rows),
    )
