"""Scores at lengths that a network was not trained on: what `evaluate: {lengths: […]}` has measured.

    for chart in extrapolations(arrange(results)):
        chart.figure.show()

One chart for each score, a panel for each trained length, a line for each cell: the mean over seeds, and its bootstrap
interval at each length.
"""

from undertow.report.charts.chart import MOST_LINES, MOST_PANELS, Chart, cut, panels, spaced
from undertow.report.charts.profiles import curve_traces, mean_curve
from undertow.report.format import shown, slug
from undertow.report.groups import Groups

_ENDING = "/by_length"


def extrapolations(digest: Groups) -> list[Chart]:
    """A chart for each score that was measured by length."""
    names = {name for trial in digest.complete for name in trial.curves if name.endswith(_ENDING)}
    return [_chart(digest, name) for name in sorted(names)]


def _chart(digest: Groups, name: str) -> Chart:
    lines, places = digest.lines[:MOST_LINES], digest.panels[:MOST_PANELS]
    score = name.removesuffix(_ENDING)
    figure, cells = panels([shown(digest.titled(panel)) for panel in places], shared_xaxes="all", shared_yaxes="all")
    in_legend: set[str] = set()
    for panel, (row, column) in zip(places, cells, strict=True):
        for place, line in enumerate(lines):
            group = digest.at(line, panel)
            if group and (found := mean_curve(group.counted, name)):
                listed = len(digest.lines) > 1 and line not in in_legend
                for trace in curve_traces(line, place, found, listed, "length"):
                    figure.add_trace(trace, row, column)
                in_legend.add(line)
    across = max(column for _, column in cells)
    figure.update_xaxes(type="log", title_text="length, time steps")
    figure.update_yaxes(title_text=shown(score), col=1)
    spaced(figure, 28, 52)
    caption = (
        f"{shown(score)} of the trained networks at each of these lengths. Lines: mean over seeds; bands: 95 % "
        "bootstrap interval of that mean (none for a single run)."
    ) + cut(len(digest.lines), MOST_LINES, "lines")
    return Chart(
        f"{slug(score)}-at-other-lengths",
        f"{shown(score)} at other lengths",
        caption,
        figure,
        width=130 + 190 * across,
        half=across == 1,
    )
