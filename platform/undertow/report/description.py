"""The description of a study's own run in MLflow: the question, the table of results, what its numbers and curves are.

study_description(results)
"""

from undertow.report.charts.profiles import what_is_drawn
from undertow.report.grouping import group_results
from undertow.report.results import StudyResults
from undertow.report.tables.results_table import markdown_table


def study_description(results: StudyResults) -> str:
    """The description in Markdown, short enough for a tag."""
    groups = group_results(results)
    curves = "".join(f"- `gradient/{view}/by_lag`: {what_is_drawn(groups, view)}\n" for view in groups.views)
    return "\n\n".join(filter(None, [results.question, markdown_table(results), curves]))
