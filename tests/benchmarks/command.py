"""Time of a whole command: wall seconds, and the CPU seconds of all processes that it started, directly or not.

    spent = run(["undertow", "study", "run", "study.yaml"], folder=folder, environment=os.environ, limit=600)
    spent.wall, spent.cpu, spent.finished

On Linux, processes that outlive the one that started them count as well: this process takes them in, and waits.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>
_PATIENCE = 120.0  # seconds for what a command leaves behind, such as a shipper that ends when it has nothing to do


@dataclass(frozen=True)
class Spent:
    """Time of one command.

    Attributes:
        wall: Seconds from its start to its end; what it left behind may have run on.
        cpu: CPU seconds, user and system, of it and everything it started, what it left behind included.
        output: What it wrote to standard output.
        finished: False when the limit came first.
    """

    wall: float
    cpu: float
    output: str
    finished: bool


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float | None = None,
    patience: float = _PATIENCE,
) -> Spent:
    """Run a command to its end, and wait for the processes that it left behind.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        environment: What it is given.
        limit: Seconds after which it is ended, with everything in its process group.
        patience: Seconds for what it leaves behind.

    Raises:
        RuntimeError: Its exit code is not 0, or it left a process behind that does not end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    output, complaints = folder / "output.txt", folder / "complaints.txt"  # a pipe would be held by what is left behind
    finished = True
    cpu_before, start = _cpu_of_children(), time.perf_counter()
    with output.open("wb") as out, complaints.open("wb") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=out, stderr=err, start_new_session=True
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            finished = False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    wall = time.perf_counter() - start
    seen_off = _see_off(patience)
    if finished and not seen_off:
        raise RuntimeError(f"{' '.join(command)} left a process behind that runs on")
    if finished and process.returncode:
        said = "".join(file.read_text("utf-8", errors="replace")[-4000:] for file in (output, complaints))
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}:\n{said}")
    return Spent(wall, _cpu_of_children() - cpu_before, output.read_text("utf-8"), finished)


def _cpu_of_children() -> float:
    """Of all processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _see_off(patience: float) -> bool:
    """Wait for the end of every adopted process; False if one is still there after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if not ended:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
