"""Tables for people.

out().print(result_table([undertow.run("a.yaml"), undertow.run("b.yaml")]))
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from undertow.experiment import RunResult

NOTHING = "–"


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
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
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


def result_table(results: Sequence["RunResult"]) -> Table:
    """What runs came to: score, half-life and reach of the gradient in time steps, parameters, speed.

    Args:
        results: At least one run; columns that none of them has are left out.
    """
    scores = list(dict.fromkeys(name for result in results for name in _scores(result)))
    parts = list(dict.fromkeys(part for result in results for part in _state_parts(result)))
    columns = ["cell", "length", *scores]
    columns += [f"{what} {part}\n(time steps)" for part in parts for what in ("half-life", "reach")]
    columns += ["parameters", "steps/s"]
    rows = [[*_factors(result), *_measured(result, scores, parts)] for result in results]
    return table(columns, rows, right=columns[1:])


def _factors(result: "RunResult") -> tuple[str, str]:
    """Cell and length, as the run's own configuration has them."""
    from undertow.config.source import read_file

    config = read_file(result.folder / "config.yaml").data
    return str(config["cell"]["name"]), str(config["task"]["length"])


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
