"""Replicates of one experiment: one table of what they have in common, and where their charts are.

print_replicates(results)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from undertow.cli.output.console import out
from undertow.cli.output.runs import print_where_to_look
from undertow.cli.output.tables import table
from undertow.report.format import format_number
from undertow.report.statistics import Estimate, centre_name, estimate, spread_name

if TYPE_CHECKING:
    from undertow.runs.experiment import RunResult

_SHOWN = {
    "gradient/input/half_life": "half-life of ∂L/∂x",
    "gradient/input/reach": "reach of ∂L/∂x",
    "cost/steps_per_second": "steps/s of each",
}
"""Measures that are shown beside the scores, by metric."""


def print_replicates(results: Sequence["RunResult"]) -> None:
    """Print the table of some replicates, where their charts are, and which of them are not shipped yet."""
    config = results[0].config
    seeds = [result.config.seed for result in results]
    console = out()
    console.print(
        f"{config.cell.name} on {config.task.name}, {config.task.length} time steps: {len(results)} "
        f"replicate{'s' if len(results) > 1 else ''}, seed {', '.join(map(str, seeds))}",
        soft_wrap=True,
    )
    console.print(replicates_table(results))
    print_where_to_look(results)


def replicates_table(results: Sequence["RunResult"]) -> Table:
    """A row for each score and measure: its centre and spread over the replicates."""
    sizes = [each.n for each in _estimates(results).values()]
    most = max(sizes, default=1)
    rows = [
        [_label(name), _text(each, "value"), _text(each, "low"), _text(each, "high"), str(each.n)]
        for name, each in _estimates(results).items()
    ]
    spread = spread_name(most) or "range"
    columns = ["", centre_name(most), f"{spread}\nfrom", "\nto", "n"]
    return table(columns, rows, right=columns[1:])


def summary(results: Sequence["RunResult"]) -> dict[str, Any]:
    """Centre, spread and number of values of every metric of the replicates, for `--json`."""
    found = {}
    for name in dict.fromkeys(name for result in results for name in result.metrics):
        values = [result.metrics[name] for result in results if name in result.metrics]
        each = estimate(values)
        found[name] = {
            centre_name(each.n).lower(): each.value,
            "low": each.low,
            "high": each.high,
            "spread": spread_name(each.n),
            "n": each.n,
        }
    return found


def _estimates(results: Sequence["RunResult"]) -> dict[str, Estimate]:
    scores = [name for result in results for name in result.metrics if name.startswith(("test/", "val/"))]
    found = {}
    for name in (*dict.fromkeys(sorted(scores)), *_SHOWN):
        runs = [result.metrics for result in results if name in result.metrics]
        if runs:
            censored = [metrics.get(f"{name}_censored") == 1 for metrics in runs]
            found[name] = estimate([metrics[name] for metrics in runs], censored)
    return found


def _label(name: str) -> str:
    return _SHOWN.get(name, name)


def _text(each: Estimate, what: str) -> str:
    value = getattr(each, what)
    beyond = "> " if what in each.censored else ""
    return "" if value is None else beyond + format_number(value)
