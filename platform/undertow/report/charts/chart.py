"""A chart: a figure with the words around it, and the look that all of them share.

    chart = Chart("reach-h", "Reach of h", "In time steps …", figure)
    look(0)                               # Look(colour="#0072B2", dash="solid", symbol="circle")

Colours are those of Okabe and Ito, which people with any colour vision can tell apart; each comes with a dash and a
marker, so that print without colour is enough.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")

SCALE = "Cividis"
"""Of heat maps: from dark blue to yellow, even to every eye, and ordered in grey."""

MOST_LINES = 16
MOST_PANELS = 12
"""More could not be told apart; the table has them all."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_GREY = "#d9d9d9"
_LEGEND_MARK, _LEGEND_LETTER, _LEGEND_ROW = 45, 6.4, 29
"""Pixels of a legend, as plotly lays it out in this font."""


@dataclass(frozen=True)
class Look:
    """How a line is drawn."""

    colour: str
    dash: str
    symbol: str

    @property
    def band(self) -> str:
        """The colour, so thin that lines below it are seen."""
        red, green, blue = (int(self.colour[place : place + 2], 16) for place in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.16)"


@dataclass(frozen=True)
class Chart:
    """A figure, or why there is none.

    Attributes:
        name: For links and files.
        title: Above it.
        caption: Below it: what is drawn, of what, and how to read it.
        figure: None where `caption` says why there is none.
        width: Pixels that it takes at least to be legible; a narrower screen scrolls.
        half: Whether two of its kind stand side by side.
    """

    name: str
    title: str
    caption: str
    figure: "Figure | None"
    width: int = 320
    half: bool = False


def look(place: int) -> Look:
    """The look of the line at this place; the first 35 differ in colour or dash."""
    return Look(COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)], SYMBOLS[place % len(SYMBOLS)])


def figure() -> "Figure":
    """An empty figure in the look of the report."""
    from plotly.graph_objects import Figure

    return dressed(Figure())


def panels(titles: Sequence[str], most_across: int = 4, **options: Any) -> tuple["Figure", list[tuple[int, int]]]:
    """A figure of small multiples with common axes.

    Args:
        titles: One for each panel.
        most_across: Columns.
        options: For plotly's `make_subplots`.

    Returns:
        The figure, and row and column of each panel.
    """
    from plotly.subplots import make_subplots

    across = min(most_across, len(titles))
    down = -(-len(titles) // across)
    made = make_subplots(
        rows=down,
        cols=across,
        subplot_titles=list(titles),
        horizontal_spacing=0.16 / across,
        vertical_spacing=min(0.32 / down, 0.2),
        **options,
    )
    for title in made.layout.annotations:
        title.font.size = 13
    return spaced(dressed(made, 60 + 270 * down), 28), [
        (place // across + 1, place % across + 1) for place in range(len(titles))
    ]


def dressed(made: "Figure", height: int = 380) -> "Figure":
    """The figure in the look of the report."""
    made.update_layout(
        template="none",
        font={"family": _FONT, "size": 12, "color": "#1b1b1b"},
        paper_bgcolor="white",
        plot_bgcolor="white",
        height=height,
        width=None,
        autosize=True,
        title=None,
        margin={"l": 62, "r": 16},
        legend={"orientation": "h", "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"font": {"family": _FONT}},
        colorway=list(COLOURS),
    )
    axis = {
        "gridcolor": _GREY,
        "zeroline": False,
        "linecolor": "#6b6b6b",
        "ticks": "outside",
        "tickcolor": "#6b6b6b",
        "title_standoff": 8,
    }
    made.update_xaxes(**axis)
    made.update_yaxes(**axis)
    return spaced(made)


def spaced(made: "Figure", above: int = 8, below: int = 52) -> "Figure":
    """Set the legend so many pixels above the plots, and make room for it and for what is below.

    Args:
        made: A figure with its final height.
        above: For the titles of panels.
        below: For the titles of axes.
    """
    made.update_layout(margin={"t": above + 28, "b": below})
    made.update_layout(legend_y=1 + above / (made.layout.height - above - 28 - below))
    return made


def with_room(chart: Chart) -> Chart:
    """The chart, made taller by what its legend takes beyond one row; or the legend would eat the plots."""
    if chart.figure is not None:
        names = {trace.name for trace in chart.figure.data if trace.name and trace.showlegend is not False}
        column = _LEGEND_MARK + _LEGEND_LETTER * max(map(len, names), default=0)  # all as wide as the widest
        rows = -(-len(names) // max(1, int((480 if chart.half else 960) // column)))
        more = _LEGEND_ROW * max(0, rows - 1)
        layout = chart.figure.layout
        chart.figure.update_layout(height=layout.height + more, margin_t=layout.margin.t + more)
    return chart


def titled(chart: Chart) -> "Figure":
    """The figure by itself, with its title on it; the chart must have one."""
    from plotly.graph_objects import Figure

    assert chart.figure is not None
    alone = Figure(chart.figure)
    top = alone.layout.margin.t + 36
    alone.update_layout(
        title={"text": chart.title, "x": 0.01, "xanchor": "left", "yref": "container", "y": 0.985, "yanchor": "top"},
        margin_t=top,
        height=alone.layout.height + 36,
    )
    return alone


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, or 1, 2, 5, 10 …, or closer still.

    Args:
        low: The smallest number on the axis, above 0.
        high: The largest.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for digits in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(inside) > 2:
            break
    return inside or [low]


def cut(total: int, most: int, noun: str) -> str:
    """A sentence when only the first of many are drawn."""
    return f" Of {total} {noun} the first {most} are drawn; the table of results has them all." if total > most else ""
