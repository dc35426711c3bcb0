"""A study as files for a paper or for other programs: CSV, LaTeX, Markdown, SVG.

    export(results, Path("paper"))
    # runs.csv  results.csv  curves.csv  results.tex  results.md  figures/*.svg

`runs.csv` has a row for each combination with every number, `results.csv` one for each quantity of each group, and
`curves.csv` one for each point of each curve of each run: gradient by lag, loss by step, score by length.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from undertow._system.atomic import write_atomically
from undertow.report.format import format_value
from undertow.report.grouping import group_results
from undertow.report.groups import Groups
from undertow.report.results import StudyResults
from undertow.report.statistics import centre_name, spread_name
from undertow.report.svg import write_drawings
from undertow.report.tables.results_table import group_table, how_to_read, latex_table, write_table

_Cell = str | int | float | bool | None


def export(results: StudyResults, folder: Path) -> list[Path]:
    """Write all files; those of an earlier export are replaced.

    Args:
        results: The study.
        folder: Where they are written.

    Returns:
        The files.
    """
    groups = group_results(results)
    folder.mkdir(parents=True, exist_ok=True)
    latex = latex_table(group_table(groups), f"{results.name}: {results.question}", how_to_read(groups))
    write_atomically(folder / "results.tex", latex)
    return [
        _write(folder / "runs.csv", *_runs(results)),
        _write(folder / "results.csv", *_results(groups)),
        _write(folder / "curves.csv", *_curves(results)),
        folder / "results.tex",
        write_table(results, folder / "results.md"),
        *write_drawings(groups, folder / "figures"),
    ]


def _runs(results: StudyResults) -> tuple[list[str], list[list[_Cell]]]:
    keys = [*results.space.vary, *results.space.search]
    metrics = sorted({name for each in results.combinations for name in each.metrics})
    columns = [*keys, "sample", "state", "reason", "steps", "seconds", "load_start", "load_end", "run", *metrics]
    rows: list[list[_Cell]] = [
        [
            *(format_value(each.params[key]) if key in each.params else None for key in keys),
            each.sample,
            each.state,
            each.reason,
            each.steps,
            each.seconds,
            each.load.get("start"),
            each.load.get("end"),
            each.run_name,
            *(each.metrics.get(name) for name in metrics),
        ]
        for each in results.combinations
    ]
    return columns, rows


def _results(groups: Groups) -> tuple[list[str], list[list[_Cell]]]:
    keys = list(dict.fromkeys(key for group in groups.groups for key in group.params))
    columns = [*keys, "quantity", "centre", "value", "beyond", "spread", "low", "high", "high_beyond", "n", "planned"]
    rows: list[list[_Cell]] = []
    for group in groups.groups:
        at: list[_Cell] = [format_value(group.params[key]) if key in group.params else None for key in keys]
        for quantity in groups.quantities:
            if estimate := group.estimates.get(quantity.name):
                centre, spread = centre_name(estimate.n), spread_name(estimate.n)
                value: list[_Cell] = [quantity.label, centre, estimate.value, "value" in estimate.censored, spread]
                ends: list[_Cell] = [estimate.low, estimate.high, "high" in estimate.censored]
                rows.append([*at, *value, *ends, estimate.n, group.planned])
    return columns, rows


def _curves(results: StudyResults) -> tuple[list[str], list[list[_Cell]]]:
    keys = [*results.space.vary, *results.space.search]
    rows: list[list[_Cell]] = [
        [
            *(format_value(each.params[key]) if key in each.params else None for key in keys),
            each.sample,
            name,
            at,
            value,
        ]
        for each in results.combinations
        if each.state == "complete"
        for name, (steps, values) in sorted(each.curves.items())
        for at, value in zip(steps, values, strict=True)
    ]
    return [*keys, "sample", "curve", "at", "value"], rows


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[_Cell]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return path
