"""A whole study, from its configuration to its report.

    study, frame = undertow.study("experiments/vanishing/digits.yaml", set=["train.max_steps=100"])
    frame.groupby(["cell.name", "task.length"])["gradient/h/reach"].mean()

Refused before anything is written, or recorded to its end; the same call goes on with whatever is missing.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from undertow._system.gc import importing
from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted
from undertow.report.results import StudyResults
from undertow.studies.plan.load import LoadedStudy, load_study, load_study_mapping
from undertow.studies.progress import TerminalView
from undertow.studies.store.counts import Counts
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.storage import storage_url
from undertow.studies.work.driver import Driver, Watch
from undertow.studies.work.executor import LocalExecutor
from undertow.studies.work.parent import ParentRun
from undertow.studies.work.slots import shares, visible_gpus
from undertow.tracking import Provenance, RunFolder, home_folder, provenance, start_shipper
from undertow.tracking.mlflow.views import chart_view
from undertow.tracking.records import Status

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame

REPORT = "report.html"
"""The report's name in the study's folder."""


def study(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    set: Sequence[str] = (),
    plugins: Sequence[str | os.PathLike[str]] = (),
    home: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> "tuple[Study, DataFrame]":
    """Run what a study has left, as `undertow study run` does, and write its report.

    Args:
        config: A YAML file with a `study` section, or the same as a mapping, which has to have `study.name`.
        set: Overrides, ``"study.workers=2"``.
        plugins: Python files with scratch plugins.
        home: Where run folders and the default stores are; `UNDERTOW_HOME`, or ``runs``, when None.
        limit: Attempts to start at most.
        retry_failed: Give what has failed for good another attempt.
        progress: Show how far it is, on standard error.

    Returns:
        Optuna's study, and a row for each combination: its factors, how it stands, every metric by its name.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C, SIGTERM or `undertow study stop`; the same call goes on with the rest.
    """
    files = [Path(plugin) for plugin in plugins]
    if isinstance(config, Mapping):
        loaded = load_study_mapping(config, set, files)
    else:
        loaded = load_study(Path(config), set, files)
    with TerminalView(loaded, quiet=not progress) as view:
        where = Path(home).absolute() if home else home_folder()
        results, _ = run_study(loaded, home=where, watch=view, limit=limit, retry_failed=retry_failed)
    return results.study, results.frame()


def run_study(
    loaded: LoadedStudy, *, home: Path, watch: Watch, limit: int | None = None, retry_failed: bool = False
) -> tuple[StudyResults, Path]:
    """Run what a study has left, and write its report.

    Args:
        loaded: The study.
        home: Where run folders and the default stores are.
        watch: Told how it goes.
        limit: Attempts to start at most.
        retry_failed: Give what has failed for good another attempt.

    Returns:
        What the study came to so far, and its report.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: It was stopped before its end; the same call goes on with it.
    """
    workers = shares(loaded.config, loaded.first.train, cpus=_cpus(), gpus=visible_gpus())
    stop = StopRequest()
    with stop.listening():
        executor = LocalExecutor(_modules(loaded))  # first of all: it imports while the stores are opened
        made_from = provenance(loaded.registry.versions(), loaded.first.seed)
        with importing():
            ledger = Ledger.open(
                storage_url(home, loaded.config.storage), loaded, {"run": uuid4().hex, "facts": _facts(made_from)}
            )
        if retry_failed:
            ledger.retry()
        parent = ParentRun.open(home, loaded, ledger.about["run"], made_from)
        shipper = start_shipper(home)
        driver = Driver(
            loaded,
            ledger,
            executor,
            home,
            workers,
            parent=ledger.about["run"],
            tags=made_from.tags,
            watch=watch,
            limit=limit,
        )
        try:
            stand = driver.run(stop)
        except BaseException:  # whatever it is, it goes on up; MLflow must not show the study as running
            if parent is not None:
                parent.close("KILLED")
            raise
        finally:
            executor.close()
        results = read_results(ledger)
        # The one who ends a study writes its report, even if another driver began it.
        parent = parent or ParentRun.open(home, loaded, ledger.about["run"], made_from)
        if parent is not None:
            _hand_in(parent, results, stand)
            shipper.wait(parent.folder, unless=lambda: stop.reason is not None)
    if stop.reason is not None and stand.settled < stand.total:
        raise Interrupted(
            f"{loaded.name}: stopped by {stop.reason} with {stand.settled} of {stand.total} combinations settled. "
            "The same command goes on with the rest"
        )
    return results, RunFolder.place(home, loaded.name, ledger.about["run"]) / REPORT


def _hand_in(parent: ParentRun, results: StudyResults, stand: Counts) -> None:
    """The report and the table, as far as the study has come."""
    from undertow.report import markdown_table, write_report

    report = write_report(results, parent.folder.path / REPORT)
    states = ", ".join(f"{count} {state}" for state, count in stand.states.items())
    parent.close(
        _status(stand),
        description=f"{results.question}\n\n{markdown_table(results)}",
        artifacts=[report],
        tags={"undertow.study.states": states or "nothing done"},
        experiment_tags=_view(results),
    )


def _view(results: StudyResults) -> Mapping[str, str]:
    """A saved view of the study's charts in MLflow: the curves of all state parts, grouped by what is varied."""
    curves = sorted({name for trial in results.trials for name in trial.curves if "/layer" not in name})
    factors = [key for key in results.space.vary if key != "seed"]
    search = f"tags.`undertow.study` = '{results.name}'"
    return chart_view(results.name, group_by=factors or None, metrics=curves, search=search) if curves else {}


def _status(stand: Counts) -> Status:
    if stand.settled < stand.total:
        return "KILLED"
    return "FINISHED" if stand.states.get("complete") else "FAILED"


def _modules(loaded: LoadedStudy) -> list[str]:
    """The modules of every class that the study's runs will ask for, and of the hooks of every plugin."""
    specs = loaded.registry
    chosen = [loaded.space.chosen(point) for point in loaded.space.points()]
    wanted = [
        *(specs.cell(str(name)) for name in {each.get("cell.name", loaded.first.cell.name) for each in chosen}),
        *(specs.task(str(name)) for name in {each.get("task.name", loaded.first.task.name) for each in chosen}),
        *(specs.probe(each.name) for each in loaded.first.probes),
    ]
    classes = {spec.factory.partition(":")[0] for spec in wanted} - {""}
    hooks = {plugin.module for plugin in specs.plugins if not plugin.scratch}  # a trial loads every plugin again
    return sorted(classes | hooks)


def _facts(made_from: Provenance) -> dict[str, str]:
    return {key: value for key, value in made_from.tags.items() if not key.startswith("undertow.seed")}


def _cpus() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
