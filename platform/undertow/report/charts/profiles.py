"""Gradient profiles: log10 of the norm against the lag, a panel for each length, a line for each cell.

    for chart in profile_charts(group_results(results)):
        chart.figure.show()

One chart for each state part, all layers together. The line is the mean over seeds of log10 of the norm, that is the
geometric mean of the norms; the band is its bootstrap interval at each lag. Lags that only some of the seeds have are
left out of the mean: seeds whose cues stand elsewhere are measured at a few lags of their own.
"""

from typing import Any

from undertow.report.charts.chart import MAX_LINES, MAX_PANELS, Chart, truncation_note
from undertow.report.charts.curves import curve_panels
from undertow.report.charts.style import set_margins
from undertow.report.format import plot_text, power_of_ten, slug
from undertow.report.groups import Groups

BOTTOM = -16.0
"""log10 of the smallest norm that is shown at first: a smaller gradient changes no float32 weight of size 1."""

BUTTONS = 34
"""Pixels that the buttons below the plots take."""


def profile_charts(groups: Groups) -> list[Chart]:
    """A chart for each state part."""
    return [_chart(groups, part) for part in groups.parts]


def _chart(groups: Groups, part: str) -> Chart:
    name, title = f"profile-{slug(part)}", f"Gradient of {part} by lag"
    drawn = curve_panels(groups, f"gradient/{part}/by_lag", "lag")
    if not drawn.curves:
        return Chart(name, title, "No complete run measured it.", None)
    figure = drawn.figure
    values = [
        0.0,
        *(value for curve in drawn.curves for value in (*curve.mean, *(curve.low or ()), *(curve.high or ()))),
    ]
    floor = max(min(values), BOTTOM)
    margin = 0.04 * (max(values) - floor)
    figure.update_xaxes(type="log", dtick=1, minor={"ticks": "outside", "ticklen": 2}, showticklabels=True)
    figure.update_yaxes(range=[floor - margin, max(values) + margin])
    figure.update_xaxes(title_text="lag, time steps", row=drawn.rows)
    figure.update_yaxes(title_text=f"log₁₀ ‖∂L/∂{plot_text(part)}‖", col=1)
    buttons = _axis_buttons(min(len(groups.panels), MAX_PANELS))
    figure.update_layout(updatemenus=[buttons], height=figure.layout.height + BUTTONS)
    set_margins(figure, 28, 52 + BUTTONS)
    caption = (
        f"Norm of the gradient of the loss with respect to {part}, against the lag: the time steps between the state "
        "and the loss. Measured at the end of training. Lines: mean over seeds of log₁₀; bands: 95 % bootstrap "
        "interval of that mean (none for a single run)."
    )
    if min(values) < BOTTOM:
        caption += f" Values below {power_of_ten(BOTTOM)} are outside the first view; double-click to see all."
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    caption += truncation_note(len(groups.panels), MAX_PANELS, "panels")
    return Chart(name, title, caption, figure, width=130 + 190 * drawn.columns, half=drawn.columns == 1)


def _axis_buttons(axes: int) -> dict[str, Any]:
    """Buttons that switch the axis of lags: on the linear one an exponential decay is a straight line."""
    names = [f"xaxis{number or ''}" for number in (0, *range(2, axes + 1))]
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
            {"label": f"{scale} lag", "method": "relayout", "args": [{f"{name}.type": scale for name in names}]}
            for scale in ("log", "linear")
        ],
    }
