"""Learning curves: training and validation loss by training step.

    for chart in learning_charts(group_results(results)):
        chart.figure.show()

A row for each of the two losses, a column for each length, a line for each cell: the centre and the spread over seeds
at the steps that all of them recorded. A dotted line marks the loss of guessing.
"""

from collections.abc import Sequence
from typing import Any

from undertow.report.charts.chart import MAX_LINES, MAX_PANELS, Chart, truncation_note
from undertow.report.charts.curves import CentreCurve, centre_curve, how_drawn, line_traces
from undertow.report.charts.style import apply_style, list_once, mark_guessing, set_margins
from undertow.report.format import plot_text
from undertow.report.groups import Groups
from undertow.report.guessing import guesses_in

LOSSES = {"train/loss/by_step": "training loss", "val/loss/by_step": "validation loss"}
"""The curves, and what they are called."""

_LOG_RATIO = 30
"""Losses whose largest value is more than this many times the smallest are drawn on a logarithmic axis."""

_HEIGHT = 210  # pixels of a row


def learning_charts(groups: Groups) -> list[Chart]:
    """One chart of both losses; none of a study that did not record them."""
    names = [name for name in LOSSES if any(name in each.curves for each in groups.complete)]
    return [_chart(groups, names)] if names else []


def _chart(groups: Groups, names: Sequence[str]) -> Chart:
    from plotly.subplots import make_subplots

    panels = groups.panels[:MAX_PANELS]
    figure = make_subplots(
        rows=len(names),
        cols=len(panels),
        shared_xaxes=True,
        shared_yaxes=True,
        column_titles=[plot_text(groups.panel_title(panel)) for panel in panels] if groups.panel_name else None,
        horizontal_spacing=0.06 / len(panels),
        vertical_spacing=0.08,
    )
    figure.update_annotations(font_size=13)
    set_margins(apply_style(figure, 108 + _HEIGHT * len(names)), 28)
    curves: list[CentreCurve] = []
    for row, name in enumerate(names, 1):
        shown: list[float] = []
        for column, panel in enumerate(panels, 1):
            drawn = _curves(groups, panel, name)
            for trace in [trace for line, index, curve in drawn for trace in line_traces(line, index, curve, "step")]:
                trace.mode = "lines"
                figure.add_trace(trace, row=row, col=column)
            curves += [curve for _, _, curve in drawn]
            guesses = guesses_in(groups.in_panel(panel), "loss")
            if drawn:
                mark_guessing(figure, guesses, row, column)
            shown += [value for _, _, curve in drawn for value in (*(curve.low or curve.centre), *curve.centre)]
            shown += guesses
        logarithmic = bool(shown) and min(shown) > 0 and max(shown) > _LOG_RATIO * min(shown)
        figure.update_yaxes(type="log" if logarithmic else "linear", row=row)
        figure.update_yaxes(title_text=LOSSES[name], row=row, col=1)
    figure.update_xaxes(title_text="training step", row=len(names))
    list_once(figure, len(groups.lines))
    caption = f"{how_drawn(curves)} At the steps that all of them recorded. Dotted grey line: the loss of guessing."
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    caption += truncation_note(len(groups.panels), MAX_PANELS, "panels")
    return Chart("learning", "Loss by training step", caption, figure, width=130 + 190 * len(panels))


def _curves(groups: Groups, panel: str, name: str) -> list[tuple[str, int, Any]]:
    """The line, its index and its curve, for every line that has one."""
    return [
        (line, index, curve)
        for index, line in enumerate(groups.lines[:MAX_LINES])
        if (group := groups.at(line, panel)) and (curve := centre_curve(group.included, name))
    ]
