"""`undertow sync`: send the records that the tracking store does not have yet."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from undertow.cli.options import Json
from undertow.cli.output.console import emit, err, note, out
from undertow.cli.output.tables import print_table
from undertow.tracking.folder import home_folder
from undertow.tracking.mlflow.quiet import quiet_mlflow
from undertow.tracking.shipping.sync import SyncResult, sync


def sync_command(
    folder: Annotated[
        Path | None, Parameter(help="Folder of the runs, or of one run. Default: UNDERTOW_HOME or ./runs.")
    ] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """Send the records that the tracking store does not have yet."""
    home = folder or home_folder()
    results = _sync(home)
    code = 1 if any(result.left or result.error for result in results) else 0
    if json:
        emit({"left": sum(result.left for result in results), "runs": [_document(result) for result in results]})
        return code
    if not results:
        out().print(f"Nothing to ship in {home}: the store has every record.", soft_wrap=True)
        return code
    columns = ["run", "shipped", "left", "rejected"]
    rows = [[result.folder.name, str(result.shipped), str(result.left), str(result.rejected)] for result in results]
    print_table(columns, rows, right=columns[1:])
    for result in results:
        if result.error:
            note(f"{result.folder.name}: {result.error}")
        if result.rejected:
            note(f"{result.folder.name}: the records that the store rejected are in {result.folder / 'rejected.jsonl'}")
    return code


def _sync(home: Path) -> list[SyncResult]:
    """Ship every run folder, with a progress bar for each on standard error."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=err(), transient=True) as bars:
        bar_of: dict[Path, int] = {}

        def progress(folder: Path, done: int, total: int) -> None:
            if folder not in bar_of:
                bar_of[folder] = bars.add_task(folder.name)
            bars.update(bars.task_ids[bar_of[folder]], completed=done, total=total)

        with quiet_mlflow():
            return sync(home, progress)


def _document(result: SyncResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "shipped": result.shipped,
        "left": result.left,
        "rejected": result.rejected,
        "error": result.error,
    }
