"""The report of a study: one page that a researcher can put before a reviewer, and its parts by themselves.

    from undertow.report import write_report, markdown_table

    results = read_results(storage, "vanishing-digits")
    write_report(results, Path("report.html"))
    markdown_table(results)

`digest` arranges the runs in groups: panels for lengths, lines for cells, seeds as replicates, the best sample of a
search. `measure` says what is compared and `statistics` how; `chart` and its neighbours draw; `table`, `listing`,
`comparison` and `answer` put it into rows and words; `page` puts all into `page.html.j2`, `pictures` some into PNG.

Everything is made of a `StudyResults` alone. Nothing that did not work is left out: boxes, tables and sentences say
what failed, was pruned or is missing.
"""

from undertow.report.charts.sections import figures
from undertow.report.page import write_report
from undertow.report.png import write_pictures
from undertow.report.tables.results_table import Table, markdown_table, result_table, write_table

__all__ = ["Table", "figures", "markdown_table", "result_table", "write_pictures", "write_report", "write_table"]
