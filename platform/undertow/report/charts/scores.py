"""The score against the length, and against the half-life: does a gradient that reaches further mean learning?

for chart in [*scores_by_panel(digest), *scores_by_half_life(digest)]:
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from typing import Any

from undertow.report.charts.chart import MOST_LINES, Chart, cut, dressed, figure, log_ticks, look, panels
from undertow.report.format import number, shown, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import GROWS, Quantity, rate


def scores_by_panel(digest: Groups) -> list[Chart]:
    """A chart for each objective: its IQM at each length (or at each cell, where no length is varied)."""
    if len(digest.groups) < 2:
        return []
    return [_by_panel(digest, objective) for objective in digest.objectives if _known(digest, objective)]


def scores_by_half_life(digest: Groups) -> list[Chart]:
    """A chart for each objective: every complete run by its score and the half-life of each state part."""
    return [
        chart
        for objective in digest.objectives
        if _known(digest, objective) and (chart := _by_half_life(digest, objective)) is not None
    ]


def axis_of(objective: Quantity) -> str:
    """The objective as an axis title, with the end that is better."""
    return f"{shown(objective.label)} ({'less' if objective.better == 'low' else 'more'} is better)"


def _known(digest: Groups, objective: Quantity) -> bool:
    return any(objective.name in group.estimates for group in digest.groups)


def _by_panel(digest: Groups, objective: Quantity) -> Chart:
    from plotly.graph_objects import Scatter

    drawn = figure()
    if digest.panel_name:
        across, name, lines = digest.panels, digest.panel_name, digest.lines
    else:
        across, name, lines = digest.lines, digest.line_name, ("",)
    places, numeric = _positions(across)
    for index, line in enumerate(lines[:MOST_LINES]):
        groups = [digest.at(line, each) if digest.panel_name else digest.at(each, "") for each in across]
        style = look(index)
        points = [
            (place, group, group.estimates[objective.name])
            for place, group in zip(places, groups, strict=True)
            if group and objective.name in group.estimates
        ]
        seeds = [(place, value) for place, group, _ in points for value in _values(group, objective)]
        common: dict[str, Any] = {"legendgroup": shown(line), "name": shown(line)}
        drawn.add_trace(
            Scatter(
                x=[place for place, _ in seeds],
                y=[value for _, value in seeds],
                mode="markers",
                marker={"color": style.colour, "symbol": style.symbol + "-open", "size": 5},
                opacity=0.55,
                hoverinfo="skip",
                showlegend=False,
                **common,
            )
        )
        drawn.add_trace(
            Scatter(
                x=[place for place, _, _ in points],
                y=[found.value for _, _, found in points],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [(found.high or found.value) - found.value for *_, found in points],
                    "arrayminus": [found.value - (found.low or found.value) for *_, found in points],
                    "thickness": 1.2,
                    "width": 4,
                },
                mode="lines+markers" if digest.panel_name else "markers",
                line={"color": style.colour, "dash": style.dash, "width": 2},
                marker={"symbol": style.symbol, "size": 8},
                text=[f"{objective.text(found)}, n = {group.n}" for _, group, found in points],
                hovertemplate="%{text}",
                showlegend=len(digest.lines) > 1 and bool(digest.panel_name),
                **common,
            )
        )
    trivial = _trivial(digest, objective, across)
    if any(value is not None for value in trivial):
        drawn.add_trace(
            Scatter(
                x=places,
                y=trivial,
                mode="lines+markers",
                line={"color": "#8a8a8a", "dash": "dot", "width": 1.5},
                marker={"symbol": "line-ew-open", "size": 12, "color": "#8a8a8a"},
                name="without the input",
                showlegend=True,
                hovertemplate="%{y:.4g}: the best guess that ignores the input",
            )
        )
    dressed(drawn, 400)
    drawn.update_xaxes(
        type="log" if numeric else "linear",
        tickvals=places,
        ticktext=[shown(each) for each in across],
        title_text=shown(name),
        minor={"ticks": ""},
    )
    drawn.update_yaxes(title_text=axis_of(objective))
    caption = "IQM over seeds with its 95 % bootstrap interval; small open marks: the single runs."
    if any(value is not None for value in trivial):
        caption += " Grey: the loss of the best guess that ignores the input."
    return Chart(
        f"{slug(objective.name)}-by-{slug(name)}",
        f"{objective.label} by {name}",
        caption + cut(len(lines), MOST_LINES, "lines"),
        drawn,
    )


def _trivial(digest: Groups, objective: Quantity, across: Sequence[str]) -> list[float | None]:
    """The task's trivial loss at each place of the axis; None where it has none, or the score is not a loss."""
    if objective.name not in ("val/loss", "train/loss"):
        return [None] * len(across)
    known = {
        group.panel if digest.panel_name else group.line: trial.metrics["task/trivial_loss"]
        for group in digest.groups
        for trial in group.counted
        if "task/trivial_loss" in trial.metrics
    }
    return [known.get(each) for each in across]


def _positions(labels: Sequence[str]) -> tuple[list[float], bool]:
    """Where on the axis: at the numbers themselves if all are above 0, else one beside the other."""
    try:
        values = [float(label) for label in labels]
    except ValueError:
        values = []
    if len(values) > 1 and min(values) > 0 and all(math.isfinite(value) for value in values):
        return values, True
    return [float(place) for place in range(len(labels))], False


def _by_half_life(digest: Groups, objective: Quantity) -> Chart | None:
    from plotly.graph_objects import Scatter

    parts = [part for part in digest.parts if any(rate(trial, part) is not None for trial in digest.complete)]
    if not parts:
        return None
    drawn, cells = panels([f"half-life of {shown(part)}" for part in parts], shared_yaxes=True)
    in_legend: set[str] = set()
    for part, (row, column) in zip(parts, cells, strict=True):
        rates = [
            found for group in digest.groups for trial in group.complete if (found := rate(trial, part)) is not None
        ]
        axis = _HalfLifeAxis(rates)
        for index, line in enumerate(digest.lines[:MOST_LINES]):
            for depth, panel in enumerate(digest.panels):
                group = digest.at(line, panel)
                points = [
                    (axis.at(found), score, trial)
                    for trial in (group.complete if group else ())
                    if (found := rate(trial, part)) is not None and (score := objective.of(trial)) is not None
                ]
                if not points:
                    continue
                drawn.add_trace(
                    Scatter(
                        x=[place for place, _, _ in points],
                        y=[score for _, score, _ in points],
                        mode="markers",
                        marker={
                            "color": look(index).colour,
                            "symbol": look(index).symbol,
                            "size": 6 + min(8, 3 * depth),
                            "opacity": 0.75,
                            "line": {"width": 0.5, "color": "white"},
                        },
                        text=[shown(trial.run_name) for _, _, trial in points],
                        hovertemplate=f"{shown(digest.titled(panel))}<br>%{{y}}<br>%{{text}}",
                        legendgroup=shown(line),
                        name=shown(line),
                        showlegend=len(digest.lines) > 1 and line not in in_legend,
                    ),
                    row=row,
                    col=column,
                )
                in_legend.add(line)
        drawn.update_xaxes(
            type="log",
            range=axis.range,
            tickvals=axis.ticks,
            ticktext=axis.texts,
            title_text="time steps",
            row=row,
            col=column,
        )
    drawn.update_yaxes(title_text=axis_of(objective), col=1)
    drawn.update_layout(legend_itemsizing="constant")
    sizes = f" Larger marks: larger {digest.panel_name}." if len(digest.panels) > 1 else ""
    of = "every complete sample of the search" if digest.searched else "every complete run"
    caption = f"A mark for {of}.{sizes} “{GROWS}”: the gradient grows with the lag; 0: it vanished at once."
    caption += cut(len(digest.lines), MOST_LINES, "lines")
    return Chart(
        f"{slug(objective.name)}-by-half-life",
        f"{objective.label} by half-life",
        caption,
        drawn,
        width=130 + 260 * len(parts),
    )


class _HalfLifeAxis:
    """A logarithmic axis of half-lives, with a place for those that vanished at its left and for `grows` at its right.

    Args:
        rates: Halvings per step of all runs.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        lives = [1 / value for value in rates if value > 0]
        self._low = max(0.1, min(lives, default=1.0))
        self._high = max([*lives, 2 * self._low])
        between = log_ticks(self._low, self._high)
        vanished = [self._low / 2] if any(1 / value < 0.1 for value in rates if value > 0) else []
        grown = [self._high * 2] if any(value <= 0 for value in rates) else []
        self.ticks = [*vanished, *between, *grown]
        self.texts = [*(["0"] if vanished else []), *map(number, between), *([GROWS] if grown else [])]
        self.range = [
            math.log10(vanished[0] if vanished else self._low) - 0.12,
            math.log10(grown[0] if grown else self._high) + 0.12,
        ]

    def at(self, found: float) -> float:
        """Where a run stands."""
        if found <= 0:
            return self._high * 2
        return self._low / 2 if 1 / found < 0.1 else 1 / found


def _values(group: Group, objective: Quantity) -> list[float]:
    return [value for value in map(objective.of, group.counted) if value is not None]
