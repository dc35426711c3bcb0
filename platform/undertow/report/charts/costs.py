"""Cost against score: parameters, memory and time per step, and the Pareto front of each.

    for chart in cost_charts(group_results(results)):
        chart.figure.show()

A row for each kind of cost, a column for each length: lengths are different problems, so a front is drawn within one
length. The kinds are shown separately because they do not rank the cells alike. After a search every sample is a point.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from undertow.report.charts.chart import (
    MAX_LINES,
    MAX_PANELS,
    Chart,
    guessing_note,
    objective_axis_title,
    truncation_note,
)
from undertow.report.charts.style import GREY, apply_style, line_style, list_once, log_ticks, mark_guessing, set_margins
from undertow.report.format import format_number, plot_text, slug
from undertow.report.groups import Group, Groups
from undertow.report.guessing import guesses_in
from undertow.report.quantities import Quantity, finite_metric
from undertow.report.results import CombinationResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


_LOG_RATIO = 20
"""Costs whose largest value is more than this many times the smallest are drawn on a logarithmic axis."""


BUSY = 1.2
"""Load for each processor from which on processes wait for one another."""


@dataclass(frozen=True)
class Cost:
    """One kind of cost; less is better."""

    label: str
    of: Callable[[CombinationResult], float | None]


@dataclass(frozen=True)
class Point:
    """The cost and the score of a group, or of one sample of a search.

    Attributes:
        line: Index of its line.
        cost: Its cost.
        score: Its objective.
        text: Shown when it is pointed at.
    """

    line: int
    cost: float
    score: float
    text: str


def _step_time(combination: CombinationResult) -> float | None:
    speed = finite_metric(combination, "cost/steps_per_second")
    return 1000 / speed if speed else None


COSTS = (
    Cost("parameters", lambda each: finite_metric(each, "cost/parameters")),
    Cost("activation bytes", lambda each: finite_metric(each, "cost/activation_bytes")),
    Cost("ms per training step", _step_time),
)


def cost_charts(groups: Groups) -> list[Chart]:
    """A chart for each objective; none where no run measured its cost."""
    costs = [cost for cost in COSTS if any(cost.of(each) is not None for each in groups.complete)]
    return [_chart(groups, objective, costs) for objective in groups.objectives] if costs else []


def pareto_front(points: Sequence[tuple[float, float]], better: str | None) -> list[tuple[float, float]]:
    """The points that no other point improves on in cost and score at once, by rising cost.

    Args:
        points: Cost, of which less is better, and score.
        better: ``low`` or ``high``: which scores are better.
    """
    sign = 1 if better == "low" else -1
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * point[1] < sign * front[-1][1]:
            front.append(point)
    return front


def _chart(groups: Groups, objective: Quantity, costs: Sequence[Cost]) -> Chart:
    from plotly.subplots import make_subplots

    panels, score = groups.panels[:MAX_PANELS], objective.name.partition("/")[2]
    figure = make_subplots(
        rows=len(costs),
        cols=len(panels),
        shared_yaxes=True,
        column_titles=[plot_text(groups.panel_title(panel)) for panel in panels] if groups.panel_name else None,
        horizontal_spacing=0.12 / len(panels),
        vertical_spacing=58 / (230 * len(costs)),
    )
    figure.update_annotations(font_size=13)
    set_margins(apply_style(figure, 108 + 230 * len(costs)), 28)
    for row, cost in enumerate(costs, 1):
        for column, panel in enumerate(panels, 1):
            points = _points(groups, panel, objective, cost)
            figure.add_trace(_front_trace(points, objective), row=row, col=column)
            for marks in _mark_traces(points, groups.lines):
                figure.add_trace(marks, row=row, col=column)
            if points:
                mark_guessing(figure, guesses_in(groups.in_panel(panel), score), row, column)
            _set_cost_axis(figure, cost, [point.cost for point in points], row, column)
        figure.update_yaxes(title_text=objective_axis_title(objective), title_font_size=11, row=row, col=1)
    list_once(figure, len(groups.lines))
    title = f"Cost and {objective.label}"
    width = 110 + 200 * len(panels)
    caption = _caption(groups) + guessing_note(guesses_in(groups.groups, score))
    return Chart(f"cost-{slug(objective.name)}", title, caption, figure, width=width)


def _caption(groups: Groups) -> str:
    marks, front = (
        ("A mark for each sample of the search.", "from single samples")
        if groups.searched
        else (
            "Centre of the score and median of the cost over seeds.",
            "from these centres alone, without their spread",
        )
    )
    return (
        f"{marks} Grey line: the Pareto front within a panel, {front}. For every other point there is one on the front "
        "that costs no more and scores no worse. Activation bytes: what one example keeps for the backward pass. "
        + load_note(groups)
        + truncation_note(len(groups.panels), MAX_PANELS, "panels")
        + truncation_note(len(groups.lines), MAX_LINES, "lines")
    )


def load_note(groups: Groups) -> str:
    """How loaded the machine was while times were measured."""
    loads = [load for each in groups.complete for load in each.load.values()]
    note = "Times depend on the machine and on what else it does"
    if not loads:
        return f"{note}; its load was not recorded."
    low, high = format_number(min(loads)), format_number(max(loads))
    between = low if low == high else f"{low} to {high}"
    waited = ": processes waited for a processor, so that times are too long" if max(loads) > BUSY else ""
    return f"{note}. Its load, these runs included, was {between} for each processor{waited}."


def _points(groups: Groups, panel: str, objective: Quantity, cost: Cost) -> list[Point]:
    return [
        point
        for index, line in enumerate(groups.lines[:MAX_LINES])
        if (group := groups.at(line, panel))
        for point in (_sample_points if groups.searched else _group_point)(index, group, objective, cost)
    ]


def _sample_points(index: int, group: Group, objective: Quantity, cost: Cost) -> list[Point]:
    found = [(cost.of(each), objective.of(each), each) for each in group.complete]
    return [
        Point(index, spent, score, plot_text(f"{each.run_name or each.number}: {format_number(score)}"))
        for spent, score, each in found
        if spent is not None and score is not None
    ]


def _group_point(index: int, group: Group, objective: Quantity, cost: Cost) -> list[Point]:
    spent = [value for value in map(cost.of, group.included) if value is not None]
    estimate = group.estimates.get(objective.name)
    if not spent or not estimate:
        return []
    return [Point(index, median(spent), estimate.value, f"{objective.text(estimate)}, n = {estimate.n}")]


def _front_trace(points: Sequence[Point], objective: Quantity) -> Any:
    from plotly.graph_objects import Scatter

    front = pareto_front([(point.cost, point.score) for point in points], objective.better)
    return Scatter(
        x=[cost for cost, _ in front],
        y=[score for _, score in front],
        mode="lines",
        line={"color": GREY, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
    )


def _mark_traces(points: Sequence[Point], lines: Sequence[str]) -> list[Any]:
    """A trace for each line."""
    from plotly.graph_objects import Scatter

    traces = []
    for index, members in groupby(points, key=lambda point: point.line):
        marks, style, name = list(members), line_style(index), plot_text(lines[index])
        trace = Scatter(
            x=[point.cost for point in marks],
            y=[point.score for point in marks],
            mode="markers",
            marker={"color": style.colour, "symbol": style.symbol, "size": 10 if len(marks) == 1 else 6},
            text=[point.text for point in marks],
            hovertemplate="%{x:,.4g}<br>%{text}",
            name=name,
            legendgroup=name,
        )
        traces.append(trace)
    return traces


def _set_cost_axis(figure: "Figure", cost: Cost, spent: Sequence[float], row: int, column: int) -> None:
    figure.update_xaxes(title_text=cost.label, tickformat="~s", nticks=5, row=row, col=column)
    if len(set(spent)) == 1:
        figure.update_xaxes(tickvals=spent[:1], ticktext=[format_number(spent[0])], row=row, col=column)
    elif spent and max(spent) > _LOG_RATIO * min(spent) > 0:
        figure.update_xaxes(type="log", tickvals=log_ticks(min(spent), max(spent)), row=row, col=column)
