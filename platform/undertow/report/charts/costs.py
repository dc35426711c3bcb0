"""Cost against score: what a better score takes in parameters, memory and time, and who is beaten on both.

    for chart in costs(arrange(results)):
        chart.figure.show()

A row for each kind of cost, a column for each length: lengths are different problems, so a front runs within one. The
kinds do not go together, which is the point of showing them apart. After a search each sample is a point of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING

from undertow.report.charts.chart import MOST_LINES, MOST_PANELS, Chart, cut, dressed, log_ticks, look, spaced
from undertow.report.charts.scores import axis_of
from undertow.report.format import number, shown, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import Quantity
from undertow.report.results import CombinationResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


_WIDE = 20
"""Costs whose largest value is more than this many times the smallest are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Cost:
    """One kind of cost; less is better."""

    label: str
    of: Callable[[CombinationResult], float | None]


@dataclass(frozen=True)
class Point:
    """A cost with the score that it bought."""

    line: int
    cost: float
    score: float
    text: str


def _recorded(metric: str) -> Callable[[CombinationResult], float | None]:
    return lambda trial: trial.metrics.get(metric)


def _step_time(trial: CombinationResult) -> float | None:
    speed = trial.metrics.get("cost/steps_per_second")
    return 1000 / speed if speed else None


COSTS = (
    Cost("parameters", _recorded("cost/parameters")),
    Cost("activation bytes", _recorded("cost/activation_bytes")),
    Cost("ms per training step", _step_time),
)


def costs(digest: Groups) -> list[Chart]:
    """A chart for each objective; none where no run measured its cost."""
    kinds = [cost for cost in COSTS if any(cost.of(trial) is not None for trial in digest.complete)]
    return [_chart(digest, objective, kinds) for objective in digest.objectives] if kinds else []


def front(points: Sequence[tuple[float, float]], better: str | None) -> list[tuple[float, float]]:
    """The points that no other beats on both cost and score, by rising cost.

    Args:
        points: Cost, of which less is better, and score.
        better: ``low`` or ``high``: which scores are better.
    """
    sign = 1 if better == "low" else -1
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not kept or sign * point[1] < sign * kept[-1][1]:
            kept.append(point)
    return kept


def _chart(digest: Groups, objective: Quantity, kinds: Sequence[Cost]) -> Chart:
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    places = digest.panels[:MOST_PANELS]
    drawn = make_subplots(
        rows=len(kinds),
        cols=len(places),
        shared_yaxes=True,
        column_titles=[shown(digest.titled(panel)) for panel in places] if digest.panel_name else None,
        horizontal_spacing=0.12 / len(places),
        vertical_spacing=58 / (230 * len(kinds)),
    )
    spaced(dressed(drawn, 108 + 230 * len(kinds)), 28)
    in_legend: set[int] = set()
    for row, kind in enumerate(kinds, 1):
        for column, panel in enumerate(places, 1):
            points = [
                point
                for index, line in enumerate(digest.lines[:MOST_LINES])
                if (group := digest.at(line, panel))
                for point in _points(digest, group, objective, kind, index)
            ]
            best = front([(point.cost, point.score) for point in points], objective.better)
            edge = Scatter(
                x=[cost for cost, _ in best],
                y=[score for _, score in best],
                mode="lines",
                line={"color": "#8a8a8a", "width": 1.5, "shape": "hv"},
                hoverinfo="skip",
                showlegend=False,
            )
            drawn.add_trace(edge, row=row, col=column)
            _mark(drawn, points, (row, column), digest.lines, in_legend)
            drawn.update_xaxes(title_text=kind.label, tickformat="~s", nticks=5, row=row, col=column)
            spent = [point.cost for point in points]
            if len(set(spent)) == 1:
                drawn.update_xaxes(tickvals=spent[:1], ticktext=[number(spent[0])], row=row, col=column)
            elif spent and max(spent) > _WIDE * min(spent) > 0:
                drawn.update_xaxes(type="log", tickvals=log_ticks(min(spent), max(spent)), row=row, col=column)
        drawn.update_yaxes(title_text=axis_of(objective), title_font_size=11, row=row, col=1)
    shows, by = (
        ("A mark for each sample of the search.", "single samples")
        if digest.searched
        else ("IQM of the score and median of the cost over seeds.", "these means alone, without their intervals")
    )
    caption = (
        f"{shows} Grey line: the Pareto front within a panel; whoever is off it is beaten by one that is no dearer and "
        f"no worse. The front goes by {by}. Activation bytes are what one example keeps for the "
        "backward pass; times depend on the machine and on what else it did."
    )
    caption += cut(len(digest.panels), MOST_PANELS, "panels") + cut(len(digest.lines), MOST_LINES, "lines")
    title = f"Cost and {objective.label}"
    return Chart(f"cost-{slug(objective.name)}", title, caption, drawn, width=110 + 200 * len(places))


def _points(digest: Groups, group: Group, objective: Quantity, kind: Cost, index: int) -> list[Point]:
    if digest.searched:
        found = [(kind.of(trial), objective.of(trial), trial) for trial in group.complete]
        return [
            Point(index, cost, score, shown(f"{trial.run_name or trial.number}: {number(score)}"))
            for cost, score, trial in found
            if cost is not None and score is not None
        ]
    spent = [cost for cost in map(kind.of, group.counted) if cost is not None]
    estimate = group.estimates.get(objective.name)
    if not spent or not estimate:
        return []
    return [Point(index, median(spent), estimate.value, f"{objective.text(estimate)}, n = {estimate.n}")]


def _mark(
    drawn: "Figure", points: Sequence[Point], cell: tuple[int, int], lines: Sequence[str], in_legend: set[int]
) -> None:
    from plotly.graph_objects import Scatter

    for index, members in groupby(points, key=lambda point: point.line):
        some = list(members)
        marks = Scatter(
            x=[point.cost for point in some],
            y=[point.score for point in some],
            mode="markers",
            marker={"color": look(index).colour, "symbol": look(index).symbol, "size": 10 if len(some) == 1 else 6},
            text=[point.text for point in some],
            hovertemplate="%{x:,.4g}<br>%{text}",
            name=shown(lines[index]),
            legendgroup=shown(lines[index]),
            showlegend=index not in in_legend and len(lines) > 1,
        )
        drawn.add_trace(marks, row=cell[0], col=cell[1])
        in_legend.add(index)
