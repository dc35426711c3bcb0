"""The score against the length, with its interval and the single runs.

for chart in score_charts(group_results(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from undertow.report.charts.chart import MAX_LINES, Chart, objective_axis_title, truncation_note
from undertow.report.charts.style import GREY, apply_style, line_style, new_figure
from undertow.report.format import plot_text, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import Quantity, finite_metric
from undertow.report.statistics import Estimate

_LOSSES = ("val/loss", "train/loss")


@dataclass(frozen=True)
class _Axis:
    """The horizontal axis: the panels, or the lines where there is a single panel.

    Attributes:
        name: Of the factor.
        labels: Of its values.
        positions: Of its values on the axis.
        logarithmic: Whether the positions are the values themselves, on a logarithmic axis.
        lines: What is drawn as lines; a single nameless one where the lines are on the axis.
    """

    name: str
    labels: tuple[str, ...]
    positions: list[float]
    logarithmic: bool
    lines: tuple[str, ...]


def score_charts(groups: Groups) -> list[Chart]:
    """A chart for each objective: its IQM at each length (or at each cell, where no length is varied)."""
    if len(groups.groups) < 2:
        return []
    return [_chart(groups, objective) for objective in groups.objectives if groups.measured(objective)]


def _chart(groups: Groups, objective: Quantity) -> Chart:
    figure, axis = new_figure(), _axis(groups)
    for index, line in enumerate(axis.lines[:MAX_LINES]):
        points = _points(groups, axis, line, objective)
        figure.add_trace(_seeds_trace(line, index, points, objective))
        figure.add_trace(_mean_trace(line, index, points, objective, groups))
    trivial = _trivial_losses(groups) if objective.name in _LOSSES else {}
    if trivial:
        figure.add_trace(_trivial_trace(axis, trivial))
    apply_style(figure, 400)
    figure.update_xaxes(
        type="log" if axis.logarithmic else "linear",
        tickvals=axis.positions,
        ticktext=list(map(plot_text, axis.labels)),
        title_text=plot_text(axis.name),
        minor={"ticks": ""},
    )
    figure.update_yaxes(title_text=objective_axis_title(objective))
    caption = "IQM over seeds with its 95 % bootstrap interval; small open marks: the single runs."
    if trivial:
        caption += " Grey: the loss of the best prediction that ignores the input."
    caption += truncation_note(len(axis.lines), MAX_LINES, "lines")
    name = f"{slug(objective.name)}-by-{slug(axis.name)}"
    return Chart(name, f"{objective.label} by {axis.name}", caption, figure)


def _axis(groups: Groups) -> _Axis:
    if groups.panel_name:
        return _Axis(groups.panel_name, groups.panels, *_positions(groups.panels), groups.lines)
    return _Axis(groups.line_name, groups.lines, *_positions(groups.lines), ("",))


def _positions(labels: Sequence[str]) -> tuple[list[float], bool]:
    """The numbers themselves on a logarithmic axis where all are above 0, else places side by side."""
    try:
        values = [float(label) for label in labels]
    except ValueError:
        values = []
    if len(values) > 1 and min(values) > 0 and all(map(math.isfinite, values)):
        return values, True
    return [float(place) for place in range(len(labels))], False


def _points(groups: Groups, axis: _Axis, line: str, objective: Quantity) -> list[tuple[float, Group, Estimate]]:
    """Position, group and estimate of every point of a line."""
    found = []
    for position, label in zip(axis.positions, axis.labels, strict=True):
        group = groups.at(line, label) if groups.panel_name else groups.at(label, "")
        if group and (estimate := group.estimates.get(objective.name)):
            found.append((position, group, estimate))
    return found


def _seeds_trace(line: str, index: int, points: Sequence[tuple[float, Group, Estimate]], objective: Quantity) -> Any:
    """A small open mark for each run."""
    from plotly.graph_objects import Scatter

    seeds = [(place, value) for place, group, _ in points for value in objective.values(group.included)]
    style = line_style(index)
    return Scatter(
        x=[place for place, _ in seeds],
        y=[value for _, value in seeds],
        mode="markers",
        marker={"color": style.colour, "symbol": style.symbol + "-open", "size": 5},
        opacity=0.55,
        hoverinfo="skip",
        showlegend=False,
        legendgroup=plot_text(line),
        name=plot_text(line),
    )


def _mean_trace(
    line: str, index: int, points: Sequence[tuple[float, Group, Estimate]], objective: Quantity, groups: Groups
) -> Any:
    """The means, joined, with their intervals."""
    from plotly.graph_objects import Scatter

    style = line_style(index)
    ends = [(each.value, each.low, each.high) for _, _, each in points]
    return Scatter(
        x=[place for place, _, _ in points],
        y=[value for value, _, _ in ends],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [0.0 if high is None else high - value for value, _, high in ends],
            "arrayminus": [0.0 if low is None else value - low for value, low, _ in ends],
            "thickness": 1.2,
            "width": 4,
        },
        mode="lines+markers" if groups.panel_name else "markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 8},
        text=[f"{objective.text(estimate)}, n = {group.n}" for _, group, estimate in points],
        hovertemplate="%{text}",
        showlegend=len(groups.lines) > 1 and bool(groups.panel_name),
        legendgroup=plot_text(line),
        name=plot_text(line),
    )


def _trivial_losses(groups: Groups) -> dict[str, float]:
    """The task's trivial loss by the label on the axis, where a run recorded it."""
    return {
        group.panel if groups.panel_name else group.line: loss
        for group in groups.groups
        for each in group.included
        if (loss := finite_metric(each, "task/trivial_loss")) is not None
    }


def _trivial_trace(axis: _Axis, losses: dict[str, float]) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(
        x=axis.positions,
        y=[losses.get(label) for label in axis.labels],
        mode="lines+markers",
        line={"color": GREY, "dash": "dot", "width": 1.5},
        marker={"symbol": "line-ew-open", "size": 12, "color": GREY},
        name="without the input",
        showlegend=True,
        hovertemplate="%{y:.4g}: the best prediction that ignores the input",
    )
