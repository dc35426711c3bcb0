"""All figures of a study, by section, as the page shows them and as one may take them along.

for name, figure in figures(results).items():
    figure.write_html(f"{name}.html")
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from undertow.studies.report.chart import Chart, titled, with_room
from undertow.studies.report.costs import costs
from undertow.studies.report.digest import Digest, arrange
from undertow.studies.report.extrapolation import extrapolations
from undertow.studies.report.heatmaps import heatmaps
from undertow.studies.report.optuna_figures import optuna_charts
from undertow.studies.report.profiles import profiles
from undertow.studies.report.scores import scores_by_half_life, scores_by_panel
from undertow.studies.report.training import training_maps
from undertow.studies.results import StudyResults

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


def sections(digest: Digest) -> list[Section]:
    """Every section of charts."""
    return [replace(each, charts=tuple(map(with_room, each.charts))) for each in _sections(digest)]


def _sections(digest: Digest) -> list[Section]:
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


def _by(digest: Digest) -> str:
    return " and ".join(name for name in (digest.line_name, digest.panel_name) if name)
