"""Gradient profiles: log norm against lag, a panel for each length, a line for each cell, bands over seeds.

    for chart in profiles(arrange(results)):
        chart.figure.show()

One chart for each part of the state, layers taken together. The line is the mean over seeds of the log10 norm, so the
geometric mean of the norms; the band is its bootstrap interval at each lag. Seeds whose cues lie elsewhere are measured
at a few lags of their own; those are left out of the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from undertow.report.charts.chart import MOST_LINES, MOST_PANELS, Chart, cut, look, panels, spaced
from undertow.report.format import power_of_ten, shown
from undertow.report.groups import Groups
from undertow.report.results import CombinationResult, Curve
from undertow.report.statistics import mean_band

if TYPE_CHECKING:
    pass

BOTTOM = -16.0
"""log10 of the smallest norm that is in sight at first: what is below moves no float32 weight of size 1."""

BUTTONS = 34
"""Pixels that the buttons below the plots take."""


@dataclass(frozen=True)
class Profile:
    """The mean profile of a group.

    Attributes:
        lags: Where all of its runs were measured.
        mean: Of log10 of the norm.
        low: Lower end of the interval; None for a single run.
        high: Upper end.
        n: Runs.
    """

    lags: list[int]
    mean: list[float]
    low: list[float] | None
    high: list[float] | None
    n: int


def profiles(digest: Groups) -> list[Chart]:
    """A chart for each part of the state."""
    return [_chart(digest, part) for part in digest.parts]


def mean_curve(trials: Sequence[CombinationResult], name: str) -> Profile | None:
    """The mean of a curve over some runs; None where none was measured."""
    lags, values = aligned([curve for trial in trials if (curve := trial.curves.get(name))])
    if not lags:
        return None
    low, high = (end.tolist() for end in mean_band(values)) if len(values) > 1 else (None, None)
    return Profile(lags, values.mean(axis=0).tolist(), low, high, len(values))


def aligned(curves: Sequence[Curve]) -> tuple[list[int], Any]:
    """The lags at which all curves have a finite value, and these values, shape `(curves, lags)`."""
    import numpy as np

    curves = [curve for curve in curves if curve[0]]
    if not curves:
        return [], None
    common = sorted(set(curves[0][0]).intersection(*(lags for lags, _ in curves[1:])))
    values = np.array([_at(curve, common) for curve in curves])
    finite = np.isfinite(values).all(axis=0)
    return [lag for lag, fine in zip(common, finite, strict=True) if fine], values[:, finite]


def _at(curve: Curve, lags: Sequence[int]) -> list[float]:
    known = dict(zip(*curve, strict=True))
    return [value if isfinite(value := known[lag]) and abs(value) < 1e300 else nan for lag in lags]


def _chart(digest: Groups, part: str) -> Chart:
    lines, places = digest.lines[:MOST_LINES], digest.panels[:MOST_PANELS]
    figure, cells = panels([shown(digest.titled(panel)) for panel in places], shared_xaxes="all", shared_yaxes="all")
    traces: list[Any] = []
    cells_of: list[tuple[int, int]] = []
    in_legend: set[str] = set()
    extremes = [0.0]
    for panel, cell in zip(places, cells, strict=True):
        for place, line in enumerate(lines):
            group = digest.at(line, panel)
            profile = mean_curve(group.counted, f"gradient/{part}/by_lag") if group else None
            if profile:
                traces += (drawn := curve_traces(line, place, profile, len(digest.lines) > 1 and line not in in_legend))
                cells_of += [cell] * len(drawn)
                in_legend.add(line)
                extremes += [*profile.mean, *(profile.low or []), *(profile.high or [])]
    figure.add_traces(traces, [row for row, _ in cells_of], [column for _, column in cells_of])
    across = max(column for _, column in cells)
    floor = max(min(extremes), BOTTOM)
    room = 0.04 * (max(extremes) - floor)
    figure.update_xaxes(type="log", dtick=1, minor={"ticks": "outside", "ticklen": 2}, showticklabels=True)
    figure.update_yaxes(range=[floor - room, max(extremes) + room])
    figure.update_xaxes(title_text="lag, time steps", row=max(row for row, _ in cells))
    figure.update_yaxes(title_text=f"log₁₀ ‖∂L/∂{shown(part)}‖", col=1)
    figure.update_layout(updatemenus=[_log_or_linear(len(places))], height=figure.layout.height + BUTTONS)
    spaced(figure, 28, 52 + BUTTONS)
    caption = (
        f"Norm of the gradient that arrives at {part}, by how many steps before the loss; at the end of training. "
        "Lines: mean over seeds of log₁₀; bands: 95 % bootstrap interval of that mean (none for a single run)."
    )
    if min(extremes) < BOTTOM:
        caption += f" What falls below {power_of_ten(BOTTOM)} is out of sight; zoom out by a double click."
    caption += cut(len(digest.lines), MOST_LINES, "lines") + cut(len(digest.panels), MOST_PANELS, "panels")
    if not in_legend:
        return Chart(f"profile-{part}", f"Gradient of {part} by lag", "No complete run measured it.", None)
    return Chart(
        f"profile-{part}", f"Gradient of {part} by lag", caption, figure, width=130 + 190 * across, half=across == 1
    )


def curve_traces(line: str, place: int, profile: Profile, in_legend: bool, axis: str = "lag") -> list[Any]:
    """A line and its band, in the look of its place.

    Args:
        line: Its label.
        place: Among the lines.
        profile: What to draw.
        in_legend: Whether it is listed.
        axis: What it runs along.
    """
    from plotly.graph_objects import Scatter

    style = look(place)
    common: dict[str, Any] = {"legendgroup": shown(line), "name": shown(line)}
    traces = []
    if profile.low and profile.high:
        band = Scatter(
            x=[*profile.lags, *reversed(profile.lags)],
            y=[*profile.high, *reversed(profile.low)],
            fill="toself",
            fillcolor=style.band,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
        traces.append(band)
    curve = Scatter(
        x=profile.lags,
        y=profile.mean,
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 5},
        hovertemplate=f"%{{y:.3g}} at {axis} %{{x}}<br>n = {profile.n}",
        showlegend=in_legend,
        **common,
    )
    return [*traces, curve]


def _log_or_linear(axes: int) -> dict[str, Any]:
    """Buttons for the axis of lags: an exponential fall is straight on the linear one."""
    names = [f"xaxis{place or ''}" for place in (0, *range(2, axes + 1))]
    return {
        "type": "buttons",
        "direction": "right",
        "x": 1,
        "xanchor": "right",
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 48},
        "showactive": True,
        "buttons": [
            {"label": label, "method": "relayout", "args": [{f"{name}.type": kind for name in names}]}
            for label, kind in (("log lag", "log"), ("linear lag", "linear"))
        ],
    }
