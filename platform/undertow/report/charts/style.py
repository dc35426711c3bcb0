"""The style that all charts share: colours, dashes and markers of lines, fonts, axes, margins, legends.

    line_style(0)                         # LineStyle(colour="#0072B2", dash="solid", symbol="circle")

The colours are those of Okabe and Ito, which people with any colour vision can distinguish. Each comes with a dash and
a marker, so that lines differ in print without colour as well.
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

COLOUR_SCALE = "Cividis"
"""Of heat maps: from dark blue to yellow; perceived alike with any colour vision, and ordered in grey."""

GREY = "#8a8a8a"
TEXT = "#1b1b1b"

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
_GRID = "#d9d9d9"
_MOST_GUESSES = 4
_AXIS = "#6b6b6b"


@dataclass(frozen=True)
class LineStyle:
    """Colour, dash and marker of a line."""

    colour: str
    dash: str
    symbol: str

    @property
    def band(self) -> str:
        """The colour with 16 % opacity, for the interval around the line."""
        red, green, blue = (int(self.colour[place : place + 2], 16) for place in (1, 3, 5))
        return f"rgba({red},{green},{blue},0.16)"


def line_style(index: int) -> LineStyle:
    """The style of the line with this index; the first 35 differ in colour or dash."""
    return LineStyle(COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)], SYMBOLS[index % len(SYMBOLS)])


def new_figure() -> "Figure":
    """An empty figure in the report's style."""
    from plotly.graph_objects import Figure

    return apply_style(Figure())


def small_multiples(
    titles: Sequence[str], max_columns: int = 4, **options: Any
) -> tuple["Figure", list[tuple[int, int]]]:
    """A figure of panels of the same kind.

    Args:
        titles: One for each panel.
        max_columns: Panels side by side.
        options: For plotly's `make_subplots`.

    Returns:
        The figure, and row and column of each panel.
    """
    from plotly.subplots import make_subplots

    columns = min(max_columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(titles),
        horizontal_spacing=0.16 / columns,
        vertical_spacing=min(0.32 / rows, 0.2),
        **options,
    )
    figure.update_annotations(font_size=13)
    cells = [(index // columns + 1, index % columns + 1) for index in range(len(titles))]
    return set_margins(apply_style(figure, 60 + 270 * rows), 28), cells


def apply_style(figure: "Figure", height: int = 380) -> "Figure":
    """Give a figure the report's style and this height in pixels; returns it."""
    figure.update_layout(
        template="none",
        font={"family": _FONT, "size": 12, "color": TEXT},
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
        "gridcolor": _GRID,
        "zeroline": False,
        "linecolor": _AXIS,
        "ticks": "outside",
        "tickcolor": _AXIS,
        "title_standoff": 8,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return set_margins(figure)


def set_margins(figure: "Figure", above: int = 8, below: int = 52) -> "Figure":
    """Make room above and below the plots, and put the legend above them; returns the figure.

    Args:
        figure: A figure with its final height.
        above: Pixels for the titles of panels, between the plots and the legend.
        below: Pixels for the titles of axes.
    """
    figure.update_layout(margin={"t": above + 28, "b": below})
    figure.update_layout(legend_y=1 + above / (figure.layout.height - above - 28 - below))
    return figure


def list_once(figure: "Figure", lines: int) -> None:
    """Keep one legend entry for each name, and none where the chart has a single line."""
    seen: set[str] = set()
    for trace in figure.data:
        if trace.showlegend is not False:
            trace.showlegend = lines > 1 and trace.name not in seen
            seen.add(trace.name)


def mark_guessing(figure: "Figure", guesses: Sequence[float], row: int | str = "all", col: int | str = "all") -> None:
    """Draw a dotted grey line at each score of guessing, across panels that have marks.

    Args:
        figure: A figure of scores.
        guesses: From `undertow.report.guessing.guesses_in`; many are not drawn, since nobody could tell them apart.
        row: Of the panel.
        col: Of the panel.
    """
    for guess in guesses if len(guesses) <= _MOST_GUESSES else ():
        figure.add_hline(y=guess, line={"color": GREY, "dash": "dot", "width": 1.5}, row=row, col=col)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, or 1, 2, 5, 10 …, or closer ones.

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
