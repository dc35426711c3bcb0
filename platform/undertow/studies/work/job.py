"""One attempt in a process of its own: what it is given (`Job`), and what it does with it (`conduct`).

A crash, an out-of-memory kill or a segfault is this trial's alone. Everything it finds out goes into the run folder;
the driver reads it there, and says over the pipe only that it should stop. The end of the pipe is the end of the
driver: then the trial saves, and goes too.
"""

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from undertow._system.stopping import StopRequest
from undertow.config.load import dump, without_password
from undertow.config.schema import ExperimentConfig
from undertow.errors import UndertowError
from undertow.plugins.host import load_plugins
from undertow.plugins.registry import Plugin
from undertow.runs.experiment import check_buildable, start_record, train_and_record
from undertow.runs.process import Result
from undertow.tracking import Outbox, RunFolder

_LAST_STEP = 30.0  # seconds a trial may take to save itself when its driver is gone


@dataclass(frozen=True)
class Job:
    """What a trial is given.

    Attributes:
        home: Where run folders are.
        folder: The run folder of the attempt before, to go on in; None for a new one.
        run: The uuid of the new run.
        parent: The uuid of the study's own run.
        uri: The tracking store, resolved: this process has its environment from an earlier one.
        config: Resolved.
        plugins: Those that are installed, as the driver found them, whatever is installed or removed meanwhile.
        tags: What the run is made from, and its place in the study.
        params: Parameters of the run beside its configuration, such as its case.
        threads: CPU threads.
        gpus: The GPUs it may see; None for all.
        gpu_share: The share of a GPU's memory it may take.
        memory: GiB of main memory that it may take beyond what it starts with; None for all.
    """

    home: Path
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

    @property
    def place(self) -> Path:
        """Its run folder, whether it is there already or not."""
        return self.folder or RunFolder.place(self.home, self.config.run_name, self.run)


def stand_by(driver: Connection) -> None:
    """Wait for a job, and do it; the main function of a trial's process."""
    os.setsid()  # Ctrl-C in the driver's terminal is for the driver
    gc.freeze()  # what came with the fork is no garbage: looking through all of it once takes a third of a second
    gc.enable()
    try:
        job = driver.recv()
    except EOFError:
        return  # there is nothing left to do
    conduct(job, driver)


def conduct(job: Job, driver: Connection) -> None:
    """Do the work."""
    _keep_to(job)
    stop = StopRequest()
    threading.Thread(target=_listen, args=(driver, stop), daemon=True).start()
    with stop.listening(), _opened(job) as folder:
        with (folder.path / "output.log").open("ab", buffering=0) as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        try:
            _work(folder, job, stop)
        except Exception as error:  # noqa: BLE001  (whatever it is, the attempt must end with a true status)
            (folder.path / "traceback.txt").write_text(traceback.format_exc())
            reason = str(error) if isinstance(error, UndertowError) else f"{type(error).__name__}: {error}"
            with Outbox(folder.outbox) as outbox:
                outbox.tags({"undertow.end": reason})
                outbox.status("FAILED")
            Result("FAILED", reason, type(error).__name__).write(folder.result)


def _work(folder: RunFolder, job: Job, stop: StopRequest) -> None:
    from undertow.train.runtime import denormals_flushed

    config = job.config
    registry = load_plugins(files=config.plugins.files, strict=True, again=job.plugins)
    with denormals_flushed(config.train.flush_denormals):
        if job.folder is None:
            devices, facts = check_buildable(config, registry)
            start_record(folder, config, {**job.tags, **facts}, job.params)
        else:
            devices, _ = check_buildable(config, registry)
            with Outbox(folder.outbox) as outbox:
                outbox.status("RUNNING")
                outbox.tags(job.tags)
        train_and_record(folder, config, registry, devices, stop, progress=False)


@contextmanager
def _opened(job: Job) -> Iterator[RunFolder]:
    """The run folder, held by this process."""
    config = job.config
    if job.folder is not None:
        folder = RunFolder.open(job.folder)
        folder.acquire()
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


def _keep_to(job: Job) -> None:
    """Take no more of the machine than was given; before the first kernel."""
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
    """What this process holds in private memory now; 0 where the system does not say."""
    try:
        with Path("/proc/self/status").open() as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
    except OSError:
        return 0


def _listen(driver: Connection, stop: StopRequest) -> None:
    """Hear the driver's wish to stop, or its end."""
    try:
        while True:
            stop.reason = str(driver.recv())
    except (EOFError, OSError):
        stop.reason = stop.reason or "the end of its driver"
    time.sleep(_LAST_STEP)
    os._exit(1)  # it hangs: nobody is left to wait for it
