"""What runs came to, for people: one table for one run or for many, and where to look.

show([undertow.run("a.yaml"), undertow.run("b.yaml")])
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from undertow.cli.output.console import note, out
from undertow.cli.output.links import where_to_look
from undertow.cli.output.tables import table

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult

NOTHING = "–"


def show(results: Sequence["RunResult"]) -> None:
    """Print the table of some runs, where their charts are, and which of them have still to be shipped.

    Args:
        results: At least one run; all of one home and one experiment.
    """
    console = out()
    console.print(result_table(results))
    console.print("Length, half-life and reach in time steps; scores on the validation split.\n", soft_wrap=True)
    if any(result.shipped for result in results):
        for line in where_to_look(results[-1].folder):
            console.print(line, soft_wrap=True)
    for result in results:
        if not result.shipped:
            note(
                f"{result.folder.name} has not wholly reached the tracking store yet; nothing is lost. "
                f"Ship it with: undertow sync {result.folder}"
            )


def result_table(results: Sequence["RunResult"]) -> Table:
    """What runs came to: score, half-life and reach of the gradient in time steps, parameters, speed.

    Args:
        results: At least one run; columns that none of them has are left out.
    """
    scores = list(dict.fromkeys(name for result in results for name in _scores(result)))
    parts = list(dict.fromkeys(part for result in results for part in _state_parts(result)))
    columns = ["cell", "length", *(score.removeprefix("val/") for score in scores)]
    columns += [f"{what}\nof {part}" for part in parts for what in ("half-life", "reach")]
    columns += ["parameters", "steps/s"]
    rows = [[*_factors(result), *_measured(result, scores, parts)] for result in results]
    grid = table(columns, rows, right=columns[1:])
    grid.padding = (0, 0)  # two state parts fit into 80 columns
    return grid


def _factors(result: "RunResult") -> tuple[str, str]:
    """Cell and length of the run's configuration."""
    return result.config.cell.name, str(result.config.task.length)


def _scores(result: "RunResult") -> list[str]:
    """The task's own scores; the loss where it has none."""
    own = [name for name in result.metrics if name.startswith("val/") and name != "val/loss"]
    return own or ["val/loss"]


def _state_parts(result: "RunResult") -> list[str]:
    """The state parts whose gradient was measured, layers left out, such as ``h`` and ``c``."""
    names = [name.split("/") for name in result.metrics]
    return [name[1] for name in names if len(name) == 3 and name[0] == "gradient" and name[2] == "reach"]


def _measured(result: "RunResult", scores: Sequence[str], parts: Sequence[str]) -> list[str]:
    metrics = result.metrics
    cells = [f"{metrics[score]:.3f}" if score in metrics else NOTHING for score in scores]
    for part in parts:
        cells.append(_half_life(metrics, part))
        cells.append(_number(metrics, f"gradient/{part}/reach", "{:.0f}"))
    cells.append(_number(metrics, "cost/parameters", "{:,.0f}"))
    cells.append(_number(metrics, "cost/steps_per_second", "{:.3g}"))
    return cells


def _half_life(metrics: Mapping[str, float], part: str) -> str:
    """In time steps; a gradient that does not shrink has none."""
    if metrics.get(f"gradient/{part}/growth") == 1:
        return "grows"
    return _number(metrics, f"gradient/{part}/half_life", "{:.3g}")


def _number(metrics: Mapping[str, float], name: str, form: str) -> str:
    return form.format(metrics[name]) if name in metrics else NOTHING
