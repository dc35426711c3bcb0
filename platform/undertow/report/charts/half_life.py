"""The score of every run against the half-life of its gradient, a panel for each state part.

for chart in half_life_charts(group_results(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from undertow.report.charts.chart import MAX_LINES, Chart, objective_axis_title, truncation_note
from undertow.report.charts.style import line_style, list_once, log_ticks, small_multiples
from undertow.report.format import format_number, plot_text, slug
from undertow.report.groups import Groups
from undertow.report.quantities import GROWS, Quantity, rate

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SHORTEST = 0.1  # time steps; a shorter half-life is drawn as 0


def half_life_charts(groups: Groups) -> list[Chart]:
    """A chart for each objective: every complete run by its score and the half-life of each state part."""
    parts = [part for part in groups.parts if any(rate(each, part) is not None for each in groups.complete)]
    if not parts:
        return []
    return [_chart(groups, objective, parts) for objective in groups.objectives if groups.measured(objective)]


def _chart(groups: Groups, objective: Quantity, parts: Sequence[str]) -> Chart:
    figure, cells = small_multiples([f"half-life of {plot_text(part)}" for part in parts], shared_yaxes=True)
    for part, (row, column) in zip(parts, cells, strict=True):
        axis = _HalfLifeAxis([found for each in groups.complete if (found := rate(each, part)) is not None])
        _add_marks(figure, groups, objective, part, axis, (row, column))
        figure.update_xaxes(
            type="log",
            range=axis.range,
            tickvals=axis.ticks,
            ticktext=axis.texts,
            title_text="time steps",
            row=row,
            col=column,
        )
    list_once(figure, len(groups.lines))
    figure.update_yaxes(title_text=objective_axis_title(objective), col=1)
    figure.update_layout(legend_itemsizing="constant")
    marks = "every complete sample of the search" if groups.searched else "every complete run"
    sizes = f" Larger marks: larger {groups.panel_name}." if len(groups.panels) > 1 else ""
    caption = f"A mark for {marks}.{sizes} “{GROWS}”: the gradient grows with the lag; 0: it vanished within one step."
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    name = f"{slug(objective.name)}-by-half-life"
    return Chart(name, f"{objective.label} by half-life", caption, figure, width=130 + 260 * len(parts))


def _add_marks(
    figure: "Figure", groups: Groups, objective: Quantity, part: str, axis: "_HalfLifeAxis", cell: tuple[int, int]
) -> None:
    """A trace for each group: larger marks in later panels."""
    from plotly.graph_objects import Scatter

    for index, line in enumerate(groups.lines[:MAX_LINES]):
        style = line_style(index)
        for depth, panel in enumerate(groups.panels):
            group = groups.at(line, panel)
            points = [
                (axis.position(found), score, each)
                for each in (group.complete if group else ())
                if (found := rate(each, part)) is not None and (score := objective.of(each)) is not None
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


class _HalfLifeAxis:
    """A logarithmic axis of half-lives, with a place for 0 at its left end and for `grows` at its right end.

    Args:
        rates: Halvings per step of all runs.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        half_lives = [1 / value for value in rates if value > 0]
        self._low = max(_SHORTEST, min(half_lives, default=1.0))
        self._high = max([*half_lives, 2 * self._low])
        between = log_ticks(self._low, self._high)
        vanished = [self._low / 2] if any(value < _SHORTEST for value in half_lives) else []
        grown = [self._high * 2] if any(value <= 0 for value in rates) else []
        self.ticks = [*vanished, *between, *grown]
        self.texts = [*(["0"] if vanished else []), *map(format_number, between), *([GROWS] if grown else [])]
        self.range = [
            math.log10(vanished[0] if vanished else self._low) - 0.12,
            math.log10(grown[0] if grown else self._high) + 0.12,
        ]

    def position(self, rate: float) -> float:
        """The place of a run on the axis."""
        if rate <= 0:
            return self._high * 2
        return self._low / 2 if 1 / rate < _SHORTEST else 1 / rate
