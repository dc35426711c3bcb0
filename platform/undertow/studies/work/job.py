"""One trial in a process of its own: what it is given (`Job`), and how it is carried out (`conduct`).

The trials of a pack have one process. It opens all run folders and builds all networks before it trains; a trial that
fails until then is recorded as failed, and the others go on.

A crash, an out-of-memory kill or a segfault ends this trial, or this pack, alone. Everything that it records is in the
run folder, where the driver reads it. The driver sends only stop requests over the pipe. When the pipe ends, the driver
has ended: then the trial saves itself and ends too.
"""

import gc
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.stopping import StopRequest
from undertow._system.tracebacks import append_traceback
from undertow.config.load import LoadedExperiment, dump, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import UndertowError
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Plugin, Registry
from undertow.runs.code import record_code, require_recorded_code
from undertow.runs.experiment import start_is_recorded, start_record, train_and_record
from undertow.runs.ranks import end_ranks
from undertow.runs.result import Result, failure
from undertow.studies.work.same_data import require_same_data
from undertow.tracking import Outbox, RunFolder

if TYPE_CHECKING:
    from undertow.train.build import Built

_CHOICES = "packs"  # in the study's folder: for each configuration, whether its packs run side by side or one by one
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
        memory: GiB of main memory that it may use in addition to what it starts with; None for no limit. A pack may
            use the sum.
        allow_changed_code: Continue in `folder` even if the data have changed since. Plugins are compared by the
            driver, for the whole study.
        pack: The id of the pack that it is trained in; empty for a run by itself.
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
    pack: str = ""

    @property
    def place(self) -> Path:
        """Its run folder, which may not exist yet."""
        return self.folder or RunFolder.place(self.home, self.config.run_name, self.run)


def stand_by(driver: Connection) -> None:
    """Wait for jobs and carry them out; the main function of a trial's process."""
    os.setsid()  # Ctrl-C in the driver's terminal must not reach this process
    gc.freeze()  # the objects of the forkserver stay alive; one collection of all of them takes a third of a second
    gc.enable()
    try:
        jobs = driver.recv()
    except EOFError:
        return  # the driver needs no further trial
    conduct(jobs, driver)


def conduct(jobs: Sequence[Job], driver: Connection) -> None:
    """Carry out a job, or the jobs of a pack, and record how each ended, whatever is raised."""
    stop = StopRequest()
    threading.Thread(target=_listen, args=(driver, stop), daemon=True).start()
    with stop.listening(), ExitStack() as locks:
        try:
            _limit(jobs)
        except Exception as error:  # noqa: BLE001  (whatever it is, each trial must end with a true status)
            for job in jobs:
                _record_unopened(job, error)
            return
        opened: list[tuple[RunFolder, Job]] = []
        for job in jobs:
            try:
                opened.append((locks.enter_context(_opened(job)), job))
            except Exception as error:  # noqa: BLE001  (as above)
                _record_unopened(job, error)
        if opened:
            _redirect_output([folder.path for folder, _ in opened])
            _work(opened, stop)


def _work(opened: Sequence[tuple[RunFolder, Job]], stop: StopRequest) -> None:
    """Build and train what was opened. An exception is recorded for every trial that has no recorded end yet."""
    first = opened[0][1]
    going = [folder for folder, _ in opened]
    try:
        from undertow.train.runtime import denormals_flushed

        registry = load_plugins(files=first.config.plugins.files, strict=True, again=first.plugins)
        with denormals_flushed(first.config.train.flush_denormals):
            members: list[tuple[RunFolder, Built]] = []
            for folder, job in opened:
                try:
                    members.append((folder, _started(folder, job, registry)))
                except Exception as error:  # noqa: BLE001  (the others go on)
                    going.remove(folder)
                    _record_failure(folder, error)
            _train(members, first, stop)
    except Exception as error:  # noqa: BLE001  (whatever it is, each trial must end with a true status)
        for folder in going:
            if not (first.pack and folder.result.exists()):  # a replicate that has ended stays ended
                _record_failure(folder, error)


def _started(folder: RunFolder, job: Job, registry: Registry) -> "Built":
    """Build what a trial trains, compare its data with what is recorded, and start or continue its record."""
    from undertow.train.build import build

    loaded = LoadedExperiment(job.config, registry)
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
    return built


def _train(members: Sequence[tuple[RunFolder, "Built"]], first: Job, stop: StopRequest) -> None:
    """Train what was built, and record how each ended."""
    if not first.pack:
        for folder, built in members:
            train_and_record(folder, built, stop, progress=False)
    elif members:
        from undertow.runs.pack import Member, train_and_record_pack

        choice = _choice_file(first) if first.config.train.deterministic else None
        pack = [Member(folder, built) for folder, built in members]
        train_and_record_pack(pack, stop, progress=False, choice=choice)


def _choice_file(job: Job) -> Path:
    """Where the first decision for a configuration is kept, whatever its seed: every pack of it computes the same."""
    config = job.config.model_dump_json(exclude={"seed", "track", "question", "study"})
    return job.study / _CHOICES / hashlib.blake2b(config.encode(), digest_size=8).hexdigest()


def _record_unopened(job: Job, error: Exception) -> None:
    """Write the result of a trial whose run folder cannot be opened; its record must not be touched."""
    job.place.mkdir(parents=True, exist_ok=True)
    _failure(error, job.place).write(job.place / "result.json")


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


def _redirect_output(folders: Sequence[Path]) -> None:
    """Send standard output and standard error of this process to a file in the first folder; the others name it."""
    first, *others = [folder / "output.log" for folder in folders]
    with first.open("ab", buffering=0) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    for other in others:
        with other.open("a") as log_of_other:
            log_of_other.write(f"trained in one process with {len(others)} others, whose output is in {first}\n")


def _limit(jobs: Sequence[Job]) -> None:
    """Limit threads, memory and GPUs to what the jobs may use; called before the first kernel."""
    import torch

    first = jobs[0]
    os.environ["OMP_NUM_THREADS"] = str(first.threads)  # for the ranks of a trial over several devices
    torch.set_num_threads(first.threads)
    if first.memory is not None:
        import resource

        limit = _data_bytes() + int(first.memory * len(jobs) * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if first.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(first.gpus)
        if first.gpu_share < 1.0:
            torch.cuda.set_per_process_memory_fraction(first.gpu_share, 0)


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
