"""The report as one HTML file that needs nothing else: no network, no folder beside it.

    write_report(results, Path("report.html"))

plotly.js, which draws the figures, is included once. The page's content security policy forbids loading anything.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

from undertow._system.atomic import write_atomically
from undertow.report._plotly import figures_json, plotly_script
from undertow.report.charts.sections import sections
from undertow.report.format import join_words
from undertow.report.grouping import group_results
from undertow.report.groups import Groups
from undertow.report.guessing import MARGIN
from undertow.report.quantities import DEFINITIONS, INPUT
from undertow.report.reproduce import reproduction
from undertow.report.results import StudyResults
from undertow.report.statistics import RESAMPLES, centre_name
from undertow.report.summary import summarize
from undertow.report.tables.comparison import compare, comparison_table, conclusion
from undertow.report.tables.results_table import group_table, how_to_read, summary_table
from undertow.report.tables.runs_table import run_table, sample_table, unfinished_table


def write_report(results: StudyResults, path: Path, run_address: str = "") -> Path:
    """Write the report.

    Args:
        results: The study.
        path: The file; an existing one is replaced as a whole.
        run_address: Where MLflow shows a run, with ``{run}`` in the place of its tag `undertow.run`; empty: no links.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(results, run_address))
    return path


def page(results: StudyResults, run_address: str = "") -> str:
    """The report as HTML."""
    from markupsafe import Markup

    groups = group_results(results)
    comparisons = compare(groups)
    charted = sections(groups)
    charts = [chart for section in charted for chart in section.charts]
    html: str = template("page.html.j2").render(
        results=results,
        groups=groups,
        summary=summarize(groups),
        summary_table=summary_table(groups),
        summary_caption=_summary_caption(groups),
        sections=charted,
        sample_table=sample_table(groups) if groups.searched else None,
        result_table=group_table(groups),
        result_caption=how_to_read(groups),
        conclusion=conclusion(comparisons),
        comparison_table=comparison_table(groups, comparisons),
        unfinished_table=unfinished_table(results),
        run_table=run_table(results),
        run_caption=_run_caption(run_address),
        run_links={
            each.run_name: run_address.replace("{run}", each.run)
            for each in results.combinations
            if run_address and each.run and each.run_name
        },
        reproduction=reproduction(results),
        definitions=DEFINITIONS,
        margin=MARGIN,
        resamples=RESAMPLES,
        plots=Markup(figures_json({chart.name: chart.figure for chart in charts if chart.figure is not None})),
        plotly=Markup(plotly_script()),
    )
    return html


def _summary_caption(groups: Groups) -> str:
    first = groups.objectives[0]
    tested = [each.label for each in groups.quantities if each.kind == "test"]
    beside = f" · {tested[0]}" if tested else ""
    half_lives = "; below: half-life of ∂L/∂x in time steps" if INPUT in groups.views else ""
    shown = "best samples" if groups.searched else join_words(sorted({centre_name(n) for n in groups.replicates}))
    over = "" if groups.searched or not shown else " over seeds"
    return f"{first.label}{beside} ({'less' if first.better == 'low' else 'more'} is better){half_lives}; {shown}{over}"


def _run_caption(run_address: str) -> str:
    caption = "Runs that were started; for a pruned run, the last recorded value"
    server = run_address.partition("/#")[0]
    return f"{caption}. The name of a run leads to it in MLflow at {server}" if server else caption


def template(name: str) -> Any:
    """A template of a page, which escapes every value."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("undertow.report")
    return Environment(
        loader=FunctionLoader(lambda wanted: (folder / wanted).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
