"""One process per device, a rank, under torchrun: start the ranks of a run, and end all of them.

    result = execute_on_ranks(folder, devices, stop, progress=True)      # in the process that holds the folder's lock

torchrun gives every rank a session of its own, so a signal to torchrun's process group does not reach the ranks.
Therefore each rank holds a lock in the folder ``ranks`` of the run for as long as it lives; the kernel releases it when
the process ends. `end_ranks` kills the holders and waits until no lock is held. Removing the folder stops ranks that
start later: they find nowhere to register, and end.

A stop request reaches the ranks as the file ``stop`` in the same folder. A signal would not do: torchrun passes it on
to the process group of each rank, and a rank whose data workers are killed fails before it has saved. For the same
reason torchrun itself gets no signals: schedulers send them to every process of a job.

A rank that ends by itself, whatever its result, leaves a mark: the file ``RANK.ended``. A rank that holds no lock and
has left no mark was killed. The other ranks then fail, since their connections to it are closed; that is no failure of
the run, which could be continued: it ends as KILLED.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.atomic import write_atomically
from undertow._system.cpus import usable_cpus
from undertow._system.lock import FileLock
from undertow._system.stopping import StopRequest, leave_closed_terminal, signals_blocked
from undertow.runs.result import Result
from undertow.tracking import RunFolder

if TYPE_CHECKING:
    from undertow.train.devices import Devices

_POLL = 0.2  # seconds between two checks of torchrun and of a stop request
_SAVE_SECONDS = 30.0  # that the ranks have to save the state of the run after they were asked to stop
_CHECK_SECONDS = 1.0  # between two checks for stopped ranks
_STOPPED_SECONDS = 45.0  # that a rank may be stopped, by SIGSTOP, before the run is ended
_STOP = "stop"  # the file by which the ranks are asked to stop; it has the reason

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
    threads = str(max(1, usable_cpus() // devices.count))  # else every rank has one for each core
    with signals_blocked():
        torchrun = subprocess.Popen(
            command if progress else [*command, "--quiet"],
            start_new_session=True,
            stdout=2,  # standard output is for the result
            env={"OMP_NUM_THREADS": threads, **os.environ},
        )
    decided, deaths = None, ""
    try:
        decided = _wait(torchrun, folder, stop)
        deaths = dead_ranks(folder)
    finally:
        _kill_group(torchrun)
        end_ranks(folder)
    recorded = Result.read(rank_result(folder)) if rank_result(folder).exists() else None
    if decided is not None:  # from then on the ranks were killed, one before the other: it may have failed of that
        return recorded if recorded is not None and recorded.status == "FINISHED" else decided
    if recorded is None:
        return _unrecorded(torchrun.returncode, deaths, stop)
    if stop.reason:  # rank 0 may learn of the request from another rank, which has read it a step before
        recorded = replace(recorded, reason=recorded.reason.replace("another rank", stop.reason))
    return recorded


def rank_result(folder: RunFolder) -> Path:
    """How the ranks ended; the process that started them records the final status and writes ``result.json``."""
    return folder.path / "ranks.json"


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


def mark_ended(folder: RunFolder, rank: int) -> None:
    """Leave the mark of a rank that ends by itself."""
    with suppress(OSError):  # the run has ended, or its disk is full
        _mark(folder, rank).touch()


def dead_ranks(folder: RunFolder, seconds: float = 0.0) -> str:
    """Name the ranks that were killed, with the probable cause; empty if there are none.

    Args:
        folder: The run's folder.
        seconds: How long to wait for one. The kernel closes the connections of a process and releases its lock one
            after the other.
    """
    deadline = time.monotonic() + seconds
    while not (dead := list(_dead_ranks(folder))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return f"{' and '.join(dead)} died: out of memory, crashed, or killed from outside" if dead else ""


def stop_with_the_run(folder: RunFolder, stop: StopRequest, grace: float) -> None:
    """Stop this rank when it is asked to, or when the process that started it has ended; it held the folder's lock.

    Args:
        folder: The run's folder.
        stop: Set when the rank has to stop.
        grace: Seconds after which this process ends, if it is still alive that long after the run's process.
    """
    request = _registry(folder) / _STOP
    while folder.is_alive() and _registry(folder).exists():
        if stop.reason is None and request.exists():
            leave_closed_terminal()
            with suppress(FileNotFoundError):  # the run has ended meanwhile
                stop.reason = request.read_text()
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
    while held := [lock for path in closed.glob("*.lock") if (lock := FileLock(path)).is_held()]:
        for lock in held:  # all at once: one that sees the end of another fails
            pid = lock.holder()
            if pid is not None:  # None: it holds the lock, but has not yet written its number
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(closed)


def _dead_ranks(folder: RunFolder) -> Iterator[str]:
    """The ranks that hold no lock and have left no mark; a rank takes its lock, writes its number, leaves its mark."""
    for path in sorted(_registry(folder).glob("*.lock")):
        with suppress(FileNotFoundError):  # the run has ended meanwhile
            pid = path.read_text().strip()
            if pid and not FileLock(path).is_held() and not _mark(folder, int(path.stem)).exists() and path.exists():
                yield f"rank {path.stem} (process {pid})"


def _mark(folder: RunFolder, rank: int) -> Path:
    return _registry(folder) / f"{rank}.ended"


def _unrecorded(code: int, deaths: str, stop: StopRequest) -> Result:
    """The result of a run whose ranks have recorded none."""
    if deaths:
        return Result("KILLED", deaths)
    if stop.reason:
        return Result("KILLED", f"stopped by {stop.reason}")
    if code < 0:
        return Result("KILLED", f"torchrun was ended by {signal.Signals(-code).name}")
    return Result("FAILED", f"a process of the run ended with exit code {code} and recorded no reason")


def _wait(torchrun: "subprocess.Popen[bytes]", folder: RunFolder, stop: StopRequest) -> Result | None:
    """Wait until torchrun has ended, or a rank was stopped for too long, or the ranks were asked to stop and did not.

    The second Ctrl-C is not waited for.

    Returns:
        How the run ends, if the ranks have to be killed; None if they have ended by themselves. What they record from
        then on may be about their end.
    """
    killed_at = math.inf
    checked_at = time.monotonic()
    stopped: dict[str, int] = {}  # how many checks in a row have found a rank stopped
    while True:
        try:
            with suppress(subprocess.TimeoutExpired):
                torchrun.wait(timeout=_POLL)
                return None
            now = time.monotonic()
            if stop.reason and killed_at == math.inf:
                write_atomically(_registry(folder) / _STOP, stop.reason)
                killed_at = now + _SAVE_SECONDS
            if now >= killed_at:
                return _result_now(folder, f"stopped by {stop.reason}; it did not save within {_SAVE_SECONDS:g} s")
            if now >= checked_at + _CHECK_SECONDS:
                checked_at = now
                stopped = {name: stopped.get(name, 0) + 1 for name in _stopped_processes(torchrun, folder)}
                for name, checks in stopped.items():
                    if checks * _CHECK_SECONDS >= _STOPPED_SECONDS:
                        reason = f"{name} has been stopped for {_STOPPED_SECONDS:g} s, and the others wait for it"
                        return _result_now(folder, reason)
        except KeyboardInterrupt:
            return _result_now(folder, "stopped at once by the second Ctrl-C")


def _result_now(folder: RunFolder, reason: str) -> Result:
    """The result that is recorded by now; that of a killed run if there is none."""
    return Result.read(rank_result(folder)) if rank_result(folder).exists() else Result("KILLED", reason)


def _stopped_processes(torchrun: "subprocess.Popen[bytes]", folder: RunFolder) -> Iterator[str]:
    """The ranks of a run that are stopped now, and torchrun if it is."""
    if _is_stopped(torchrun.pid):
        yield f"torchrun (process {torchrun.pid})"
    for path in sorted(_registry(folder).glob("*.lock")):
        pid = FileLock(path).holder()
        if pid is not None and _is_stopped(pid):
            yield f"rank {path.stem} (process {pid})"


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP for example; False where the system has no such file.

    A heartbeat would not do: a rank that computes for minutes without releasing Python's lock sends none.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b")")[2].split()[0] == b"T"


def _kill_group(torchrun: "subprocess.Popen[bytes]") -> None:
    if torchrun.poll() is None:
        os.killpg(torchrun.pid, signal.SIGKILL)
        torchrun.wait()
