"""A chart: a plotly figure with its title and caption.

    chart = Chart("reach-h", "Reach of h", "In time steps …", figure)
    standalone_figure(chart).write_html("reach-h.html")

Title and caption are plain text: the page and plotly each escape what they need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from undertow.report.format import plot_text
from undertow.report.quantities import Quantity

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_LINES = 16
MAX_PANELS = 12
"""A chart shows no more, to stay legible; the table of results has all of them."""

_TITLE_HEIGHT = 36
_LEGEND_MARK, _LEGEND_LETTER, _LEGEND_ROW = 45, 6.4, 29
"""Pixels of a legend, as plotly lays it out in the report's font."""

_BUTTON_ROW = 22
"""Pixels of plotly's own buttons, which stand beside the legend of a wide chart and above that of a half one."""


@dataclass(frozen=True)
class Chart:
    """A figure, or the reason why there is none.

    Attributes:
        name: For links and files.
        title: Shown above the figure.
        caption: Shown below it: what is drawn, from which runs, how to read it.
        figure: None where `caption` says why there is none.
        width: Pixels that it needs to be legible; a narrower screen scrolls.
        half: Whether two such charts stand side by side.
        folded: Whether it is shown only when a reader asks for it.
    """

    name: str
    title: str
    caption: str
    figure: "Figure | None"
    width: int = 320
    half: bool = False
    folded: bool = False


def fit_legend(chart: Chart) -> Chart:
    """The chart, made taller by what its legend takes beyond one free row, so that the plots keep their size."""
    if chart.figure is not None:
        names = {trace.name for trace in chart.figure.data if trace.name and trace.showlegend is not False}
        column = _LEGEND_MARK + _LEGEND_LETTER * max(map(len, names), default=0)  # all as wide as the widest
        rows = -(-len(names) // max(1, int((480 if chart.half else 960) // column)))
        more = _LEGEND_ROW * max(0, rows - 1) + (_BUTTON_ROW if names and chart.half else 0)
        layout = chart.figure.layout
        chart.figure.update_layout(height=layout.height + more, margin_t=layout.margin.t + more)
    return chart


def with_unique_names(charts: Sequence[Chart]) -> list[Chart]:
    """The charts, a number added to a name that an earlier one has: ``val/f1`` and ``val/F1`` give the same name."""
    taken: set[str] = set()
    found = []
    for chart in charts:
        name, number = chart.name, 2
        while name in taken:
            name, number = f"{chart.name}-{number}", number + 1
        taken.add(name)
        found.append(replace(chart, name=name))
    return found


def standalone_figure(chart: Chart) -> "Figure":
    """A copy of the figure with the title on it; the chart must have a figure."""
    from plotly.graph_objects import Figure

    assert chart.figure is not None
    figure = Figure(chart.figure)
    title = {"text": plot_text(chart.title), "x": 0.01, "xanchor": "left", "y": 0.985, "yanchor": "top"}
    figure.update_layout(
        title={**title, "yref": "container"},
        margin_t=figure.layout.margin.t + _TITLE_HEIGHT,
        height=figure.layout.height + _TITLE_HEIGHT,
    )
    return figure


def objective_axis_title(objective: Quantity) -> str:
    """The objective, and which end is better, as the title of an axis."""
    return f"{plot_text(objective.label)} ({'less' if objective.better == 'low' else 'more'} is better)"


def guessing_note(guesses: Sequence[float]) -> str:
    """A sentence for the caption where a line marks the score of guessing; else nothing."""
    return " Dotted grey line: guessing, the best answer that ignores the input." if guesses else ""


def truncation_note(total: int, limit: int, noun: str) -> str:
    """A sentence for the caption where only the first of many are drawn; else nothing."""
    if total <= limit:
        return ""
    return f" The first {limit} of {total} {noun} are drawn; the table of results has all of them."
