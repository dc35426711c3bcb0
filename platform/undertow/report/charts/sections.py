"""All charts of a study by section, as the page shows them, and all figures by name.

for name, figure in figures(results).items():
    figure.write_html(f"{name}.html")
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from undertow.report.charts.chart import Chart, fit_legend, standalone_figure, with_unique_names
from undertow.report.charts.costs import cost_charts
from undertow.report.charts.extrapolation import extrapolation_charts
from undertow.report.charts.half_life import half_life_charts
from undertow.report.charts.heatmaps import heatmap_charts
from undertow.report.charts.learning import learning_charts
from undertow.report.charts.optuna import optuna_charts
from undertow.report.charts.profiles import profile_charts
from undertow.report.charts.scores import score_charts
from undertow.report.charts.training import training_charts
from undertow.report.grouping import group_results
from undertow.report.groups import Groups
from undertow.report.results import StudyResults

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Section:
    """Charts under one heading.

    Attributes:
        name: For links.
        title: The heading.
        charts: In their order.
        empty: The sentence shown where there is no chart.
        folded: Whether its charts are shown only when a reader asks for them.
    """

    name: str
    title: str
    charts: tuple[Chart, ...]
    empty: str
    folded: bool = False

    @property
    def shown(self) -> list[Chart]:
        """The charts that are shown at once."""
        return [] if self.folded else [chart for chart in self.charts if not chart.folded]

    @property
    def asked(self) -> list[Chart]:
        """The charts that are shown when a reader asks for them."""
        return list(self.charts) if self.folded else [chart for chart in self.charts if chart.folded]


def sections(groups: Groups) -> list[Section]:
    """Every section, with names of charts that are unique in the report."""
    found = _sections(groups)
    named = iter(with_unique_names([fit_legend(chart) for section in found for chart in section.charts]))
    return [replace(section, charts=tuple(next(named) for _ in section.charts)) for section in found]


def figures(results: StudyResults) -> "dict[str, Figure]":
    """Every figure that can be drawn, by its name, with its title on it."""
    charts = [chart for section in sections(group_results(results)) for chart in section.charts]
    return {chart.name: standalone_figure(chart) for chart in charts if chart.figure is not None}


def _sections(groups: Groups) -> list[Section]:
    incomplete = "" if groups.complete else "There is no complete run."
    unmeasured = incomplete or "No run measured a gradient profile: add the probe gradient-profile."
    extrapolated = extrapolation_charts(groups)
    factors = " and ".join(name for name in (groups.line_name, groups.panel_name) if name)
    learned = incomplete or "No run recorded its losses by step: an earlier version recorded this study."
    return [
        Section("learning", "Learning curves", tuple(learning_charts(groups)), learned),
        Section("profiles", "How far back the gradient reaches", tuple(profile_charts(groups)), unmeasured),
        Section(
            "scores",
            "Scores, and the half-life beside them",
            (*score_charts(groups), *half_life_charts(groups)),
            incomplete or "No run has both a score and a gradient profile.",
        ),
        *([Section("lengths", "At other lengths", tuple(extrapolated), "")] if extrapolated else []),
        Section(
            "heatmaps",
            f"Every number by {factors}",
            tuple(heatmap_charts(groups)),
            incomplete or "There is a single combination: see the results.",
            folded=True,
        ),
        Section("training", "The gradient during training", tuple(training_charts(groups)), unmeasured, folded=True),
        Section(
            "cost",
            "Cost and score",
            tuple(cost_charts(groups)),
            incomplete or "No run measured its cost: add the probe cost.",
            folded=True,
        ),
        Section("optuna", "Scores by parameter", tuple(optuna_charts(groups.results)), "", folded=True),
    ]
