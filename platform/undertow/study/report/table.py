"""The table of results: what each combination came to, for the page, for Markdown and for a terminal.

    table = result_table(results)
    print(*table.columns)
    for row in table.rows:
        print(*row)
    markdown_table(results)               # fits into the description of a run in MLflow
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from undertow.study.report.digest import Digest, Group, arrange
from undertow.study.report.measure import Measure
from undertow.study.report.wording import NOTHING, scalar, short_names
from undertow.study.results import StudyResults

MARKDOWN_LIMIT = 6000
"""Characters; MLflow cuts a tag at 8000."""


@dataclass(frozen=True)
class Table:
    """Texts in rows.

    Attributes:
        columns: The headings.
        rows: A text for each column.
        right: Columns whose texts are set to the right, because they are numbers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


def result_table(results: StudyResults, intervals: bool = True) -> Table:
    """A row for each combination of what is varied but the seed: IQM of each objective, half-life, reach, n, seeds.

    Args:
        results: The study.
        intervals: Whether the bootstrap intervals are written beside the means.
    """
    return results_of(arrange(results), intervals)


def results_of(digest: Digest, intervals: bool = True) -> Table:
    """The table of results of a study that is arranged already."""
    names = short_names(_factors(digest))
    shown = [each for each in digest.measures if each.kind != "cue"]
    shown = [each for each in shown if each.kind == "objective" or any(each.name in g.estimates for g in digest.groups)]
    columns = (*names.values(), *(each.label for each in shown), "n", "seeds", "left out")
    rows = tuple(
        (
            *(scalar(group.params[key]) if key in group.params else NOTHING for key in names),
            *(each.text(group.estimates.get(each.name), intervals) for each in shown),
            group.n,
            group.seeds,
            group.left_out or NOTHING,
        )
        for group in _by_panel(digest)
    )
    numeric = [name for key, name in names.items() if _is_number(group.params.get(key) for group in digest.groups)]
    return _without_empty(Table(columns, rows, frozenset([*numeric, *(each.label for each in shown), "n"])))


def answer_table(digest: Digest) -> Table:
    """The short answer: a row for each line, and the panels side by side."""
    shown = _shortest(digest)
    columns = [digest.line_name]
    for panel in digest.panels:
        columns += [f"{each.label}, {digest.titled(panel)}" if digest.panel_name else each.label for each in shown]
    rows = []
    for line in digest.lines:
        row = [line]
        for panel in digest.panels:
            group = digest.at(line, panel)
            row += [each.text(group.estimates.get(each.name) if group else None, intervals=False) for each in shown]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows), frozenset(columns[1:]))


def markdown_table(results: StudyResults) -> str:
    """The table of results in Markdown, below 6000 characters; a sentence says what was cut."""
    table = result_table(results)
    kept = list(table.rows)
    while len(text := _markdown(replace(table, rows=tuple(kept)), len(table.rows) - len(kept))) >= MARKDOWN_LIMIT:
        if not kept:
            return "The table of results is too wide for this place; the report has it.\n"
        kept = kept[: max(0, min(len(kept) - 1, len(kept) * MARKDOWN_LIMIT // len(text)))]
    return text


def _markdown(table: Table, cut: int) -> str:
    lines = [table.columns, [("---:" if name in table.right else "---") for name in table.columns], *table.rows]
    text = "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)
    if not table.rows and not cut:
        text += "\nNothing has been planned yet.\n"
    return f"{text}\n{cut} more rows are in the report.\n" if cut else text


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _factors(digest: Digest) -> list[str]:
    return [key for key in digest.results.space.vary if any(key in group.params for group in digest.groups)]


def _by_panel(digest: Digest) -> Iterable[Group]:
    for panel in digest.panels:
        for line in digest.lines:
            if group := digest.at(line, panel):
                yield group


def _shortest(digest: Digest) -> Sequence[Measure]:
    """The first objective, and the half-life of each part."""
    lives = [each for each in digest.measures if each.kind == "half-life"]
    return [*digest.objectives[:1], *lives]


def _is_number(values: Iterable[object]) -> bool:
    return all(isinstance(value, int | float) for value in values if value is not None)


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
        table.right,
    )
