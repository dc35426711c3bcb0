"""One trial in a process of its own: what it is given (`Job`), and how it is carried out (`conduct`).

A crash, an out-of-memory kill or a segfault ends this trial alone. Everything that it records is in the run folder,
where the driver reads it. The driver sends only stop requests over the pipe. When the pipe ends, the driver has ended:
then the trial saves itself and ends too.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from undertow._system.stopping import StopRequest
from undertow._system.tracebacks import append_traceback
from undertow.config.load import LoadedExperiment, dump, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import UndertowError
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Plugin
from undertow.runs.code import record_code, require_recorded_code
from undertow.runs.experiment import start_is_recorded, start_record, train_and_record
from undertow.runs.ranks import end_ranks
from undertow.runs.result import Result, failure
from undertow.studies.work.same_data import require_same_data
from undertow.tracking import Outbox, RunFolder

_SAVE_SECONDS = 30.0  # how long a trial may take to save itself when its driver has ended


@dataclass(frozen=True)
class Job:
    """What a trial is given.

    Attributes:
        home: Where run folders are.
        study: The study's own folder in it.
        folder: The run folder of the attempt before, to continue in; None for a new one.
        run: The uuid of the new run.
        parent: The uuid of the study's own run.
        uri: The tracking store, resolved: this process has its environment from an earlier one.
        config: Resolved; its scratch plugins are the study's copies.
        plugins: The installed plugins that the driver loaded, even if others are installed by now.
        tags: The provenance of the run, and its place in the study.
        params: Parameters of the run in addition to its configuration, such as its case.
        threads: CPU threads.
        gpus: The GPUs it may use; None for all.
        gpu_share: The share of a GPU's memory it may use.
        memory: GiB of main memory that it may use in addition to what it starts with; None for no limit.
        allow_changed_code: Continue in `folder` even if the data have changed since. Plugins are compared by the
            driver, for the whole study.
    """

    home: Path
    study: Path
    folder: Path | None
    run: str
    parent: str
    uri: str
    config: ExperimentConfig
    plugins: Sequence[Plugin]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    threads: int
    gpus: tuple[str, ...] | None = None
    gpu_share: float = 1.0
    memory: float | None = None
    allow_changed_code: bool = False

    @property
    def place(self) -> Path:
        """Its run folder, which may not exist yet."""
        return self.folder or RunFolder.place(self.home, self.config.run_name, self.run)


def stand_by(driver: Connection) -> None:
    """Wait for a job and carry it out; the main function of a trial's process."""
    os.setsid()  # Ctrl-C in the driver's terminal must not reach this process
    gc.freeze()  # the objects of the forkserver stay alive; one collection of all of them takes a third of a second
    gc.enable()
    try:
        job = driver.recv()
    except EOFError:
        return  # the driver needs no further trial
    conduct(job, driver)


def conduct(job: Job, driver: Connection) -> None:
    """Carry out a job, and record how it ended, whatever is raised."""
    stop = StopRequest()
    threading.Thread(target=_listen, args=(driver, stop), daemon=True).start()
    with stop.listening():
        try:
            _limit(job)
            with _opened(job) as folder:
                _redirect_output(folder.path / "output.log")
                try:
                    _work(folder, job, stop)
                except Exception as error:  # noqa: BLE001  (whatever it is, the trial must end with a true status)
                    _record_failure(folder, error)
        except Exception as error:  # noqa: BLE001  (the run folder cannot be opened: its record must not be touched)
            job.place.mkdir(parents=True, exist_ok=True)
            _failure(error, job.place).write(job.place / "result.json")


def _work(folder: RunFolder, job: Job, stop: StopRequest) -> None:
    from undertow.train.build import build
    from undertow.train.runtime import denormals_flushed

    registry = load_plugins(files=job.config.plugins.files, strict=True, again=job.plugins)
    loaded = LoadedExperiment(job.config, registry)
    with denormals_flushed(job.config.train.flush_denormals):
        built = build(loaded)
        facts = built.facts()
        dataset, allowed = facts["undertow.dataset"], job.allow_changed_code
        changes = require_same_data(job.study, job.config, dataset, allow_changed=allowed)
        if start_is_recorded(folder):
            changes |= require_recorded_code(folder, loaded, dataset, allow_changed=allowed, compare_plugins=False)
        else:  # a new run, or one whose process was killed before this
            record_code(folder, loaded, dataset)
            start_record(folder, job.config, {**job.tags, **facts, **changes}, job.params)
        if job.folder is not None:
            with Outbox(folder.outbox) as outbox:
                outbox.status("RUNNING")
                outbox.tags({**job.tags, **changes})
        train_and_record(folder, built, stop, progress=False)


def _failure(error: Exception, folder: Path) -> Result:
    """The result of an exception outside of training; its traceback is kept even if it is a `RequestError`."""
    if isinstance(error, UndertowError):
        append_traceback(folder / "traceback.txt", error, "the trial failed")
    return failure(error, folder)


def _record_failure(folder: RunFolder, error: Exception) -> None:
    result = _failure(error, folder.path)
    try:
        with Outbox(folder.outbox) as outbox:
            outbox.tags({"undertow.end": result.reason})
            outbox.status(result.status)
    except OSError as unrecorded:
        append_traceback(folder.path / "traceback.txt", unrecorded, "the failure could not be recorded")
    result.write(folder.result)


@contextmanager
def _opened(job: Job) -> Iterator[RunFolder]:
    """The run folder, whose lock this process holds inside the block."""
    config = job.config
    if job.folder is not None:
        folder = RunFolder.open(job.folder)
        folder.acquire()
        end_ranks(folder)
        folder.result.unlink(missing_ok=True)
    else:
        folder = RunFolder.create(
            job.home,
            config.run_name,
            experiment=config.track.experiment,
            uri=job.uri,
            config_yaml=dump(without_password(config)),
            uuid=job.run,
            parent=job.parent,
        )
    try:
        yield folder
    finally:
        folder.release()


def _redirect_output(path: Path) -> None:
    """Send standard output and standard error of this process to a file."""
    with path.open("ab", buffering=0) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _limit(job: Job) -> None:
    """Limit threads, memory and GPUs to what the job may use; called before the first kernel."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(job.threads)  # for the ranks of a trial over several devices
    torch.set_num_threads(job.threads)
    if job.memory is not None:
        import resource

        limit = _data_bytes() + int(job.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if job.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(job.gpus)
        if job.gpu_share < 1.0:
            torch.cuda.set_per_process_memory_fraction(job.gpu_share, 0)


def _data_bytes() -> int:
    """Bytes of private memory of this process now; 0 where the system has no such number."""
    try:
        with Path("/proc/self/status").open() as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
    except OSError:
        return 0


def _listen(driver: Connection, stop: StopRequest) -> None:
    """Receive stop requests from the driver until it ends; then stop too."""
    try:
        while True:
            stop.reason = str(driver.recv())
    except (EOFError, OSError):
        stop.reason = stop.reason or "the end of its driver"
    time.sleep(_SAVE_SECONDS)
    os._exit(1)  # it hangs, and no other process would end it
