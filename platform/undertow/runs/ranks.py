"""One process per device, a rank, under torchrun: start the ranks of a run, and end all of them.

    result = execute_on_ranks(folder, devices, stop, progress=True)      # in the process that holds the folder's lock

torchrun gives every rank a session of its own, so a signal to torchrun's process group does not reach the ranks.
Therefore each rank holds a lock in the folder ``ranks`` of the run for as long as it lives; the kernel releases it when
the process ends. `end_ranks` kills the holders and waits until no lock is held. Removing the folder stops ranks that
start later: they find nowhere to register, and end.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.lock import FileLock
from undertow._system.stopping import StopRequest
from undertow.runs.result import Result
from undertow.tracking import RunFolder

if TYPE_CHECKING:
    from undertow.train.devices import Devices

_POLL = 0.2  # seconds between two checks of torchrun and of a stop request

_registered: list[FileLock] = []  # a lock that is still referenced is closed in forked children, such as data workers


def execute_on_ranks(folder: RunFolder, devices: "Devices", stop: StopRequest, *, progress: bool) -> Result:
    """Train in one process per device, and return when all of them have ended.

    torchrun runs in a session of its own, so that Ctrl-C in the terminal reaches only this process.

    Args:
        folder: The run's folder, whose lock this process holds.
        devices: Where to train.
        stop: Set to end after the current step.
        progress: Show the progress on standard error.
    """
    rank_result(folder).unlink(missing_ok=True)
    end_ranks(folder)
    _registry(folder).mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(devices.count), "-m", "undertow.runs.process", str(folder.path)]
    threads = str(max(1, (os.cpu_count() or 1) // devices.count))  # otherwise every rank takes all cores
    torchrun = subprocess.Popen(
        command if progress else [*command, "--quiet"],
        start_new_session=True,
        stdout=2,  # standard output is for the result
        env={"OMP_NUM_THREADS": threads, **os.environ},
    )
    try:
        code = _wait(torchrun, stop)
    finally:
        _kill_group(torchrun)
        end_ranks(folder)
    if rank_result(folder).exists():
        return Result.read(rank_result(folder))
    if stop.reason:
        return Result("KILLED", f"stopped by {stop.reason}")
    return Result("FAILED", f"a process of the run ended with exit code {code} and recorded no reason")


def rank_result(folder: RunFolder) -> Path:
    """How rank 0 ended, for the process that started it, which records the final status and writes ``result.json``."""
    return folder.path / "rank-0.json"


def end_ranks(folder: RunFolder) -> None:
    """Kill every rank of a run that is still alive, and wait until all of them have ended.

    They may be those of an earlier process that was killed: it had no time to end them.

    Args:
        folder: The run's folder, whose lock this process holds.
    """
    closed = folder.path / "ranks.closed"
    _kill_holders(closed)  # it is there if a process was killed in this function
    with suppress(FileNotFoundError):
        _registry(folder).rename(closed)  # from here on no rank can register
    _kill_holders(closed)


def register_rank(folder: RunFolder, rank: int) -> FileLock:
    """Register this process as a rank of a run; it holds the lock until it ends, unless the caller releases it.

    Raises:
        SystemExit: The run has ended before this rank has started.
    """
    lock = FileLock(_registry(folder) / f"{rank}.lock")
    with suppress(FileNotFoundError):
        lock.acquire()
    if not lock.path.exists():  # tested while the lock is held: otherwise `end_ranks` may have missed it
        raise SystemExit(f"rank {rank} of {folder.path.name}: the run has ended before this rank has started")
    _registered.append(lock)
    return lock


def stop_with_the_run(folder: RunFolder, stop: StopRequest, grace: float) -> None:
    """Stop this rank when the process that started it has ended, for whatever reason; it held the folder's lock.

    Args:
        folder: The run's folder.
        stop: Set when the run's process has ended.
        grace: Seconds after which this process ends, if it is still alive then.
    """
    while folder.is_alive() and _registry(folder).exists():
        time.sleep(_POLL)
    stop.reason = "the end of the process that started it"
    time.sleep(grace)
    os._exit(1)  # it hangs, and no other process would end it


def _registry(folder: RunFolder) -> Path:
    return folder.path / "ranks"


def _kill_holders(closed: Path) -> None:
    """Kill the processes that hold the locks in a folder, wait until they have ended, and remove the folder."""
    if not closed.exists():
        return
    for path in closed.glob("*.lock"):
        lock = FileLock(path)
        while lock.is_held():
            pid = lock.holder()
            if pid is not None:  # None: it holds the lock, but has not yet written its number
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    shutil.rmtree(closed)


def _wait(torchrun: "subprocess.Popen[bytes]", stop: StopRequest) -> int:
    """Wait for torchrun's exit code; pass a stop request on to the ranks once, and kill them on the second Ctrl-C."""
    signalled = False
    while True:
        try:
            return torchrun.wait(timeout=_POLL)
        except subprocess.TimeoutExpired:
            if stop.reason and not signalled:
                torchrun.send_signal(signal.SIGTERM)
                signalled = True
        except KeyboardInterrupt:
            _kill_group(torchrun)


def _kill_group(torchrun: "subprocess.Popen[bytes]") -> None:
    if torchrun.poll() is None:
        os.killpg(torchrun.pid, signal.SIGKILL)
