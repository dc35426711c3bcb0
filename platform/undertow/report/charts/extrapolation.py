"""Scores at lengths that a network was not trained on, as `evaluate: {lengths: […]}` measures them.

    for chart in extrapolation_charts(group_results(results)):
        chart.figure.show()

One chart for each score, a panel for each trained length, a line for each cell: the centre and the spread over seeds at
each length.
"""

from undertow.report.charts.chart import MAX_LINES, MAX_PANELS, Chart, guessing_note, truncation_note
from undertow.report.charts.curves import curve_panels, how_drawn
from undertow.report.charts.style import mark_guessing, set_margins
from undertow.report.format import plot_text, slug
from undertow.report.groups import Groups
from undertow.report.guessing import guesses_in

_SUFFIX = "/by_length"


def extrapolation_charts(groups: Groups) -> list[Chart]:
    """A chart for each score that was measured by length."""
    names = {name for each in groups.complete for name in each.curves if name.endswith(_SUFFIX)}
    return [_chart(groups, name.removesuffix(_SUFFIX)) for name in sorted(names)]


def _chart(groups: Groups, score: str) -> Chart:
    drawn = curve_panels(groups, score + _SUFFIX, "length")
    drawn.figure.update_xaxes(type="log", title_text="length, time steps")
    drawn.figure.update_yaxes(title_text=plot_text(score), col=1)
    guesses = guesses_in(groups.groups, score.partition("/")[2])
    mark_guessing(drawn.figure, guesses)
    set_margins(drawn.figure, 28, 52)
    caption = f"{score} of the trained networks at each of these lengths. {how_drawn(drawn.curves)}"
    if note := guessing_note(guesses):
        caption += f"{note[:-1]}, at the trained length."
    caption += truncation_note(len(groups.lines), MAX_LINES, "lines")
    caption += truncation_note(len(groups.panels), MAX_PANELS, "panels")
    return Chart(
        f"{slug(score)}-at-other-lengths",
        f"{score} at other lengths",
        caption,
        drawn.figure,
        width=130 + 190 * drawn.columns,
        half=drawn.columns == 1,
    )
