"""The report as one HTML file that needs nothing else: no network, no folder beside it.

    write_report(results, Path("report.html"))

plotly.js, which draws the figures, is inside, once. The page's security policy forbids it to load anything.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow._system.atomic import write_atomically
from undertow.report.charts.chart import Chart
from undertow.report.charts.sections import sections
from undertow.report.format import slug
from undertow.report.groups import Groups, arrange
from undertow.report.results import StudyResults
from undertow.report.summary import answer
from undertow.report.tables.comparison import compare, comparison_table, verdict
from undertow.report.tables.results_table import answer_table, results_of
from undertow.report.tables.runs_table import run_table, sample_table, unfinished_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def write_report(results: StudyResults, path: Path) -> Path:
    """Write the report.

    Args:
        results: The study.
        path: The file; replaced as a whole if it is there.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(results))
    return path


def page(results: StudyResults) -> str:
    """The report as HTML."""
    import shlex

    from plotly.offline import get_plotlyjs

    digest = arrange(results)
    tests = compare(digest)
    charted = sections(digest)
    html: str = _template("page.html.j2").render(
        results=results,
        digest=digest,
        answer=answer(digest),
        answer_table=answer_table(digest),
        answer_caption=_answer_caption(digest),
        sections=charted,
        sample_table=sample_table(digest) if digest.searched else None,
        result_table=results_of(digest),
        verdict=verdict(tests),
        comparison_table=comparison_table(digest, tests),
        unfinished_table=unfinished_table(results),
        run_table=run_table(results),
        file_name=f"{slug(results.name)}.yaml",
        name=shlex.quote(results.name),
        plots=_embedded([chart for section in charted for chart in section.charts]),
        plotly=_script(get_plotlyjs()),
    )
    return html


def _answer_caption(digest: Groups) -> str:
    first = digest.objectives[0]
    lives = "; below: half-life of the gradient in time steps" if digest.parts else ""
    of = "best samples" if digest.searched else "means over seeds"
    return f"{first.label} ({'less' if first.better == 'low' else 'more'} is better){lives}; {of}"


def _template(name: str) -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("undertow.report")
    return Environment(
        loader=FunctionLoader(lambda wanted: (folder / wanted).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def _embedded(charts: list[Chart]) -> Any:
    from markupsafe import Markup

    found = {chart.name: _data(chart.figure) for chart in charts if chart.figure is not None}
    # No tag can begin inside a script element without "<".
    return Markup(json.dumps(found).replace("<", "\\u003c"))


def _data(figure: "Figure") -> dict[str, Any]:
    drawn: dict[str, Any] = json.loads(figure.to_json())
    return {"data": drawn["data"], "layout": drawn["layout"]}


def _script(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text.replace("</script", "<\\/script"))
