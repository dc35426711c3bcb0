"""`undertow study compare`: two studies side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow.cli.options import Home, Json, PluginFiles, Storage, Study, locate_study
from undertow.cli.output.console import emit, out
from undertow.cli.output.tables import GAP, fits, print_table
from undertow.report.format import slug


def study_compare_command(
    first: Study,
    second: Study,
    /,
    *,
    output: Annotated[Path | None, Parameter(help="Write the comparison as an HTML file.")] = None,
    open: Annotated[bool, Parameter(help="Open it in the browser. Default file: FIRST-SECOND.html.")] = False,
    plugin: PluginFiles = None,
    storage: Storage = None,
    home: Home = None,
    other: Annotated[Path | None, Parameter(name="--home-2", help="The second's home. Default: --home.")] = None,
    json: Json = False,
) -> int:
    """Compare two studies: what differs in their configurations, and what moved, with intervals."""
    from undertow.report.compare import (
        compare_studies,
        comparison_document,
        configuration_table,
        how_to_read,
        result_table_of,
        sentences,
        write_comparison,
    )
    from undertow.studies.store.ledger import Ledger
    from undertow.studies.store.results import read_results

    locations = locate_study(first, plugin, storage, home), locate_study(second, plugin, storage, other or home)
    results = [read_results(Ledger.find(each.storage_url, each.name)) for each in locations]
    comparison = compare_studies(results[0], results[1])
    path = output or (Path(f"{slug(results[0].name)}-{slug(results[1].name)}.html") if open else None)
    if path:
        write_comparison(comparison, path)
    if json:
        emit({**comparison_document(comparison), **({"page": str(path)} if path else {})})
    else:
        for sentence in sentences(comparison):
            out().print(sentence)
        if comparison.configuration:
            out().print()
            configuration = configuration_table(comparison)
            print_table(configuration.columns, configuration.rows)
        if comparison.rows:
            out().print()
            moved = result_table_of(comparison)
            gap = GAP
            if not fits(moved.columns, moved.rows, out().width):
                moved, gap = result_table_of(comparison, short=True), 1
            numbers = [*comparison.names, "second − first", "P(second > first)"]
            print_table(moved.columns, moved.rows, right=numbers, keys=2, gap=gap)
            out().print(f"{how_to_read(comparison)}.")
        if path:
            out().print(str(path), soft_wrap=True)
    if open and path:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
    return 0
