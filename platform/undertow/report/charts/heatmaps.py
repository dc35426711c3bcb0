"""Heat maps of every quantity: a box for each line and panel, with its value and n, or the reason why it has none.

for chart in heatmap_charts(group_results(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from typing import Any

from undertow.report.charts.chart import Chart
from undertow.report.charts.style import COLOUR_SCALE, TEXT, apply_style, log_ticks, new_figure
from undertow.report.format import format_number, join_words, plot_text, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import DEFINITIONS, Quantity
from undertow.report.statistics import centre_name

_LOG_RATIO = 50
"""Objectives whose largest value is more than this many times the smallest are coloured by their logarithm."""

_Boxes = list[list[Group | None]]
"""The groups by line and panel."""

_Colours = list[list[float | None]]
"""The number on the colour scale of each box."""


def heatmap_charts(groups: Groups) -> list[Chart]:
    """A chart for each quantity that compares cells and that any run has; none where there is a single box."""
    if len(groups.groups) < 2:
        return []
    shown = [each for each in groups.quantities if each.compares_cells or each.kind == "earlier"]
    return [_chart(groups, quantity) for quantity in shown if groups.measured(quantity)]


def _chart(groups: Groups, quantity: Quantity) -> Chart:
    lines = [line for line in groups.lines if _may_have(groups, line, quantity)]
    boxes = [[groups.at(line, panel) for panel in groups.panels] for line in lines]
    columns = len(groups.panels)
    figure = new_figure()
    colours, logarithmic = _colours(boxes, quantity)
    figure.add_trace(_heatmap(boxes, colours, logarithmic, quantity))
    # Annotations rather than the trace's own texts: boxes without a value have a text as well, and no colour.
    figure.update_layout(annotations=_annotations(boxes, colours, quantity))
    apply_style(figure, 148 + 52 * len(lines))
    figure.update_xaxes(
        tickvals=list(range(columns)),
        ticktext=[plot_text(panel) if groups.panel_name else "" for panel in groups.panels],
        title_text=plot_text(groups.panel_name),
        showgrid=False,
    )
    figure.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=list(map(plot_text, lines)),
        autorange="reversed",
        showgrid=False,
        automargin=True,
        title_text="",
    )
    figure.update_layout(margin={"l": 20, "t": 26, "r": 10}, plot_bgcolor="#f2f2f2")  # at the top: plotly's buttons
    score = quantity.kind in ("objective", "test")
    title = quantity.label if score else quantity.label[:1].upper() + quantity.label[1:]
    centres = join_words(sorted({centre_name(n) for n in groups.replicates}))
    yellow = "better" if score else "more" if quantity.kind == "cue" else "farther"
    caption = f"{DEFINITIONS[quantity.kind]} The {centres} over seeds; yellow is {yellow}."
    if without := [line for line in groups.lines if line not in lines]:
        caption += f" Not measured for {join_words(without)}."
    return Chart(slug(quantity.name), title, caption, figure, width=160 + 74 * columns, half=columns <= 6)


def _may_have(groups: Groups, line: str, quantity: Quantity) -> bool:
    """Whether any run of a line has the quantity, or no run of it is complete, so that it is unknown."""
    in_panels = [group for panel in groups.panels if (group := groups.at(line, panel))]
    return any(quantity.name in each.estimates for each in in_panels) or not any(each.included for each in in_panels)


def _colours(boxes: _Boxes, quantity: Quantity) -> tuple[_Colours, bool]:
    """The number on the colour scale of each box, and whether it is a logarithm."""
    values = [[_value(group, quantity) for group in row] for row in boxes]
    known = _known(values)
    lag = quantity.view and quantity.kind != "cue"
    wide = not quantity.view and min(known) > 0 and max(known) > _LOG_RATIO * min(known)
    if lag or wide:
        least = 1.0 if lag else min(known)
        return [[None if value is None else math.log10(max(value, least)) for value in row] for row in values], True
    return values, False


def _heatmap(boxes: _Boxes, colours: _Colours, logarithmic: bool, quantity: Quantity) -> Any:
    from plotly.graph_objects import Heatmap

    low, high = min(_known(colours)), max(_known(colours))
    return Heatmap(
        x=list(range(len(boxes[0]))),
        y=list(range(len(boxes))),
        z=colours,
        text=[[_hover(group, quantity) for group in row] for row in boxes],
        hovertemplate="%{text}<extra></extra>",
        colorscale=COLOUR_SCALE,
        reversescale=quantity.better == "low",
        zmin=low,
        zmax=high if high > low else low + 1,
        xgap=2,
        ygap=2,
        hoverongaps=True,
        colorbar=_colour_bar(logarithmic, low, high),
    )


def _annotations(boxes: _Boxes, colours: _Colours, quantity: Quantity) -> list[dict[str, Any]]:
    middle = (min(_known(colours)) + max(_known(colours))) / 2
    return [
        {
            "x": x,
            "y": y,
            "text": _text(group, quantity),
            "showarrow": False,
            "font": {"size": 12, "color": "white" if _is_dark(colours[y][x], middle, quantity) else TEXT},
        }
        for y, row in enumerate(boxes)
        for x, group in enumerate(row)
        if group
    ]


def _colour_bar(logarithmic: bool, low: float, high: float) -> dict[str, Any]:
    bar: dict[str, Any] = {"thickness": 12, "outlinewidth": 0, "title": {"text": ""}}
    if logarithmic:
        ticks = log_ticks(10**low, 10**high)
        bar |= {"tickvals": [math.log10(tick) for tick in ticks], "ticktext": list(map(format_number, ticks))}
    return bar


def _known(values: Sequence[Sequence[float | None]]) -> list[float]:
    return [value for row in values for value in row if value is not None]


def _value(group: Group | None, quantity: Quantity) -> float | None:
    estimate = group.estimates.get(quantity.name) if group else None
    return estimate.value if estimate else None


def _is_dark(value: float | None, middle: float, quantity: Quantity) -> bool:
    return value is not None and (value <= middle) != (quantity.better == "low")


def _text(group: Group, quantity: Quantity) -> str:
    estimate = group.estimates.get(quantity.name)
    if estimate is None:
        why = "not measured" if group.included else group.excluded.replace(", ", "<br>")
        return f"<i>{why}</i>"
    below = f"n = {estimate.n}" if estimate.n == group.planned else f"n = {estimate.n} of {group.planned}"
    bounds = sum(quantity.bounds(group.included))
    if 0 < bounds < estimate.n:
        below += f", {bounds} beyond"
    value = plot_text(quantity.text(estimate, spread=False))
    return f"<b>{value}</b><br><span style='font-size:10px'>{below}</span>"


def _hover(group: Group | None, quantity: Quantity) -> str:
    if group is None:
        return ""
    where = plot_text(" · ".join(word for word in (group.line, group.panel) if word))
    return f"{where}<br>{quantity.text(group.estimates.get(quantity.name))}<br>n = {group.n}<br>{group.excluded}"
