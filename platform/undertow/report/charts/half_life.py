"""The score of every run against the half-life of the gradient by its input.

for chart in half_life_charts(group_results(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from undertow.report.charts.chart import MAX_LINES, Chart, guessing_note, objective_axis_title, truncation_note
from undertow.report.charts.style import line_style, list_once, log_ticks, mark_guessing, small_multiples
from undertow.report.format import format_number, plot_text, slug
from undertow.report.groups import Groups
from undertow.report.guessing import guesses_in
from undertow.report.quantities import Quantity

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def half_life_charts(groups: Groups) -> list[Chart]:
    """A chart for each objective: every complete run by its score and its half-life."""
    lives = [each for each in groups.quantities if each.kind == "half-life" and each.compares_cells]
    lives = lives or [each for each in groups.quantities if each.kind == "earlier" and "half-life" in each.name]
    lives = [each for each in lives if each.values(groups.complete)]
    if not lives:
        return []
    return [_chart(groups, objective, lives) for objective in groups.objectives if groups.measured(objective)]


def _chart(groups: Groups, objective: Quantity, lives: Sequence[Quantity]) -> Chart:
    figure, cells = small_multiples([plot_text(each.label) for each in lives], shared_yaxes=True)
    for life, (row, column) in zip(lives, cells, strict=True):
        axis = _LagAxis(life.values(groups.complete), life.bounds(groups.complete))
        _add_marks(figure, groups, objective, life, axis, (row, column))
        figure.update_xaxes(
            type="log",
            range=axis.range,
            tickvals=axis.ticks,
            ticktext=axis.texts,
            title_text="lag, time steps",
            row=row,
            col=column,
        )
    guesses = guesses_in(groups.groups, objective.name.partition("/")[2])
    mark_guessing(figure, guesses)
    list_once(figure, len(groups.lines))
    figure.update_yaxes(title_text=objective_axis_title(objective), col=1)
    figure.update_layout(legend_itemsizing="constant")
    marks = "every complete sample of the search" if groups.searched else "every complete run"
    sizes = f" Larger marks: larger {groups.panel_name}." if len(groups.panels) > 1 else ""
    caption = f"A mark for {marks}.{sizes} “beyond”: the gradient does not fall to half within the sequence."
    caption += guessing_note(guesses)
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    name, title = f"{slug(objective.name)}-by-half-life", f"{objective.label} and half-life of each run"
    return Chart(name, title, caption, figure, width=130 + 260 * len(lives), folded=True)


def _add_marks(
    figure: "Figure", groups: Groups, objective: Quantity, life: Quantity, axis: "_LagAxis", cell: tuple[int, int]
) -> None:
    """A trace for each group: larger marks in later panels."""
    from plotly.graph_objects import Scatter

    for index, line in enumerate(groups.lines[:MAX_LINES]):
        style = line_style(index)
        for depth, panel in enumerate(groups.panels):
            group = groups.at(line, panel)
            points = [
                (axis.position(lag, life.is_bound(each)), score, each)
                for each in (group.complete if group else ())
                if (lag := life.of(each)) is not None and (score := objective.of(each)) is not None
            ]
            if not points:
                continue
            marks = Scatter(
                x=[place for place, _, _ in points],
                y=[score for _, score, _ in points],
                mode="markers",
                marker={
                    "color": style.colour,
                    "symbol": style.symbol,
                    "size": 6 + min(8, 3 * depth),
                    "opacity": 0.75,
                    "line": {"width": 0.5, "color": "white"},
                },
                text=[plot_text(each.run_name) for _, _, each in points],
                hovertemplate=f"{plot_text(groups.panel_title(panel))}<br>%{{y}}<br>%{{text}}",
                legendgroup=plot_text(line),
                name=plot_text(line),
            )
            figure.add_trace(marks, row=cell[0], col=cell[1])


class _LagAxis:
    """A logarithmic axis of lags, with a place at its right end for runs that are beyond it.

    Args:
        lags: Of all runs.
        bounds: Whether each is a lower bound.
    """

    def __init__(self, lags: Sequence[float], bounds: Sequence[bool]) -> None:
        exact = [lag for lag, bound in zip(lags, bounds, strict=True) if not bound]
        self._low = max(1e-3, min(exact, default=1.0))  # earlier versions recorded 0 for what vanished in one step
        self._high = max([*exact, 2 * self._low])
        between = log_ticks(self._low, self._high)
        beyond = [self._high * 2] if any(bounds) else []
        self.ticks = [*between, *beyond]
        self.texts = [*map(format_number, between), *(["beyond"] if beyond else [])]
        self.range = [math.log10(self._low) - 0.12, math.log10(beyond[0] if beyond else self._high) + 0.12]

    def position(self, lag: float, bound: bool) -> float:
        """The place of a run on the axis."""
        return self._high * 2 if bound else max(lag, self._low)
