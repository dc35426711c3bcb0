"""`undertow study report`: the report of a study, finished or not."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from undertow.cli.options import Home, Json, PluginFiles, Storage, Study, locate_study
from undertow.cli.output.console import emit, out
from undertow.cli.output.studies import study_document
from undertow.errors import UndertowError
from undertow.tracking.folder import RunFolder


def study_report_command(
    study: Study,
    /,
    *,
    output: Annotated[Path | None, Parameter(help="The HTML file. Default: in the folder of the study.")] = None,
    pictures: Annotated[Path | None, Parameter(help="Write PNG plots and results.md into this folder.")] = None,
    export: Annotated[Path | None, Parameter(help="Write CSV, LaTeX, Markdown and SVG into this folder.")] = None,
    open: Annotated[bool, Parameter(help="Open the report in the browser.")] = False,
    plugin: PluginFiles = None,
    storage: Storage = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Write the report of a study: one HTML file that loads nothing from the network."""
    from undertow.report import export as write_export
    from undertow.report import write_pictures, write_report, write_table
    from undertow.studies.run import REPORT
    from undertow.studies.store.ledger import Ledger
    from undertow.studies.store.results import read_results

    location = locate_study(study, plugin, storage, home)
    ledger = Ledger.find(location.storage_url, location.name)
    folder = RunFolder.place(location.home, location.name, ledger.snapshot["run"])
    path = output or (folder / REPORT if folder.is_dir() else Path(f"{location.name}.html"))
    results = read_results(ledger)
    write_report(results, path, _run_address(folder))
    plots = write_pictures(results, pictures) if pictures else []
    exported = write_export(results, export) if export else []
    tables = [write_table(results, pictures / "results.md")] if pictures else []
    if json:
        written = {"tables": [str(each) for each in tables], "pictures": [str(each) for each in plots]}
        if export:
            written["exported"] = [str(each) for each in exported]
        emit({"report": str(path), **written, **study_document(results)})
    else:
        for each in (path, *tables, *plots, *exported):
            out().print(str(each), soft_wrap=True)
    if open:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
    return 0


def _run_address(folder: Path) -> str:
    """Where MLflow shows the runs of a study, by the run folder of the study; empty where this is not known here."""
    from undertow.tracking.mlflow.lookup import find_run_address

    try:
        identity = RunFolder.open(folder).identity
    except UndertowError:
        return ""
    return find_run_address(identity.uri, identity.experiment)
