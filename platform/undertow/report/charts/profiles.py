"""Gradient profiles: log10 of the norm relative to lag 1, against the lag.

    for chart in profile_charts(group_results(results)):
        chart.figure.show()

Every chart has a panel for each length and a line for each cell.
One chart for the gradient by the input, by which cells are compared, and one for each state part, all layers together.
Lags that only some of the seeds have are left out: seeds whose cues stand elsewhere are measured at a few lags of their
own.
"""

from typing import Any

from undertow.report.charts.chart import MAX_LINES, MAX_PANELS, Chart, truncation_note
from undertow.report.charts.curves import curve_panels, how_drawn
from undertow.report.charts.style import set_margins
from undertow.report.earlier import FLOOR
from undertow.report.format import plot_text, power_of_ten, slug
from undertow.report.groups import Groups
from undertow.report.quantities import INPUT, symbol

BOTTOM = -16.0
"""log10 of the smallest norm that is shown at first: a smaller gradient changes no float32 weight of size 1."""

BUTTONS = 34
"""Pixels that the buttons below the plots take."""


def profile_charts(groups: Groups) -> list[Chart]:
    """A chart for the gradient by the input and by each state part."""
    return [_chart(groups, view) for view in groups.views]


def _chart(groups: Groups, view: str) -> Chart:
    name, title = f"profile-{slug(view)}", f"{symbol(view)} by lag"
    drawn = curve_panels(groups, f"gradient/{view}/by_lag", "lag")
    if not drawn.curves:
        return Chart(name, title, "No complete run measured it.", None)
    figure = drawn.figure
    values = [
        0.0,
        *(value for curve in drawn.curves for value in (*curve.centre, *(curve.low or ()), *(curve.high or ()))),
    ]
    floor = max(min(values), BOTTOM)
    margin = 0.04 * (max(values) - floor)
    figure.update_xaxes(type="log", dtick=1, minor={"ticks": "outside", "ticklen": 2}, showticklabels=True)
    figure.update_yaxes(range=[floor - margin, max(values) + margin])
    figure.update_xaxes(title_text="lag, time steps", row=drawn.rows)
    figure.update_yaxes(title_text=axis_title(groups, view), col=1)
    buttons = _axis_buttons(min(len(groups.panels), MAX_PANELS))
    figure.update_layout(updatemenus=[buttons], height=figure.layout.height + BUTTONS)
    set_margins(figure, 28, 52 + BUTTONS)
    caption = f"{what_is_drawn(groups, view)} Measured at the end of training. {how_drawn(drawn.curves)}"
    if min(values) < BOTTOM:
        caption += f" Values below {power_of_ten(BOTTOM)} are outside the first view; double-click to see all."
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    caption += truncation_note(len(groups.panels), MAX_PANELS, "panels")
    width, half = 130 + 190 * drawn.columns, drawn.columns == 1
    return Chart(name, title, caption, figure, width, half, folded=view != INPUT and INPUT in groups.views)


def what_is_drawn(groups: Groups, view: str) -> str:
    """What the values of the profile of a view are."""
    if is_of_an_earlier_version(groups, view):
        return (
            f"log₁₀ of the norm of {symbol(view)}, root mean square over the examples, as earlier versions measured "
            f"it. Lags at which a run is at their floor of {power_of_ten(FLOOR)} are left out: it stands for all below."
        )
    where = "the input of the step" if view == INPUT else f"the state part {view}, which describes one cell"
    return (
        f"Norm of the gradient of the loss with respect to {where}, relative to lag 1: log₁₀ of the geometric mean "
        "over the examples."
    )


def axis_title(groups: Groups, view: str) -> str:
    """The title of an axis of the values of the profile of a view."""
    relative = "" if is_of_an_earlier_version(groups, view) else ", relative to lag 1"
    return f"log₁₀ ‖{plot_text(symbol(view))}‖{relative}"


def is_of_an_earlier_version(groups: Groups, view: str) -> bool:
    """Whether the study was recorded by a version that measured the root mean square over the examples."""
    return any(each.kind == "earlier" and each.view == view for each in groups.quantities)


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
