"""The report of a study: one HTML page, and its figures and tables by themselves.

    from undertow.report import write_report, markdown_table

    write_report(results, Path("report.html"))
    markdown_table(results)

Everything is made from a `StudyResults` (`results`), which `undertow.studies.store.results` reads from the database.
`grouping` makes `groups` of it: panels for lengths, lines for cells, seeds as replicates, of a search the best sample.
`quantities` says what is compared, `statistics` how; `format` writes numbers and names. `charts/` draws, `tables/`
makes rows, `summary` sentences, `reproduce` commands. `page` puts all of it into `page.html.j2`; `png` writes some of
the figures as files, `export` numbers, tables and drawings (`svg`), and `compare` puts two studies side by side;
`description` is what MLflow shows above the study's run. `earlier` is about studies that an
earlier version recorded.

Nothing without a result is hidden: boxes, tables and sentences say what failed, was pruned or is missing.
"""

from undertow.report.charts.sections import figures
from undertow.report.description import study_description
from undertow.report.export import export
from undertow.report.page import write_report
from undertow.report.png import write_pictures
from undertow.report.tables.results_table import Table, markdown_table, result_table, write_table

__all__ = [
    "Table",
    "export",
    "figures",
    "markdown_table",
    "result_table",
    "study_description",
    "write_pictures",
    "write_report",
    "write_table",
]
