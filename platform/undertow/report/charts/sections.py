"""All figures of a study, by section, as the page shows them and as one may take them along.

for name, figure in figures(results).items():
    figure.write_html(f"{name}.html")
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from undertow.report.charts.chart import Chart, titled, with_room
from undertow.report.charts.costs import costs
from undertow.report.charts.extrapolation import extrapolations
from undertow.report.charts.heatmaps import heatmaps
from undertow.report.charts.optuna import optuna_charts
from undertow.report.charts.profiles import profiles
from undertow.report.charts.scores import scores_by_half_life, scores_by_panel
from undertow.report.charts.training import training_maps
from undertow.report.groups import Groups, arrange
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Section:
    """Charts that belong together.

    Attributes:
        name: For links.
        title: Its heading.
        charts: In their order.
        empty: What is said where there is no chart.
    """

    name: str
    title: str
    charts: tuple[Chart, ...]
    empty: str


def sections(digest: Groups) -> list[Section]:
    """Every section of charts."""
    return [replace(each, charts=tuple(map(with_room, each.charts))) for each in _sections(digest)]


def _sections(digest: Groups) -> list[Section]:
    incomplete = "" if digest.complete else "There is no complete run."
    unmeasured = incomplete or "No run measured a gradient profile: add the probe gradient-profile."
    extrapolated = extrapolations(digest)
    return [
        Section("profiles", "How far back the gradient reaches", tuple(profiles(digest)), unmeasured),
        Section(
            "heatmaps",
            f"By {_by(digest)}",
            tuple(heatmaps(digest)),
            incomplete or "There is a single combination to show: see the results.",
        ),
        Section("training", "During training", tuple(training_maps(digest)), unmeasured),
        Section(
            "scores",
            "Does a gradient that reaches mean learning?",
            (*scores_by_panel(digest), *scores_by_half_life(digest)),
            incomplete or "The runs have no scores and gradients to set against each other.",
        ),
        *([Section("lengths", "At other lengths", tuple(extrapolated), "")] if extrapolated else []),
        Section("cost", "Cost", tuple(costs(digest)), incomplete or "No run measured its cost: add the probe cost."),
        Section("optuna", "What explains the score", tuple(optuna_charts(digest.results)), ""),
    ]


def figures(results: StudyResults) -> "dict[str, Figure]":
    """Every figure that can be drawn, by its name, with its title on it."""
    charts = [chart for section in sections(arrange(results)) for chart in section.charts]
    return {chart.name: titled(chart) for chart in charts if chart.figure is not None}


def _by(digest: Groups) -> str:
    return " and ".join(name for name in (digest.line_name, digest.panel_name) if name)
