"""The results of runs: one table for one run or several, and where their charts are.

print_results([undertow.run("a.yaml"), undertow.run("b.yaml")])
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from undertow.cli.output.console import note, out
from undertow.cli.output.links import where_to_look
from undertow.cli.output.tables import tables
from undertow.tracking.shipping.process import last_problem

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult

NOTHING = "–"

_HOW_TO_READ = (
    "Half-life and reach: the first lag, in time steps, at which the gradient is ½ and 10⁻³ of that at lag 1 (> 63: it "
    "does not fall so far). ∂L/∂x, by the input, compares cells. Scores: validation split, which chose the checkpoint, "
    "and test.\n"
)


def print_results(results: Sequence["RunResult"]) -> None:
    """Print the table of some runs, where their charts are, and which of them are not shipped yet.

    Args:
        results: At least one run; all of one home and one experiment.
    """
    for grid in runs_tables(results, out().width):
        out().print(grid)
    print_where_to_look(results)


def print_where_to_look(results: Sequence["RunResult"]) -> None:
    """Print how to read a table of runs, where their charts are, and which of them are not shipped yet."""
    console = out()
    console.print(_HOW_TO_READ)
    if any(result.shipped for result in results):
        for line in where_to_look(results[-1].folder):
            console.print(line, soft_wrap=True)
    for result in results:
        if not result.shipped:
            note(not_shipped(result.folder.name, result.folder, last_problem(result.folder)))


def not_shipped(name: str, folder: Path, problem: str) -> str:
    """Return the message for a run or study whose records are not all in the tracking store.

    Args:
        name: The run or study.
        folder: The folder that `undertow sync` has to be given.
        problem: What went wrong, the last line of the message; empty if nothing is known.
    """
    return (
        f"{name} is not completely in the tracking store yet; no record is lost. "
        f"Ship the rest with: undertow sync {folder}" + (f"\nThe reason: {problem}" if problem else "")
    )


def runs_tables(results: Sequence["RunResult"], width: int) -> list[Table | Text]:
    """Build the table of scores, half-life and reach of the gradient in time steps, parameters and speed.

    Args:
        results: At least one run; a column that no run has a value for is left out.
        width: Columns of the terminal; a table that is wider is built in blocks that begin with cell and length.
    """
    scores = list(dict.fromkeys(name for result in results for name in _scores(result)))
    views = list(dict.fromkeys(view for result in results for view in _views(result)))
    columns = ["cell", "length", *("\n".join(reversed(score.split("/", 1))) for score in scores)]
    columns += [f"{label}\n{_symbol(view)}" for view in views for label in _measures(view).values()]
    columns += ["parameters", "steps/s"]
    rows = [[*_cell_and_length(result), *_values(result, scores, views)] for result in results]
    return tables(columns, rows, width, right=columns[1:], keys=2, gap=1)  # so that two state parts fit into 80


def _cell_and_length(result: "RunResult") -> tuple[str, str]:
    """Cell and length of the run's configuration."""
    return result.config.cell.name, str(result.config.task.length)


def _scores(result: "RunResult") -> list[str]:
    """Return the scores that the task defines, or the loss if it defines none, each on both splits if it was tested."""
    scores = [name for name in result.metrics if name.startswith("val/") and name != "val/loss"]
    names = [(score, score.replace("val", "test", 1)) for score in scores or ["val/loss"]]
    return [name for val, test in names for name in ((val, test) if test in result.metrics else (val,))]


def _views(result: "RunResult") -> list[str]:
    """Return ``input`` and the state parts whose gradient was measured, without those of single layers."""
    names = [name.split("/") for name in result.metrics]
    views = [name[1] for name in names if len(name) == 3 and name[0] == "gradient" and name[2] == "reach"]
    return sorted(views, key=lambda view: view != "input")


def _measures(view: str) -> Mapping[str, str]:
    """Return the measures of a view by their labels: of state parts the half-life alone, to fit into 80 columns."""
    return {"half_life": "half-\nlife"} | ({"reach": "reach"} if view == "input" else {})


def _symbol(view: str) -> str:
    return f"∂L/∂{'x' if view == 'input' else view}"


def _values(result: "RunResult", scores: Sequence[str], views: Sequence[str]) -> list[str]:
    metrics = result.metrics
    cells = [f"{metrics[score]:.3f}" if score in metrics else NOTHING for score in scores]
    for view in views:
        cells += [_lag(metrics, f"gradient/{view}/{measure}") for measure in _measures(view)]
    cells.append(_format(metrics, "cost/parameters", "{:,.0f}"))
    cells.append(_format(metrics, "cost/steps_per_second", "{:.3g}"))
    return cells


def _lag(metrics: Mapping[str, float], name: str) -> str:
    """Return a lag in time steps, with ``>`` where the curve does not fall so far; see the probe gradient-profile."""
    beyond = "> " if metrics.get(f"{name}_censored") == 1 else ""
    return beyond + _format(metrics, name, "{:.3g}")


def _format(metrics: Mapping[str, float], name: str, template: str) -> str:
    return template.format(metrics[name]) if name in metrics else NOTHING
