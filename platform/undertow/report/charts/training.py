"""How the profile moves during training: a heat map of training step against lag, one for each line.

    for chart in training_maps(arrange(results)):
        chart.figure.show()

At the longest length that a line has complete runs of: there a change can be seen first. The mean over seeds of log10.
"""

from collections.abc import Sequence
from math import log10

from undertow.report.charts.chart import MOST_PANELS, SCALE, Chart, cut, panels
from undertow.report.charts.profiles import BOTTOM, aligned
from undertow.report.format import power_of_ten, shown
from undertow.report.groups import Group, Groups
from undertow.report.results import CombinationResult

_MOST_STEPS = 60


def training_maps(digest: Groups) -> list[Chart]:
    """A chart for each part of the state."""
    return [_chart(digest, part) for part in digest.parts]


def _chart(digest: Groups, part: str) -> Chart:
    from plotly.graph_objects import Heatmap

    title, name = f"Gradient of {part} during training", f"training-{part}"
    found = [(group, rows) for group in _longest(digest) if len(rows := _by_step(group.counted, part)) > 1]
    if not found:
        return Chart(name, title, "No complete run measured it more than once.", None)
    drawn = found[:MOST_PANELS]
    figure, cells = panels(
        [shown(" · ".join(filter(None, [group.line, digest.titled(group.panel)]))) for group, _ in drawn],
        shared_yaxes=True,
    )
    lowest = min(value for _, rows in drawn for row in rows.values() for value in row.values())
    highest = max(value for _, rows in drawn for row in rows.values() for value in row.values())
    for (_, rows), (row, column) in zip(drawn, cells, strict=True):
        lags = sorted({lag for at in rows.values() for lag in at})
        figure.add_trace(
            Heatmap(
                x=list(range(len(lags))),
                y=list(rows),
                z=[[at.get(lag) for lag in lags] for at in rows.values()],
                customdata=[lags] * len(rows),
                hovertemplate="step %{y}, lag %{customdata}: %{z:.2f}<extra></extra>",
                coloraxis="coloraxis",
            ),
            row=row,
            col=column,
        )
        ticks = [place for place, lag in enumerate(lags) if _is_tick(place, lags)]
        figure.update_xaxes(tickvals=ticks, ticktext=[str(lags[place]) for place in ticks], row=row, col=column)
    across = max(column for _, column in cells)
    figure.update_xaxes(title_text="lag, time steps", row=max(row for row, _ in cells), showgrid=False)
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(showgrid=False)
    figure.update_yaxes(title_text="training step", col=1)
    figure.update_layout(
        coloraxis={
            "colorscale": SCALE,
            "cmin": max(lowest, BOTTOM),
            "cmax": highest,
            "colorbar": {"thickness": 12, "title": {"text": f"log₁₀ ‖∂L/∂{shown(part)}‖", "side": "right"}},
        },
        margin_r=30,
    )
    seeds = sorted({len(group.counted) for group, _ in drawn})
    caption = (
        f"log₁₀ of the gradient's norm at {part}, mean over seeds (n = {', '.join(map(str, seeds))})"
        f"{f', at the largest {digest.panel_name} of each' if digest.panel_name else ''}. The top row is the end of "
        "training."
    )
    if lowest < BOTTOM:
        caption += f" The darkest is {power_of_ten(BOTTOM)} or less."
    caption += cut(len(found), MOST_PANELS, "panels")
    return Chart(name, title, caption, figure, width=150 + 180 * across, half=across == 1)


def _longest(digest: Groups) -> list[Group]:
    """Of each line the group in the last panel that has complete runs."""
    found = []
    for line in digest.lines:
        groups = [digest.at(line, panel) for panel in digest.panels]
        if complete := [group for group in groups if group and group.counted]:
            found.append(complete[-1])
    return found


def _by_step(trials: Sequence[CombinationResult], part: str) -> dict[int, dict[int, float]]:
    """The mean profile at each training step that all runs were measured at: value by lag by step."""
    name = f"gradient/{part}/by_lag"
    measured = [trial for trial in trials if name in trial.curves]
    if not measured:
        return {}
    histories = [
        {step: (trial.curves[name][0], values) for step, values in trial.history.get(name, {}).items()}
        | {trial.steps: trial.curves[name]}
        for trial in measured
    ]
    steps = sorted(set(histories[0]).intersection(*histories[1:]))
    if len(steps) > _MOST_STEPS:
        steps = [steps[round(place * (len(steps) - 1) / (_MOST_STEPS - 1))] for place in range(_MOST_STEPS)]
    rows = {}
    for step in steps:
        lags, values = aligned([history[step] for history in histories])
        if lags:
            rows[step] = dict(zip(lags, values.mean(axis=0).tolist(), strict=True))
    return rows


def _is_tick(place: int, lags: Sequence[int]) -> bool:
    """Whether a lag is the first at or above a power of four, or the last."""
    if place in (0, len(lags) - 1):
        return True
    before, here = (int(log10(lag) / log10(4) + 1e-9) for lag in (lags[place - 1], lags[place]))
    return here > before and place < len(lags) - 4
