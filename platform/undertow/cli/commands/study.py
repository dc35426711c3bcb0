"""`undertow study`: run, status, stop and report."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from undertow.cli.options import Home, Json, PluginFiles, Sets
from undertow.cli.output.console import emit, note, out
from undertow.errors import RequestError
from undertow.tracking.folder import RunFolder, home_folder

if TYPE_CHECKING:
    from undertow.report.results import StudyResults
    from undertow.studies.status import StudyStatus

_ANY_WIDTH = 10_000

Study = Annotated[str, Parameter(help="A study's configuration file, or its name.")]
Storage = Annotated[
    str | None,
    Parameter(help="Optuna's database; else UNDERTOW_STUDY_URI, or optuna.db in the home. A file may name its own."),
]


def study_run_command(
    file: Annotated[Path | None, Parameter(help="A YAML file with a `study` section.")] = None,
    /,
    *,
    workers: Annotated[int | None, Parameter(help="Runs at the same time; else `study.workers`.")] = None,
    trials: Annotated[int | None, Parameter(help="End after so many runs; the same command goes on.")] = None,
    retry_failed: Annotated[bool, Parameter(help="Try again what has failed for good.")] = False,
    allow_changed_code: Annotated[
        bool, Parameter(help="Continue with other plugins than at the start of the study.")
    ] = False,
    set: Sets = None,
    plugin: PluginFiles = None,
    home: Home = None,
    quiet: Annotated[bool, Parameter(help="Show no progress.")] = False,
    json: Json = False,
) -> int:
    """Run every combination that a study has left, and write its report."""
    from undertow.studies.plan.load import load_study

    if file is None:
        raise RequestError("name a configuration file, as in `undertow study run experiments/vanishing/digits.yaml`")
    for option, number in (("--workers", workers), ("--trials", trials)):
        if number is not None and number < 1:
            raise RequestError(f"{option}: {number} is too small; allowed: a whole number >= 1")
    overrides = [*(set or []), *([f"study.workers={workers}"] if workers is not None else [])]
    loaded = load_study(file, overrides, plugin or [])
    where = home.absolute() if home else home_folder()
    from undertow.studies.progress import TerminalView
    from undertow.studies.run import run_study

    with redirect_stdout(sys.stderr), TerminalView(loaded, quiet=quiet) as view:
        results, report = run_study(
            loaded,
            home=where,
            watch=view,
            limit=trials,
            retry_failed=retry_failed,
            allow_changed_code=allow_changed_code,
        )
    if json:
        emit({**_document(results), "report": str(report), "shipped": RunFolder.open(report.parent).shipped})
    else:
        _show(results, report)
    return 0 if any(trial.state == "complete" for trial in results.trials) else 1


def study_status_command(
    study: Study,
    /,
    *,
    plugin: PluginFiles = None,
    storage: Storage = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Show how a study stands; in a second, also while it is at work."""
    from undertow.studies.status import read_status

    name, url, _ = _which(study, plugin, storage, home)
    status = read_status(url, name)
    if json:
        emit(_status_document(status))
    else:
        _show_status(status)
    return 0


def study_stop_command(
    study: Study, /, *, plugin: PluginFiles = None, storage: Storage = None, home: Home = None
) -> int:
    """Have every driver of a study save what is running and stop; `undertow study run` goes on."""
    from undertow.studies.status import read_status
    from undertow.studies.store.ledger import Ledger

    name, url, _ = _which(study, plugin, storage, home)
    Ledger.find(url, name).ask_to_stop()
    if read_status(url, name).drivers:
        note(
            f"{name}: asked to stop. Running trials save themselves first; `undertow study run` goes on with the rest."
        )
    else:
        note(f"{name}: nobody is at work on it, so there is nothing to stop.")
    return 0


def study_report_command(
    study: Study,
    /,
    *,
    output: Annotated[Path | None, Parameter(help="The HTML file to write; else in the study's folder.")] = None,
    pictures: Annotated[
        Path | None, Parameter(help="A folder to write the main plots to, as PNG, and results.md, the table.")
    ] = None,
    open: Annotated[bool, Parameter(help="Open it in the browser.")] = False,
    plugin: PluginFiles = None,
    storage: Storage = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Write the report of a study: one HTML file that needs no network."""
    from undertow.report import write_pictures, write_report, write_table
    from undertow.studies.run import REPORT
    from undertow.studies.store.ledger import Ledger
    from undertow.studies.store.results import read_results

    name, url, where = _which(study, plugin, storage, home)
    ledger = Ledger.find(url, name)
    folder = RunFolder.place(where, name, ledger.snapshot["run"])
    path = output or (folder / REPORT if folder.is_dir() else Path(f"{name}.html"))
    results = read_results(ledger)
    write_report(results, path)
    drawn = write_pictures(results, pictures) if pictures else []
    tables = [write_table(results, pictures / "results.md")] if pictures else []
    if json:
        written = {"tables": [str(each) for each in tables], "pictures": [str(each) for each in drawn]}
        emit({"report": str(path), **written, **_document(results)})
    else:
        for each in (path, *tables, *drawn):
            out().print(str(each), soft_wrap=True)
    if open:
        import webbrowser

        webbrowser.open(path.absolute().as_uri())
    return 0


def _which(study: str, plugin: list[Path] | None, storage: str | None, home: Path | None) -> tuple[str, str, Path]:
    """Name, database and home of a study that is named by its name or its file."""
    from undertow.studies.store.storage import storage_url

    where = home.absolute() if home else home_folder()
    if Path(study).suffix in (".yaml", ".yml"):
        from undertow.studies.plan.load import load_study

        loaded = load_study(Path(study), [], plugin or [])
        return loaded.name, storage_url(where, storage or loaded.config.storage), where
    return study, storage_url(where, storage), where


def _show(results: "StudyResults", report: Path) -> None:
    """The table, where the report and the charts are, and what is still to be done."""
    from undertow.cli.output.links import where_to_look
    from undertow.cli.output.tables import table
    from undertow.report import result_table

    console = out()
    made = result_table(results)
    whole = table(made.columns, made.rows, right=list(made.right))
    if console.measure(whole, options=console.options.update(width=_ANY_WIDTH)).maximum > console.width:
        made = result_table(results, intervals=False)
        columns = {name: name.replace(" of ", "\nof ") for name in made.columns}
        whole = table(list(columns.values()), made.rows, right=[columns[name] for name in made.right])
        whole.padding = (0, 0)
    console.print(whole)
    note(f"Report: {report}")
    run = RunFolder.open(report.parent)
    if run.shipped:
        for line in where_to_look(run.path, view=results.name):
            note(line)
    else:
        note(
            f"{results.name} has not wholly reached the tracking store yet; nothing is lost. "
            f"Ship it with: undertow sync {run.path.parent}"
        )
    if left := sum(trial.state in ("missing", "waiting", "stopped", "running") for trial in results.trials):
        note(f"{left} of {len(results.trials)} combinations are left: the same command goes on with them.")


def _show_status(status: "StudyStatus") -> None:
    from datetime import datetime

    from undertow.cli.output.tables import facts

    counts = status.counts
    shown = {"study": status.name, "combinations": str(counts.total), "settled": str(counts.settled)}
    shown |= {state: str(count) for state, count in sorted(counts.states.items())}
    if counts.best:
        shown["best"] = f"{status.objective} {counts.best[0]:.4g}  {counts.best[1]}"
    if status.seconds_each is not None:
        shown["a run takes"] = f"{status.seconds_each:.1f} s"
    for machine, numbers in status.drivers.items():
        shown[f"driver on {machine}"] = ", ".join(map(str, numbers))
    for name, began in status.running.items():
        shown[f"at work: {name}"] = f"{(datetime.now() - began).total_seconds():.0f} s"
    for name, reason in status.failed.items():
        shown[f"failed: {name}"] = reason
    out().print(facts(shown))


def _status_document(status: "StudyStatus") -> dict[str, Any]:
    counts = status.counts
    return {
        "study": status.name,
        "total": counts.total,
        "settled": counts.settled,
        "states": dict(counts.states),
        "best": {"value": counts.best[0], "run": counts.best[1]} if counts.best else None,
        "objective": status.objective,
        "seconds_each": status.seconds_each,
        "running": {name: began.isoformat() for name, began in status.running.items()},
        "failed": dict(status.failed),
        "drivers": dict(status.drivers),
    }


def _document(results: "StudyResults") -> dict[str, Any]:
    return {
        "study": results.name,
        "objectives": [{"metric": each.metric, "direction": each.direction} for each in results.objectives],
        "trials": [
            {
                "params": dict(trial.params),
                "sample": trial.sample,
                "state": trial.state,
                "number": trial.number,
                "attempts": trial.attempts,
                "reason": trial.reason,
                "values": list(trial.values),
                "metrics": dict(trial.metrics),
                "steps": trial.steps,
                "seconds": trial.seconds,
                "run_name": trial.run_name,
                "folder": trial.folder,
            }
            for trial in results.trials
        ],
    }
