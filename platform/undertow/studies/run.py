"""Run a whole study, from its configuration to its report.

    study, frame = undertow.study("experiments/vanishing/digits.yaml", set=["train.max_steps=100"])
    frame.groupby(["cell.name", "task.length"])["gradient/input/reach"].median()

A wrong request is refused before anything is written. A study that was stopped is continued by the same call.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from undertow._system.cpus import usable_cpus
from undertow._system.stopping import StopRequest
from undertow.errors import Interrupted, RequestError
from undertow.plugins.frozen import keep_copies
from undertow.plugins.registry import Entry
from undertow.plugins.scratch import describe
from undertow.report.results import StudyResults
from undertow.studies.plan.load import LoadedStudy, load_study, load_study_mapping
from undertow.studies.plan.packs import Reasons, singly
from undertow.studies.progress import TerminalView
from undertow.studies.store.counts import Counts
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.storage import storage_url
from undertow.studies.work.driver import Driver, ProgressView
from undertow.studies.work.executor import LocalExecutor
from undertow.studies.work.parent import ParentRun
from undertow.studies.work.ray.cluster import RayCluster
from undertow.studies.work.ray.drivers import RayDrivers
from undertow.studies.work.ray.remote import remote_job
from undertow.studies.work.slots import Slot, machine_slots, visible_gpus
from undertow.tracking import Provenance, RunFolder, home_folder, provenance, start_shipper, tracking_uri
from undertow.tracking.mlflow.search import tag_is
from undertow.tracking.mlflow.views import chart_view
from undertow.tracking.records import RunStatus

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame

REPORT = "report.html"
"""The file name of the report in the study's folder."""


def study(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    set: Sequence[str] = (),
    plugins: Sequence[str | os.PathLike[str]] = (),
    home: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    allow_changed_code: bool = False,
    progress: bool = True,
    ray: str | None = None,
) -> "tuple[Study, DataFrame]":
    """Run the combinations of a study that are left, and write its report, as `undertow study run` does.

    Args:
        config: A YAML file with a `study` section, or the same as a mapping, which must have `study.name`.
        set: Overrides, ``"study.workers=2"``.
        plugins: Python files with scratch plugins.
        home: Where run folders and the default stores are; `UNDERTOW_HOME`, or ``runs``, when None.
        limit: Trials to start at most.
        retry_failed: Retry failed combinations.
        allow_changed_code: Continue with other plugins than those that the study was started with. The report says so.
        progress: Show the progress on standard error.
        ray: Run the trials on a Ray cluster: its address, or ``auto``, as for `run_study`.

    Returns:
        Optuna's study, and a row for each combination: its factors, its state, every metric by its name.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 or `undertow study stop`; the same call continues.
    """
    files = [Path(plugin) for plugin in plugins]
    if isinstance(config, Mapping):
        loaded = load_study_mapping(config, set, files)
    else:
        loaded = load_study(Path(config), set, files)
    with TerminalView(loaded, quiet=not progress) as view:
        results, _ = run_study(
            loaded,
            home=Path(home).absolute() if home else home_folder(),
            watch=view,
            limit=limit,
            retry_failed=retry_failed,
            allow_changed_code=allow_changed_code,
            note=view.note,
            ray=ray,
        )
    return results.study, results.frame()


def print_note(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr)


def run_study(
    loaded: LoadedStudy,
    *,
    home: Path,
    watch: ProgressView,
    limit: int | None = None,
    retry_failed: bool = False,
    allow_changed_code: bool = False,
    note: Callable[[str], None] = print_note,
    ray: str | None = None,
) -> tuple[StudyResults, Path]:
    """Run the combinations of a study that are left, and write its report.

    A report that cannot be written is a note: the trials are done, and `undertow study report` writes it later.

    Args:
        loaded: The study.
        home: Where run folders and the default stores are.
        watch: Shows the progress.
        limit: Trials to start at most.
        retry_failed: Retry failed combinations.
        allow_changed_code: Continue with other plugins than those that the study was started with.
        note: Shows a line to the user.
        ray: Run the trials on a Ray cluster: its address, ``HOST:PORT``, or ``auto`` for RAY_ADDRESS or the cluster
            that this machine belongs to. They run on this machine when None.

    Returns:
        The results so far, and the path of the report, which exists if it could be written.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: The study was stopped before its end; the same call continues.
    """
    if ray is not None and limit is not None:
        raise RequestError("--trials cannot be combined with --ray, where each driver counts for itself")
    uri = tracking_uri(home, loaded.first.track.uri)  # a wrong address is refused before the study is written
    storage = storage_url(home, loaded.config.storage)
    stop = StopRequest()
    with stop.listening(), _place(loaded, ray, storage, uri, stop, note) as place:
        made_from = provenance(loaded.registry.versions(), loaded.first.seed)
        ledger = Ledger.open(
            storage,
            loaded,
            {"run": uuid4().hex, "facts": _facts(made_from)},
            allow_changed_code=allow_changed_code,
        )
        if ledger.changes:
            note(f"{loaded.name}: {ledger.changes}; the other combinations and their results are kept")
        if loaded.config.pack == "auto" and (reasons := Reasons(loaded).counted):
            note(f"{loaded.name}: {singly(reasons)}")
        original, loaded = loaded, freeze_code(loaded, home, ledger.snapshot)
        if retry_failed:
            ledger.retry()
        uuid = ledger.snapshot["run"]
        parent = ParentRun.open(home, loaded, uuid, made_from)
        shipper = start_shipper(home)
        driver: Driver | RayDrivers
        if isinstance(place, LocalPlace):
            driver = Driver(
                loaded,
                ledger,
                place.executor,
                home,
                place.slots,
                parent=uuid,
                tags=made_from.tags,
                watch=watch,
                limit=limit,
                allow_changed_code=allow_changed_code,
                meanwhile=report_imports(),
            )
        else:
            job = remote_job(
                original,
                loaded.files,
                home,
                uri,
                storage,
                run=uuid,
                modules=_modules(loaded),
                tags=made_from.tags,
                gpu_share=place.needed.get("GPU", 0.0),
                slots=place.slots(None if loaded.config.workers == "auto" else loaded.config.workers),
                allow_changed_code=allow_changed_code,
            )
            driver = RayDrivers(place, loaded, ledger, job, watch)
        try:
            with ledger.deletion_named(home):
                counts = driver.run(stop)
                results = read_results(ledger)
        except BaseException:  # re-raised: MLflow must not show the study as running
            if parent is not None:
                parent.close("KILLED")
            raise
        # The driver that ends a study writes the report, even if another driver held the parent run at the start.
        with _noting(note, f"the trials of {loaded.name} have ended, but its own run cannot be recorded"):
            parent = parent or ParentRun.open(home, loaded, uuid, made_from)
            if parent is not None:
                _log_artifacts(parent, results, counts, note)
                shipper.wait(parent.folder, unless=lambda: stop.reason is not None)
    if stop.reason is not None and counts.settled < counts.total:
        raise Interrupted(
            f"{loaded.name}: stopped by {stop.reason} with {counts.settled} of {counts.total} combinations settled. "
            "The same command continues with the rest"
        )
    return results, RunFolder.place(home, loaded.name, uuid) / REPORT


@dataclass(frozen=True)
class LocalPlace:
    """This machine, divided into slots."""

    executor: LocalExecutor
    slots: Sequence[Slot]


@contextmanager
def _place(
    loaded: LoadedStudy, ray: str | None, storage: str, uri: str, stop: StopRequest, note: Callable[[str], None]
) -> Iterator[LocalPlace | RayCluster]:
    """Where the trials run: this machine, or the Ray cluster at this address, with a node that can run them."""
    if ray is not None:
        cluster = RayCluster.connect(ray, loaded, storage, uri, note)
        try:
            cluster.wait_for_slot(stop)
            yield cluster
        finally:
            cluster.close()
        return
    slots = machine_slots(loaded.config, loaded.first.train, cpus=usable_cpus(), gpus=visible_gpus())
    executor = LocalExecutor(_modules(loaded))  # it imports while the databases are opened
    try:
        yield LocalPlace(executor, slots)
    finally:
        executor.close()


def freeze_code(loaded: LoadedStudy, home: Path, snapshot: Mapping[str, Any]) -> LoadedStudy:
    """Keep copies of the scratch plugins and their neighbours in the study's folder.

    Each home has its own copies. A change of code that was allowed gets a new folder of copies.

    Args:
        loaded: The study, with the original files.
        home: Where run folders are.
        snapshot: The study's snapshot.

    Returns:
        The study with the copies in the place of the files.

    Raises:
        RequestError: A file was edited after it was loaded.
    """
    changes = len(snapshot.get("changed_code", []))
    folder = RunFolder.place(home, loaded.name, snapshot["run"]) / (f"plugins-{changes}" if changes else "plugins")
    copies = keep_copies(loaded.files, folder)
    versions = {plugin.name: plugin.version for plugin in loaded.registry.plugins if plugin.scratch}
    for file, copy in zip(loaded.files, copies, strict=True):
        if (found := describe(copy).version) != versions[str(file)]:
            raise RequestError(
                f"{file} was loaded as {versions[str(file)]}, but its copy {copy} is {found}. If the file was edited "
                "meanwhile, run the same command again; else delete the copy first."
            )
    return replace(loaded, files=tuple(copies))


def report_imports() -> Iterator[None]:
    """Import what the report needs, a library at a time: it takes longer than to write the report."""
    import scipy.stats  # noqa: F401

    yield
    import plotly.graph_objects  # noqa: F401

    import undertow.report  # noqa: F401

    yield
    import sklearn.ensemble  # noqa: F401  (Optuna's for the importances)

    yield
    import optuna.visualization  # noqa: F401


def _log_artifacts(parent: ParentRun, results: StudyResults, counts: Counts, note: Callable[[str], None]) -> None:
    """Record the status of the study, and the report and the table with the results so far."""
    from undertow.report import study_description, write_report
    from undertow.tracking.mlflow.lookup import find_run_address

    description = results.question
    artifacts: list[Path] = []
    view: Mapping[str, str] = {}
    again = f"`undertow study report {results.name}` tries again"
    with _noting(note, f"the trials of {results.name} have ended, but its report cannot be written ({again})"):
        identity = parent.folder.identity
        links = find_run_address(identity.uri, identity.experiment)
        artifacts = [write_report(results, parent.folder.path / REPORT, links)]
        description = study_description(results)
        view = _view(results)
    states = ", ".join(f"{number} {state}" for state, number in counts.states.items())
    parent.close(
        _status(counts),
        description=description,
        artifacts=artifacts,
        tags={"undertow.study.states": states or "nothing done"},
        experiment_tags=view,
    )


@contextmanager
def _noting(note: Callable[[str], None], what: str) -> Iterator[None]:
    """Turn an error in the block, which comes after the trials, into a note."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (any error: the trials are done and recorded)
        note(f"{what}: {type(error).__name__}: {error}")


def _view(results: StudyResults) -> Mapping[str, str]:
    """A saved view in MLflow, grouped by the varied keys: the scores by step, the gradient by the input, the others."""
    names = {name for trial in results.combinations for name in trial.curves}
    names -= {
        name for name in names if "/layer" in name or name.endswith("/by_step")
    }  # losses by step are metrics, too
    curves = sorted(names, key=lambda name: ("/input/" not in name, name.endswith("/spread"), name))
    factors = [key for key in results.space.vary if key != "seed"]
    search = tag_is("undertow.study", results.name)
    scores = dict.fromkeys([*(each.metric for each in results.objectives), "val/loss", "train/loss"])
    metrics = [*scores, *curves]
    return chart_view(results.name, group_by=factors or None, metrics=metrics, search=search)


def _status(counts: Counts) -> RunStatus:
    if counts.settled < counts.total:
        return "KILLED"
    return "FINISHED" if counts.states.get("complete") else "FAILED"


def _modules(loaded: LoadedStudy) -> list[str]:
    """The modules of every class that the study's runs use, and those of the hooks of every plugin.

    Not those of scratch plugins: a trial imports them from the copies.
    """
    specs = loaded.registry
    chosen = [loaded.space.chosen(point) for point in loaded.space.points()]
    wanted: list[Entry[Any]] = [
        *(specs.cells[str(name)] for name in {each.get("cell.name", loaded.first.cell.name) for each in chosen}),
        *(specs.blocks[str(name)] for name in {each.get("cell.block", loaded.first.cell.block) for each in chosen}),
        *(specs.tasks[str(name)] for name in {each.get("task.name", loaded.first.task.name) for each in chosen}),
        *(specs.probes[each.name] for each in loaded.first.probes),
        *(specs.optimizers[str(name)] for name in {each.get("optim.name", loaded.first.optim.name) for each in chosen}),
        *(specs.callbacks[each.name] for each in loaded.first.callbacks),
    ]
    classes = {each.spec.factory.partition(":")[0] for each in wanted if not each.plugin.scratch} - {""}
    hooks = {plugin.module for plugin in specs.plugins if not plugin.scratch}  # every trial loads all
    return sorted(classes | hooks)


def _facts(made_from: Provenance) -> dict[str, str]:
    return {key: value for key, value in made_from.tags.items() if not key.startswith("undertow.seed")}
