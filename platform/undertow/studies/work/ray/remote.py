"""A driver on a node of a cluster, in a process of its own: what it is given (`RemoteJob`), and what it does.

    python -P -m undertow.studies.work.ray.remote     # the job on standard input, its end on standard output

The first line of standard input is the job. A further line is a request to stop, with the reason. The end of standard
input means that the process which started this one has ended; then the driver stops too. Standard output gets one line
at the end: a `RemoteEnd`. Everything else goes to ``driver.log`` in the home of this node.

The study travels as data, its scratch plugins and their neighbours as their content. So a node needs the same
distributions, but none of the files of the machine where the study was started.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from undertow._system.atomic import write_atomically
from undertow._system.stopping import StopRequest
from undertow._system.tracebacks import append_traceback
from undertow.errors import RequestError, UndertowError
from undertow.plugins.neighbours import with_neighbours
from undertow.studies.plan.load import LoadedStudy, load_study_mapping
from undertow.studies.plan.packs import Packs
from undertow.studies.store.counts import Counts
from undertow.studies.store.ledger import Ledger
from undertow.studies.work.active_trial import ActiveTrial
from undertow.studies.work.driver import Driver
from undertow.studies.work.executor import LocalExecutor
from undertow.studies.work.slots import Slot
from undertow.tracking import RunFolder, ShipperProcess, provenance, start_shipper

LOG = "driver.log"
"""The file in a node's home with what its drivers print."""

_OF_THE_NODE = ("hostname", "platform", "python", "cpu_count", "torch")  # the tags of a run that differ between nodes
_END_SECONDS = 60.0  # to save the trials and to end, after the process that started this one has ended


@dataclass(frozen=True)
class RemoteJob:
    """What a driver on a node is given; plain data.

    Attributes:
        study: The whole configuration as a mapping, with its `study` section.
        file: The file that it was read from.
        plugins: Path and content of each scratch plugin. The content is that of the study's copy.
        neighbours: Path from the folder of the copies, and content, of each file that the scratch plugins import there.
        copies: The name of the folder for the copies, in the study's folder.
        modules: Modules to import before the first trial.
        run: The uuid of the study's own run.
        home: Where run folders are, on a node that has no UNDERTOW_HOME.
        folder: The working folder, if the node has it.
        storage: Optuna's database.
        environment: Variables of the environment: where the tracking store is, and how to log in.
        tags: Tags for every run.
        threads: CPU threads of a trial.
        gpu_share: The share of a GPU that a trial gets; 0 for no GPU.
        slots: How many drivers share the study, as far as it is known.
        allow_changed_code: As for `study run`.
    """

    study: Mapping[str, Any]
    file: str
    plugins: Sequence[tuple[str, str]]
    neighbours: Sequence[tuple[str, str]]
    copies: str
    modules: Sequence[str]
    run: str
    home: str
    folder: str
    storage: str
    environment: Mapping[str, str]
    tags: Mapping[str, str]
    threads: int
    gpu_share: float
    slots: int
    allow_changed_code: bool


@dataclass(frozen=True)
class RemoteEnd:
    """How a driver on a node ended.

    Attributes:
        error: Why it could not work; empty if it could.
        unshipped: The number of runs in the node's home that are not shipped.
    """

    error: str = ""
    unshipped: int = 0


def remote_job(
    loaded: LoadedStudy,
    copies: Sequence[Path],
    home: Path,
    uri: str,
    storage: str,
    *,
    run: str,
    modules: Sequence[str],
    tags: Mapping[str, str],
    gpu_share: float,
    slots: int,
    allow_changed_code: bool,
) -> RemoteJob:
    """Make the job of the drivers of a study.

    Args:
        loaded: The study, with its original scratch plugins.
        copies: The study's copies of these plugins.
        home: Where run folders are, on a node that has no UNDERTOW_HOME.
        uri: The tracking store.
        storage: Optuna's database.
        run: The uuid of the study's own run.
        modules: Modules to import before the first trial.
        tags: Tags for every run.
        gpu_share: The share of a GPU that a trial gets; 0 for no GPU.
        slots: How many drivers share the study, as far as it is known.
        allow_changed_code: As for `study run`.

    Raises:
        RequestError: A scratch plugin or a neighbour is no text in UTF-8.
    """
    contents = [_text(copy) for copy in copies]
    beside = [copy for copy in with_neighbours(copies) if copy not in copies]
    data = loaded.source_data()
    data["plugins"] = {key: value for key, value in (data.get("plugins") or {}).items() if key != "files"}
    mlflow = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    return RemoteJob(
        study={**data, "study": loaded.config.model_dump(mode="json") | {"name": loaded.name}},
        file=loaded.file,
        plugins=[(str(path), content) for path, content in zip(loaded.files, contents, strict=True)],
        neighbours=[(each.relative_to(copies[0].parent).as_posix(), _text(each)) for each in beside],
        copies=copies[0].parent.name if copies else "",
        modules=modules,
        run=run,
        home=str(home),
        folder=str(Path.cwd()),
        storage=storage,
        environment=mlflow if loaded.first.track.uri else {**mlflow, "MLFLOW_TRACKING_URI": uri},
        tags=tags,
        threads=loaded.first.train.threads or 1,
        gpu_share=gpu_share,
        slots=slots,
        allow_changed_code=allow_changed_code,
    )


def _text(copy: Path) -> str:
    try:
        return copy.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"{copy} cannot be sent to other machines, for it is not encoded in UTF-8") from error


def main() -> int:
    """Work until no trial is left, or until asked to stop."""
    orders, answer = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no child process reads the orders
    os.dup2(2, 1)
    words = json.loads(orders.readline())
    words["home"] = os.environ.get("UNDERTOW_HOME") or words["home"]
    time_budget, gpus = words.pop("time_budget"), words.pop("gpus")
    stop = StopRequest()
    threading.Thread(target=_listen, args=(orders, stop), daemon=True).start()
    try:
        end = _work(RemoteJob(**words), gpus, time_budget, stop)
    except Exception as error:  # noqa: BLE001  (any error: it is shown where the study was started)
        if not isinstance(error, UndertowError):
            append_traceback(Path(words["home"], LOG), error, "the driver failed")
        end = RemoteEnd(f"{type(error).__name__}: {error}" if not isinstance(error, UndertowError) else str(error))
    print(json.dumps(asdict(end)), file=answer, flush=True)
    return 1 if end.error else 0


def _work(job: RemoteJob, gpus: Sequence[str], time_budget: float | None, stop: StopRequest) -> RemoteEnd:
    home = Path(job.home)
    _enter(job, home)
    with stop.listening():
        executor = LocalExecutor(job.modules)
        try:
            loaded = _load(job, home)
            # The snapshot has the paths of the original files.
            original = replace(loaded, file=job.file, files=tuple(Path(path) for path, _ in job.plugins))
            facts = {"run": job.run}
            ledger = Ledger.open(job.storage, original, facts, allow_changed_code=job.allow_changed_code)
            config = loaded.config.model_copy(update={"time_budget": time_budget})
            here = provenance({}, loaded.first.seed).tags
            shipper = start_shipper(home)
            driver = Driver(
                replace(loaded, config=config),
                ledger,
                executor,
                home,
                [Slot(job.threads, tuple(gpus), min(job.gpu_share, 1.0) or 1.0)],  # it sees the GPUs that Ray granted
                parent=job.run,
                tags={**job.tags, **{f"undertow.{key}": here[f"undertow.{key}"] for key in _OF_THE_NODE}},
                watch=_Silent(),
                packs=Packs(loaded, job.slots),
                allow_changed_code=job.allow_changed_code,
            )
            with ledger.deletion_named(home):
                driver.run(stop)
        finally:
            executor.close()
        return RemoteEnd(unshipped=_ship(shipper, home, job.run, stop))


def _enter(job: RemoteJob, home: Path) -> None:
    """Take over the environment and the working folder, and send what is printed to the log of this home."""
    os.environ.update(job.environment)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / LOG).open("ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except OSError as error:
        raise RequestError(f"no run can be written below {home}: {error.strerror}: {error.filename}") from error
    os.chdir(job.folder if Path(job.folder).is_dir() else home)


def _load(job: RemoteJob, home: Path) -> LoadedStudy:
    """Load the study with copies of its scratch plugins and their neighbours in this home."""
    folder = RunFolder.place(home, str(job.study["study"]["name"]), job.run) / job.copies
    copies = [folder / Path(path).name for path, _ in job.plugins]
    beside = [(folder / path, content) for path, content in job.neighbours]
    for copy, content in [*beside, *zip(copies, (content for _, content in job.plugins), strict=True)]:
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(copy, content)
        elif copy.read_bytes() != content.encode():
            raise RequestError(f"{copy} is not the scratch plugin that the study was started with: delete it")
    return load_study_mapping(job.study, plugin_files=copies)


def _ship(shipper: ShipperProcess, home: Path, run: str, stop: StopRequest) -> int:
    """Wait until the runs of the study in this home are shipped; returns how many are not.

    Whoever was asked to stop does not wait: the next call ships the rest.
    """
    runs = [folder for folder in RunFolder.all(home) if folder.identity.parent == run and not folder.is_alive()]
    for folder in runs:
        if not shipper.wait(folder, unless=lambda: stop.reason is not None):
            break
    return 0 if stop.reason else sum(not folder.shipped for folder in runs)


def _listen(orders: IO[str], stop: StopRequest) -> None:
    """Receive a request to stop; stop also when the process that started this one ends."""
    for line in orders:
        stop.reason = stop.reason or line.strip()
    stop.reason = stop.reason or "the end of its Ray actor"
    time.sleep(_END_SECONDS)
    os._exit(1)  # it hangs, and no other process would end it; its trials then end by themselves


class _Silent:
    """A progress view that shows nothing."""

    def show(self, counts: Counts, active: Sequence[ActiveTrial], seconds: float) -> None:
        """Show nothing."""

    def ended(self, name: str, state: str, reason: str) -> None:
        """Show nothing."""


if __name__ == "__main__":
    sys.exit(main())
