"""Curves over replicates, centre and spread at each step, and the panels that show them.

curve = centre_curve(group.included, "gradient/h/by_lag")
drawn = curve_panels(groups, "gradient/h/by_lag", "lag")
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from undertow.report.charts.chart import MAX_LINES, MAX_PANELS
from undertow.report.charts.style import line_style, list_once, small_multiples
from undertow.report.format import join_words, plot_text
from undertow.report.groups import Groups
from undertow.report.results import CombinationResult, Curve
from undertow.report.statistics import centre_name, spread, spread_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class CentreCurve:
    """The centre of a curve over some runs: median or IQM, as `undertow.report.statistics` chooses by their number.

    Attributes:
        steps: The steps of the axis at which all runs have a value.
        centre: The centre at each.
        low: Lower end of its range or interval; None for a single run.
        high: Upper end.
        n: The number of runs.
    """

    steps: list[int]
    centre: list[float]
    low: list[float] | None
    high: list[float] | None
    n: int


@dataclass(frozen=True)
class CurvePanels:
    """A figure with a panel for each length and a curve for each cell.

    Attributes:
        figure: The figure.
        rows: Of panels.
        columns: Of panels.
        curves: All curves drawn.
    """

    figure: "Figure"
    rows: int
    columns: int
    curves: tuple[CentreCurve, ...]


def centre_curve(combinations: Sequence[CombinationResult], name: str) -> CentreCurve | None:
    """The centre of a curve over some runs; None where none recorded it."""
    steps, values = align([curve for each in combinations if (curve := each.curves.get(name))])
    if not steps:
        return None
    if len(values) == 1:
        return CentreCurve(steps, values[0].tolist(), None, None, 1)
    centre, low, high = (each.tolist() for each in spread(values.T))
    return CentreCurve(steps, centre, low, high, len(values))


def align(curves: Sequence[Curve]) -> tuple[list[int], Any]:
    """The steps at which all curves have a finite value, and these values, shape `(curves, steps)`."""
    import numpy as np

    curves = [curve for curve in curves if curve[0]]
    if not curves:
        return [], None
    common = sorted(set(curves[0][0]).intersection(*(steps for steps, _ in curves[1:])))
    values = np.array([_values_at(curve, common) for curve in curves])
    finite = np.isfinite(values).all(axis=0)
    return [step for step, keep in zip(common, finite, strict=True) if keep], values[:, finite]


def curve_panels(groups: Groups, name: str, axis: str) -> CurvePanels:
    """Draw the curve of every group.

    Args:
        groups: The groups.
        name: The curve's metric name.
        axis: What its steps are, such as ``lag``.
    """
    panels = groups.panels[:MAX_PANELS]
    titles = [plot_text(groups.panel_title(panel)) for panel in panels]
    figure, cells = small_multiples(titles, shared_xaxes="all", shared_yaxes="all")
    curves: list[CentreCurve] = []
    traces: list[Any] = []
    places: list[tuple[int, int]] = []
    for panel, cell in zip(panels, cells, strict=True):
        for index, line in enumerate(groups.lines[:MAX_LINES]):
            group = groups.at(line, panel)
            if group and (curve := centre_curve(group.included, name)):
                new = line_traces(line, index, curve, axis)
                traces += new
                places += [cell] * len(new)
                curves.append(curve)
    figure.add_traces(traces, [row for row, _ in places], [column for _, column in places])
    list_once(figure, len(groups.lines))
    rows, columns = (max(ends) for ends in zip(*cells, strict=True))
    return CurvePanels(figure, rows, columns, tuple(curves))


def _values_at(curve: Curve, steps: Sequence[int]) -> list[float]:
    known = dict(zip(*curve, strict=True))
    return [value if isfinite(value := known[step]) and abs(value) < 1e300 else nan for step in steps]


def line_traces(line: str, index: int, curve: CentreCurve, axis: str) -> list[Any]:
    """The line and, below it, its band."""
    from plotly.graph_objects import Scatter

    style = line_style(index)
    shared: dict[str, Any] = {"legendgroup": plot_text(line), "name": plot_text(line)}
    traces = []
    if curve.low and curve.high:
        band = Scatter(
            x=[*curve.steps, *reversed(curve.steps)],
            y=[*curve.high, *reversed(curve.low)],
            fill="toself",
            fillcolor=style.band,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            **shared,
        )
        traces.append(band)
    line_trace = Scatter(
        x=curve.steps,
        y=curve.centre,
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 5},
        hovertemplate=f"%{{y:.3g}} at {axis} %{{x}}<br>n = {curve.n}",
        **shared,
    )
    return [*traces, line_trace]


def how_drawn(curves: Sequence[CentreCurve]) -> str:
    """The sentence that says what lines and bands are, by the numbers of runs."""
    numbers = sorted({curve.n for curve in curves})
    if not numbers or numbers == [1]:
        return "Lines: single runs."
    centres = join_words(sorted({centre_name(n) for n in numbers}, reverse=True))
    bands = join_words(sorted({spread_name(n) for n in numbers if n > 1}, reverse=True))
    n = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"Lines: {centres} over seeds; bands: {bands} (n = {n})."
