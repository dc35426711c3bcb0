"""Heat maps of every quantity: a box for each line and panel, with its value and n, or the reason why it has none.

for chart in heatmap_charts(group_results(results)):
    chart.figure.show()
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
    return [heatmap(groups, quantity) for quantity in shown if groups.measured(quantity)]


def heatmap(groups: Groups, quantity: Quantity) -> Chart:
    """The heat map of a quantity that some group has."""
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
        caption += _why_without(groups, without, quantity)
    return Chart(slug(quantity.name), title, caption, figure, width=160 + 74 * columns, half=columns <= 6)


def _may_have(groups: Groups, line: str, quantity: Quantity) -> bool:
    """Whether any run of a line has the quantity, or is to have it: of a state part that is not known before."""
    in_panels = [group for panel in groups.panels if (group := groups.at(line, panel))]
    if any(quantity.name in each.estimates for each in in_panels):
        return True
    return quantity.compares_cells and not any(each.included for each in in_panels)


def _why_without(groups: Groups, lines: Sequence[str], quantity: Quantity) -> str:
    """Why some lines have no row: they have no such state part, no complete run, or no measurement."""
    complete = [line for line in lines if any(group.included for group in groups.groups if group.line == line)]
    has_parts = [
        line
        for line in complete
        if any(name.startswith("gradient/") for group in groups.groups if group.line == line
               for each in group.included for name in each.metrics)
    ]  # fmt: skip
    other = [line for line in complete if line not in has_parts or quantity.compares_cells]
    text = ""
    if lacking := [line for line in has_parts if line not in other]:
        text += f" No state part {quantity.view}: {join_words(lacking)}."
    if other:
        text += f" Not measured for {join_words(other)}."
    if none := [line for line in lines if line not in complete]:
        text += f" No complete run: {join_words(none)}."
    return text


def _colours(boxes: _Boxes, quantity: Quantity) -> tuple[_Colours, bool]:
    """The number on the colour scale of each box, and whether it is a logarithm."""
    values = [[None if _is_beyond(group, quantity) else _value(group, quantity) for group in row] for row in boxes]
    known = _known(values)
    lag = quantity.view and quantity.kind != "cue"
    wide = not quantity.view and min(known, default=0) > 0 and max(known) > _LOG_RATIO * min(known)
    if lag or wide:
        least = 1.0 if lag else min(known)
        return [[None if value is None else math.log10(max(value, least)) for value in row] for row in values], True
    return values, False


def _heatmap(boxes: _Boxes, colours: _Colours, logarithmic: bool, quantity: Quantity) -> Any:
    from plotly.graph_objects import Heatmap

    scale = _scale(boxes, colours, quantity)
    return Heatmap(
        x=list(range(len(boxes[0]))),
        y=list(range(len(boxes))),
        z=[
            [scale.place(group, colour, quantity) for group, colour in zip(*each, strict=True)]
            for each in zip(boxes, colours, strict=True)
        ],
        text=[[_hover(group, quantity) for group in row] for row in boxes],
        hovertemplate="%{text}<extra></extra>",
        colorscale=COLOUR_SCALE,
        reversescale=quantity.better == "low",
        zmin=scale.low,
        zmax=scale.high,
        xgap=2,
        ygap=2,
        hoverongaps=True,
        colorbar=_colour_bar(logarithmic, scale),
    )


def _annotations(boxes: _Boxes, colours: _Colours, quantity: Quantity) -> list[dict[str, Any]]:
    scale = _scale(boxes, colours, quantity)
    return [
        {
            "x": x,
            "y": y,
            "text": _text(group, quantity),
            "showarrow": False,
            "font": {"size": 12, "color": "white" if scale.is_dark(group, colours[y][x], quantity) else TEXT},
        }
        for y, row in enumerate(boxes)
        for x, group in enumerate(row)
        if group
    ]


@dataclass(frozen=True)
class _Scale:
    """The colour scale of a heat map: that of the finite values, and above it a place for what is beyond the window.

    Attributes:
        low: Where it begins.
        high: Where it ends.
        known: The smallest and the largest finite value; None where there is none.
        beyond: The place of what is known to be larger than the window; None where nothing is.
    """

    low: float
    high: float
    known: tuple[float, float] | None
    beyond: float | None

    def place(self, group: Group | None, colour: float | None, quantity: Quantity) -> float | None:
        """The place of a box."""
        return self.beyond if _is_beyond(group, quantity) else colour

    def is_dark(self, group: Group, colour: float | None, quantity: Quantity) -> bool:
        """Whether the colour of a box is so dark that its text is white."""
        place = self.place(group, colour, quantity)
        return place is not None and (place < (self.low + self.high) / 2) != (quantity.better == "low")


def _scale(boxes: _Boxes, colours: _Colours, quantity: Quantity) -> _Scale:
    """Of one finite value that value is in the middle: it is neither the best nor the worst."""
    known = _known(colours)
    beyond = any(_is_beyond(group, quantity) for row in boxes for group in row)
    if not known:
        return _Scale(0.0, 1.0, None, 1.0)
    low, high = min(known), max(known)
    if low == high:
        return _Scale(low - 1, low + 1, (low, high), low + 1 if beyond else None)
    top = high + 0.15 * (high - low) if beyond else high
    return _Scale(low, top, (low, high), top if beyond else None)


def _colour_bar(logarithmic: bool, scale: _Scale) -> dict[str, Any]:
    bar: dict[str, Any] = {"thickness": 12, "outlinewidth": 0, "title": {"text": ""}}
    places: list[float] = []
    texts: list[str] = []
    if scale.known and (logarithmic or scale.beyond is not None or scale.known[0] == scale.known[1]):
        low, high = scale.known
        ticks = log_ticks(10**low, 10**high) if logarithmic else sorted({low, high})
        places = [math.log10(tick) for tick in ticks] if logarithmic else list(ticks)
        texts = list(map(format_number, ticks))
    if scale.beyond is not None:
        places, texts = [*places, scale.beyond], [*texts, "beyond"]
    return bar | ({"tickvals": places, "ticktext": texts} if places else {})


def _known(values: Sequence[Sequence[float | None]]) -> list[float]:
    return [value for row in values for value in row if value is not None]


def _is_beyond(group: Group | None, quantity: Quantity) -> bool:
    """Whether the centre of a group is known only to be larger than the window."""
    estimate = group.estimates.get(quantity.name) if group else None
    return estimate is not None and "value" in estimate.censored


def _value(group: Group | None, quantity: Quantity) -> float | None:
    estimate = group.estimates.get(quantity.name) if group else None
    return estimate.value if estimate else None


def _text(group: Group, quantity: Quantity) -> str:
    estimate = group.estimates.get(quantity.name)
    if estimate is None:
        why = _no_value(quantity) if group.included else group.excluded.replace(", ", "<br>")
        return f"<i>{why}</i>"
    below = f"n = {estimate.n}" if estimate.n == group.planned else f"n = {estimate.n} of {group.planned}"
    bounds = sum(quantity.bounds(group.included))
    if 0 < bounds < estimate.n:
        below += f", {bounds} beyond"
    value = plot_text(quantity.text(estimate, spread=False))
    return f"<b>{value}</b><br><span style='font-size:10px'>{below}</span>"


def _no_value(quantity: Quantity) -> str:
    return "not measured" if quantity.compares_cells else f"no {quantity.view}"


def _hover(group: Group | None, quantity: Quantity) -> str:
    if group is None:
        return ""
    where = plot_text(" · ".join(word for word in (group.line, group.panel) if word))
    return f"{where}<br>{quantity.text(group.estimates.get(quantity.name))}<br>n = {group.n}<br>{group.excluded}"
