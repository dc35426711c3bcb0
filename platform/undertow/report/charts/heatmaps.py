"""Heat maps: a box for each line and panel, with its value and n; a box without a value says why.

for chart in heatmaps(arrange(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from typing import Any

from undertow.report.charts.chart import SCALE, Chart, dressed, figure, log_ticks
from undertow.report.format import joined, number, shown, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import GROWS, STEEPEST, Quantity

_WIDE = 50
"""Objectives whose largest value is this many times the smallest are coloured by their logarithm."""


def heatmaps(digest: Groups) -> list[Chart]:
    """A chart for each measure that any run has; none of a single box."""
    if len(digest.groups) < 2:
        return []
    return [
        _chart(digest, each)
        for each in digest.quantities
        if any(each.name in group.estimates for group in digest.groups)
    ]


def _chart(digest: Groups, measure: Quantity) -> Chart:
    from plotly.graph_objects import Heatmap

    known = [line for line in digest.lines if _may_have(digest, line, measure)]
    groups = [[digest.at(line, panel) for panel in digest.panels] for line in known]
    colours, logarithmic = _colours(groups, measure)
    seen = [value for row in colours for value in row if value is not None]
    drawn = figure()
    panels = [shown(panel) if digest.panel_name else "" for panel in digest.panels]
    lines = [shown(line) for line in known]
    drawn.add_trace(
        Heatmap(
            x=list(range(len(panels))),
            y=list(range(len(lines))),
            z=colours,
            text=[[_hover(group, measure) for group in row] for row in groups],
            hovertemplate="%{text}<extra></extra>",
            colorscale=SCALE,
            reversescale=measure.better == "low",
            zmin=min(seen),
            zmax=max(seen) if max(seen) > min(seen) else min(seen) + 1,
            xgap=2,
            ygap=2,
            hoverongaps=True,
            colorbar=_bar(measure, logarithmic, min(seen), max(seen)),
        )
    )
    # Words of our own rather than the trace's: boxes without a value have some as well, and no colour.
    middle = (min(seen) + max(seen)) / 2
    words = [
        {
            "x": x,
            "y": y,
            "text": _text(group, measure),
            "showarrow": False,
            "font": {"size": 12, "color": "white" if _is_dark(colours[y][x], middle, measure) else "#1b1b1b"},
        }
        for y, row in enumerate(groups)
        for x, group in enumerate(row)
        if group
    ]
    drawn.update_layout(annotations=words)
    dressed(drawn, 148 + 52 * len(lines))
    drawn.update_xaxes(
        tickvals=list(range(len(panels))), ticktext=panels, title_text=shown(digest.panel_name), showgrid=False
    )
    drawn.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=lines,
        autorange="reversed",
        showgrid=False,
        automargin=True,
        title_text="",
    )
    drawn.update_layout(margin={"l": 20, "t": 26, "r": 10}, plot_bgcolor="#f2f2f2")  # above: its buttons
    width = 160 + 74 * len(panels)
    title = measure.label if measure.kind == "objective" else measure.label[:1].upper() + measure.label[1:]
    caption = _caption(measure)
    if without := [line for line in digest.lines if line not in known]:
        caption += f" Not measured for {joined(without)}."
    return Chart(slug(measure.name), title, caption, drawn, width=width, half=len(panels) <= 6)


def _may_have(digest: Groups, line: str, measure: Quantity) -> bool:
    """Whether any run of a line has the measure, or none is complete so that nobody can tell."""
    groups = [group for panel in digest.panels if (group := digest.at(line, panel))]
    return any(measure.name in group.estimates for group in groups) or not any(group.counted for group in groups)


def _colours(groups: Sequence[Sequence[Group | None]], measure: Quantity) -> tuple[list[list[float | None]], bool]:
    """A number for the colour of each box, and whether it is a logarithm."""
    values = [[_value(group, measure) for group in row] for row in groups]
    seen = [value for row in values for value in row if value is not None]
    if measure.kind == "half-life":
        finite = [value for value in seen if value > 0]
        slowest = min(finite, default=1.0)
        return [
            [None if value is None else -math.log10(min(STEEPEST, max(value, slowest))) for value in row]
            for row in values
        ], True
    wide = measure.kind == "objective" and min(seen) > 0 and max(seen) > _WIDE * min(seen)
    if measure.kind == "reach" or wide:
        least = 1.0 if measure.kind == "reach" else min(seen)
        return [[None if value is None else math.log10(max(value, least)) for value in row] for row in values], True
    return values, False


def _value(group: Group | None, measure: Quantity) -> float | None:
    found = group.estimates.get(measure.name) if group else None
    return found.value if found else None


def _is_dark(value: float | None, middle: float, measure: Quantity) -> bool:
    return value is not None and (value <= middle) != (measure.better == "low")


def _text(group: Group, measure: Quantity) -> str:
    found = group.estimates.get(measure.name)
    if found is None:
        why = "not measured" if group.counted else group.left_out.replace(", ", "<br>")
        return f"<i>{why}</i>"
    below = f"n = {found.n}" if found.n == group.planned else f"n = {found.n} of {group.planned}"
    if (grow := _growing(group, measure)) and grow < found.n:
        below += f", {grow} {GROWS if grow == 1 else 'grow'}"
    return f"<b>{measure.show(found.value)}</b><br><span style='font-size:10px'>{below}</span>"


def _hover(group: Group | None, measure: Quantity) -> str:
    if group is None:
        return ""
    where = shown(" · ".join(word for word in (group.line, group.panel) if word))
    return f"{where}<br>{measure.text(group.estimates.get(measure.name))}<br>n = {group.n}<br>{group.left_out}"


def _growing(group: Group, measure: Quantity) -> int:
    if measure.kind != "half-life":
        return 0
    return sum(value <= 0 for trial in group.counted if (value := measure.of(trial)) is not None)


def _bar(measure: Quantity, logarithmic: bool, low: float, high: float) -> dict[str, Any]:
    bar: dict[str, Any] = {"thickness": 12, "outlinewidth": 0, "title": {"text": ""}}
    if logarithmic:
        ticks = log_ticks(10**low, 10**high)
        bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": [number(tick) for tick in ticks]}
    return bar


def _caption(measure: Quantity) -> str:
    words = {
        "objective": "IQM over seeds; yellow is better.",
        "half-life": "Time steps over which the gradient halves, from the mean slope over seeds; yellow is longer. "
        "“grows”: it grows with the lag instead; 0: it vanished at once.",
        "reach": "The largest lag at which a thousandth of the gradient is left, in time steps; IQM over seeds; "
        "yellow is farther.",
        "cue": "log₁₀ of the gradient that arrives at the steps whose information the task needs; IQM over seeds; "
        "yellow is more.",
    }
    return words[measure.kind]
