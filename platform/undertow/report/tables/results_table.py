"""The table of results: a row for each group, for the page, for Markdown and for a terminal.

table = result_table(results)
print(*table.columns)
for row in table.rows:
    print(*row)
markdown_table(results)               # short enough for the description of a run in MLflow
"""

import re
import sys
from collections.abc import Set
from pathlib import Path
from statistics import median
from typing import NamedTuple

from undertow._system.atomic import write_atomically
from undertow.report.format import NO_VALUE, format_number, format_value, short_names
from undertow.report.grouping import group_results
from undertow.report.groups import Group, Groups
from undertow.report.quantities import DEFINITIONS, INPUT, Quantity, finite_metric
from undertow.report.results import StudyResults
from undertow.report.statistics import INTERVAL_FROM, IQM_FROM, centre_name, spread_name

MARKDOWN_LIMIT = 6000
"""Characters; MLflow cuts a tag at 8000."""

COSTS = {"parameters": "cost/parameters", "steps/s": "cost/steps_per_second"}
"""Metrics of the columns of costs, by their headings."""


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


_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", NO_VALUE: "--"},
    **{"<": "$<$", ">": "$>$", "½": r"$\frac{1}{2}$", "·": r"$\cdot$", "×": r"$\times$", "∂": r"$\partial$"},
    **{"Ω": r"$\Omega$", "σ": r"$\sigma$", "⁻": "$^{-}$", "₁": "$_1$", "₀": "$_0$"},
    **{superscript: f"$^{digit}$" for digit, superscript in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}

_NUMBER = re.compile(rf"((> )?-?[\d.,]+(e[+-]\d+)?|{NO_VALUE})( \[.*\]| of \d+)?$")


def result_table(results: StudyResults, spread: bool = True, short: bool = False) -> Table:
    """A row for each combination of what is varied but the seed: scores, half-life, reach; costs, n, seeds.

    Args:
        results: The study.
        spread: Whether ranges or intervals are written beside the centres.
        short: Leave out the state parts, the tenth-life and the seeds, for a narrow terminal.
    """
    return group_table(group_results(results), spread, short)


def how_to_read(groups: Groups, spread: bool = True) -> str:
    """What the numbers of the table of results are, by how many replicates there are.

    Args:
        groups: The groups.
        spread: Whether the table has ranges or intervals.
    """
    numbers = groups.replicates
    kinds = []
    for low, high in ((2, IQM_FROM), (IQM_FROM, INTERVAL_FROM), (INTERVAL_FROM, 10**9)):
        if some := [n for n in numbers if low <= n < high]:
            brackets = f" [{spread_name(some[0])}]" if spread else ""
            kinds.append(f"{centre_name(some[0])} over seeds{brackets}")
    text = " or ".join(kinds) or "single runs"
    text += "; costs: their median"
    measured = {each.kind for each in groups.quantities}
    if "test" in measured:
        text += "; val: the validation split, which chose the checkpoint; test: the test split, once"
    if "half-life" in measured:
        text += "; half-life, tenth-life and reach: the first lag, in time steps, at which the gradient is ½, 10⁻¹, "
        text += "10⁻³ of that at lag 1; > 63: it does not fall so far within the sequence; ∂L/∂x, the gradient by the "
        text += "input, compares cells"
    if "earlier" in measured:
        text += f"; of an earlier version: {DEFINITIONS['earlier'][:1].lower()}{DEFINITIONS['earlier'][1:-1]}"
    return text


def group_table(groups: Groups, spread: bool = True, short: bool = False) -> Table:
    """The same table, for a study that is grouped already."""
    factors = [key for key in groups.results.space.vary if any(key in group.params for group in groups.groups)]
    compared = [each for each in groups.quantities if each.kind == "objective" or _has_column(groups, each, short)]
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
            *(each.text(group.estimates.get(each.name), spread) for each in compared),
            *(_median(group, metric) for metric in costs.values()),
            group.n,
            group.seeds,
            group.excluded or NO_VALUE,
        )
        for panel in groups.panels
        for group in groups.in_panel(panel)
    )
    table = _without_empty(Table(columns, rows))
    return _without(table, {table.columns.index("seeds")}) if short and "seeds" in table.columns else table


def summary_table(groups: Groups) -> Table:
    """The summary: a row for each line, a column for each panel; the first score, and below it the half-life."""
    columns = (groups.line_name, *(groups.panel_title(panel) or groups.objectives[0].label for panel in groups.panels))
    rows = tuple((line, *(_summary(groups, line, panel) for panel in groups.panels)) for line in groups.lines)
    return Table(columns, rows)


def markdown_table(results: StudyResults, limit: int = MARKDOWN_LIMIT) -> str:
    """The table of results in Markdown, and how to read it; a sentence gives the number of rows that were left out.

    Args:
        results: The study.
        limit: The text is shorter than so many characters.
    """
    groups = group_results(results)
    table, reading = group_table(groups), f"\n{how_to_read(groups)}.\n"
    limit -= len(reading)
    kept = list(table.rows)
    while len(text := _markdown(Table(table.columns, tuple(kept)), len(table.rows) - len(kept))) >= limit:
        if not kept:
            return "The table of results is too wide for this place; the report has it.\n"
        kept = kept[: max(0, min(len(kept) - 1, len(kept) * limit // len(text)))]
    return text + reading


def latex_table(table: Table, caption: str, note: str) -> str:
    """A table in LaTeX, with the rules of the package `booktabs`, to be read by ``\\input``.

    Args:
        table: The table.
        caption: Above it.
        note: Below it.
    """
    align = "".join("r" if name in table.right else "l" for name in table.columns)
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in (table.columns, *table.rows)]
    parts = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{_latex(caption)}}}",
        rf"\begin{{tabular}}{{{align}}}",
        *(r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"),
        r"\end{tabular}",
        "",
        rf"{{\footnotesize {_latex(note)}.}}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def write_table(results: StudyResults, path: Path) -> Path:
    """Write the whole table of results as Markdown, below the study's question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = markdown_table(results, limit=sys.maxsize)
    write_atomically(path, f"# {results.name}\n\n{results.question}\n\n{table}")
    return path


def _markdown(table: Table, left_out: int) -> str:
    lines = [table.columns, [("---:" if name in table.right else "---") for name in table.columns], *table.rows]
    text = "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)
    if not table.rows and not left_out:
        text += "\nThe study has no combination.\n"
    return f"{text}\n{left_out} more rows are in the report.\n" if left_out else text


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _latex(text: str) -> str:
    """A text for LaTeX: what it reads as commands is escaped, mathematical letters become mathematics."""
    return "".join(_LATEX.get(letter, letter) for letter in text.replace("\n", " "))


def _has_column(groups: Groups, quantity: Quantity, short: bool) -> bool:
    """Every measure of the gradient by the input, and half-life and reach of state parts; in short fewer of both."""
    if quantity.kind == "cue" or (quantity.kind == "tenth-life" and (short or quantity.view != INPUT)):
        return False
    if short and not quantity.compares_cells and quantity.kind != "earlier":
        return False
    return groups.measured(quantity)


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
    scores = [each for each in groups.quantities if each is first or each.kind == "test"]
    score = " · ".join(each.text(estimates.get(each.name), spread=False) for each in scores[:2])
    lives = [each for each in groups.quantities if each.kind in ("half-life", "earlier") and each.name in estimates]
    lives = [each for each in lives if each.compares_cells] or lives[:1]
    return "\n".join([score, *(each.text(estimates[each.name], spread=False) for each in lives[:1])])


def _without_empty(table: Table) -> Table:
    """Without the columns `seeds` and `left out` where they have no value in any row."""
    if not table.rows:
        return table
    empty = {
        index
        for index in (len(table.columns) - 2, len(table.columns) - 1)
        if all(row[index] == NO_VALUE for row in table.rows)
    }
    return _without(table, empty)


def _without(table: Table, left_out: Set[int]) -> Table:
    """Without the columns of these indices."""
    return Table(
        tuple(name for index, name in enumerate(table.columns) if index not in left_out),
        tuple(tuple(text for index, text in enumerate(row) if index not in left_out) for row in table.rows),
    )
