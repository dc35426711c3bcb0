"""How the gradient profile changes during training: a heat map of training step against lag, one for each line.

    for chart in training_charts(group_results(results)):
        chart.figure.show()

Each line is shown in the last panel in which it has complete runs, which is the longest length. The values are the
centre over seeds of the curve.
"""

from collections.abc import Sequence
from math import log
from typing import Any

from undertow.report.charts.chart import MAX_PANELS, Chart, truncation_note
from undertow.report.charts.curves import align
from undertow.report.charts.profiles import BOTTOM, axis_title, what_is_drawn
from undertow.report.charts.style import COLOUR_SCALE, small_multiples
from undertow.report.format import plot_text, power_of_ten, slug
from undertow.report.groups import Group, Groups
from undertow.report.quantities import symbol
from undertow.report.results import CombinationResult
from undertow.report.statistics import centre

_MAX_STEPS = 60  # rows of a heat map

_Rows = dict[int, dict[int, float]]
"""Value by lag, by training step."""


def training_charts(groups: Groups) -> list[Chart]:
    """A chart for the gradient by the input and by each state part."""
    return [_chart(groups, view) for view in groups.views]


def _chart(groups: Groups, view: str) -> Chart:
    name, title = f"training-{slug(view)}", f"{symbol(view)} during training"
    found = [(group, rows) for group in _last_complete(groups) if len(rows := _by_step(group.included, view)) > 1]
    if not found:
        return Chart(name, title, "No complete run measured it more than once.", None)
    drawn = found[:MAX_PANELS]
    titles = [" · ".join(filter(None, [group.line, groups.panel_title(group.panel)])) for group, _ in drawn]
    figure, cells = small_multiples(list(map(plot_text, titles)), shared_yaxes=True)
    for (_, rows), (row, column) in zip(drawn, cells, strict=True):
        lags = sorted({lag for at_step in rows.values() for lag in at_step})
        figure.add_trace(_heatmap(rows, lags), row=row, col=column)
        ticks = [index for index in range(len(lags)) if _is_tick(index, lags)]
        figure.update_xaxes(tickvals=ticks, ticktext=[str(lags[index]) for index in ticks], row=row, col=column)
    bottom_row, columns = (max(ends) for ends in zip(*cells, strict=True))
    figure.update_xaxes(title_text="lag, time steps", row=bottom_row)
    figure.update_xaxes(tickangle=0, showgrid=False)
    figure.update_yaxes(showgrid=False)
    figure.update_yaxes(title_text="training step", col=1)
    values = [value for _, rows in drawn for at_step in rows.values() for value in at_step.values()]
    low = max(min(values), BOTTOM)
    figure.update_layout(
        coloraxis={
            "colorscale": COLOUR_SCALE,
            "cmin": low,
            "cmax": max(values) if max(values) > low else low + 1,
            "colorbar": {"thickness": 12, "title": {"text": axis_title(groups, view), "side": "right"}},
        },
        margin_r=30,
    )
    caption = _caption(groups, view, [group for group, _ in drawn])
    if min(values) < BOTTOM:
        caption += f" The darkest colour stands for {power_of_ten(BOTTOM)} or less."
    caption += truncation_note(len(found), MAX_PANELS, "panels")
    return Chart(name, title, caption, figure, width=150 + 180 * columns, half=columns == 1)


def _caption(groups: Groups, view: str, drawn: Sequence[Group]) -> str:
    seeds = ", ".join(map(str, sorted({len(group.included) for group in drawn})))
    where = f", at the last {groups.panel_name} at which each line has complete runs" if groups.panel_name else ""
    return f"{what_is_drawn(groups, view)} Centre over seeds (n = {seeds}){where}. The top row is the end of training."


def _heatmap(rows: _Rows, lags: Sequence[int]) -> Any:
    from plotly.graph_objects import Heatmap

    return Heatmap(
        x=list(range(len(lags))),
        y=list(rows),
        z=[[at_step.get(lag) for lag in lags] for at_step in rows.values()],
        customdata=[list(lags)] * len(rows),
        hovertemplate="step %{y}, lag %{customdata}: %{z:.2f}<extra></extra>",
        coloraxis="coloraxis",
    )


def _last_complete(groups: Groups) -> list[Group]:
    """For each line, the group in the last panel that has complete runs."""
    found = []
    for line in groups.lines:
        in_panels = [groups.at(line, panel) for panel in groups.panels]
        if complete := [group for group in in_panels if group and group.included]:
            found.append(complete[-1])
    return found


def _by_step(combinations: Sequence[CombinationResult], view: str) -> _Rows:
    """The profile, centre over the runs, at each training step at which all runs were measured."""
    name = f"gradient/{view}/by_lag"
    measured = [each for each in combinations if name in each.curves]
    if not measured:
        return {}
    histories = [
        {step: (each.curves[name][0], values) for step, values in each.history.get(name, {}).items()}
        | {each.steps: each.curves[name]}
        for each in measured
    ]
    steps = sorted(set(histories[0]).intersection(*histories[1:]))
    if len(steps) > _MAX_STEPS:
        steps = [steps[round(index * (len(steps) - 1) / (_MAX_STEPS - 1))] for index in range(_MAX_STEPS)]
    rows = {}
    for step in steps:
        lags, values = align([history[step] for history in histories])
        if lags:
            rows[step] = dict(zip(lags, centre(values.T).tolist(), strict=True))
    return rows


def _is_tick(index: int, lags: Sequence[int]) -> bool:
    """Whether a lag is the first, the last, or the first at or above a power of four."""
    if index in (0, len(lags) - 1):
        return True
    before, here = (int(log(max(1, lag), 4) + 1e-9) for lag in (lags[index - 1], lags[index]))
    return here > before and index < len(lags) - 4
