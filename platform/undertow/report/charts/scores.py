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
from undertow.report.format import join_words, plot_text, slug
from undertow.report.groups import Group, Groups
from undertow.report.guessing import guessing
from undertow.report.quantities import DEFINITIONS, Quantity
from undertow.report.statistics import Estimate, centre_name, spread_name


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
    """A chart for each objective and test score: its centre at each length (or cell, where no length is varied)."""
    if len(groups.groups) < 2:
        return []
    scores = [each for each in groups.quantities if each.kind in ("objective", "test")]
    return [_chart(groups, score) for score in scores if groups.measured(score)]


def _chart(groups: Groups, objective: Quantity) -> Chart:
    figure, axis = new_figure(), _axis(groups)
    for index, line in enumerate(axis.lines[:MAX_LINES]):
        points = _points(groups, axis, line, objective)
        figure.add_trace(_seeds_trace(line, index, points, objective))
        figure.add_trace(_centre_trace(line, index, points, objective, groups))
    trivial = _guesses(groups, objective)
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
    caption = f"{DEFINITIONS[objective.kind]} {_how_drawn(groups)} Small open marks: the single runs."
    if trivial:
        caption += " Grey: guessing, the best answer that ignores the input."
    caption += truncation_note(len(axis.lines), MAX_LINES, "lines")
    name = f"{slug(objective.name)}-by-{slug(axis.name)}"
    return Chart(name, f"{objective.label} by {axis.name}", caption, figure, half=len(axis.labels) <= 8)


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


def _centre_trace(
    line: str, index: int, points: Sequence[tuple[float, Group, Estimate]], objective: Quantity, groups: Groups
) -> Any:
    """The centres, joined, with their ranges or intervals."""
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


def _how_drawn(groups: Groups) -> str:
    """What marks and bars are, by the numbers of runs."""
    centres = join_words(sorted({centre_name(n) for n in groups.replicates}))
    spreads = join_words(sorted({spread_name(n) for n in groups.replicates if n > 1}))
    return f"Marks: {centres} over seeds" + (f"; bars: {spreads}." if spreads else ".")


def _guesses(groups: Groups, score: Quantity) -> dict[str, float]:
    """The score of guessing by the label on the axis, where a run recorded it."""
    return {
        group.panel if groups.panel_name else group.line: guess
        for group in groups.groups
        if (guess := guessing(group, score)) is not None
    }


def _trivial_trace(axis: _Axis, losses: dict[str, float]) -> Any:
    from plotly.graph_objects import Scatter

    return Scatter(
        x=axis.positions,
        y=[losses.get(label) for label in axis.labels],
        mode="lines+markers",
        line={"color": GREY, "dash": "dot", "width": 1.5},
        marker={"symbol": "line-ew-open", "size": 12, "color": GREY},
        name="guessing",
        showlegend=True,
        hovertemplate="%{y:.4g}: the best answer that ignores the input",
    )
