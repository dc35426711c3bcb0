"""The results of runs: one table for one run or several, and where their charts are.

print_results([undertow.run("a.yaml"), undertow.run("b.yaml")])
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from undertow.cli.output.console import note, out
from undertow.cli.output.links import where_to_look
from undertow.cli.output.tables import table
from undertow.tracking.shipping.process import last_problem

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult

NOTHING = "–"


def print_results(results: Sequence["RunResult"]) -> None:
    """Print the table of some runs, where their charts are, and which of them are not shipped yet.

    Args:
        results: At least one run; all of one home and one experiment.
    """
    console = out()
    console.print(runs_table(results))
    console.print(
        "Length, half-life and reach in time steps. Scores: val, on the validation split, which chose the checkpoint; "
        "test, of that checkpoint on the test split.\n",
        soft_wrap=True,
    )
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


def runs_table(results: Sequence["RunResult"]) -> Table:
    """Build the table of scores, half-life and reach of the gradient in time steps, parameters and speed.

    Args:
        results: At least one run; a column that no run has a value for is left out.
    """
    scores = list(dict.fromkeys(name for result in results for name in _scores(result)))
    parts = list(dict.fromkeys(part for result in results for part in _state_parts(result)))
    columns = ["cell", "length", *("\n".join(reversed(score.split("/", 1))) for score in scores)]
    columns += [f"{quantity}\nof {part}" for part in parts for quantity in ("half-life", "reach")]
    columns += ["parameters", "steps/s"]
    rows = [[*_cell_and_length(result), *_values(result, scores, parts)] for result in results]
    grid = table(columns, rows, right=columns[1:])
    grid.padding = (0, 0)  # so that two state parts fit into 80 columns
    return grid


def _cell_and_length(result: "RunResult") -> tuple[str, str]:
    """Cell and length of the run's configuration."""
    return result.config.cell.name, str(result.config.task.length)


def _scores(result: "RunResult") -> list[str]:
    """Return the scores that the task defines, or the loss if it defines none, each on both splits if it was tested."""
    scores = [name for name in result.metrics if name.startswith("val/") and name != "val/loss"]
    names = [(score, score.replace("val", "test", 1)) for score in scores or ["val/loss"]]
    return [name for val, test in names for name in ((val, test) if test in result.metrics else (val,))]


def _state_parts(result: "RunResult") -> list[str]:
    """Return the state parts whose gradient was measured, such as ``h`` and ``c``, without those of single layers."""
    names = [name.split("/") for name in result.metrics]
    return [name[1] for name in names if len(name) == 3 and name[0] == "gradient" and name[2] == "reach"]


def _values(result: "RunResult", scores: Sequence[str], parts: Sequence[str]) -> list[str]:
    metrics = result.metrics
    cells = [f"{metrics[score]:.3f}" if score in metrics else NOTHING for score in scores]
    for part in parts:
        cells.append(_half_life(metrics, part))
        cells.append(_format(metrics, f"gradient/{part}/reach", "{:.0f}"))
    cells.append(_format(metrics, "cost/parameters", "{:,.0f}"))
    cells.append(_format(metrics, "cost/steps_per_second", "{:.3g}"))
    return cells


def _half_life(metrics: Mapping[str, float], part: str) -> str:
    """Return the half-life in time steps, or ``grows`` for a gradient that does not shrink."""
    if metrics.get(f"gradient/{part}/growth") == 1:
        return "grows"
    return _format(metrics, f"gradient/{part}/half_life", "{:.3g}")


def _format(metrics: Mapping[str, float], name: str, template: str) -> str:
    return template.format(metrics[name]) if name in metrics else NOTHING
