"""Train a run in this process: `execute`, called in place, or by each rank under torchrun (`ranks`).

    python -m torch.distributed.run --nproc-per-node 2 -m undertow.runs.process RUN_FOLDER

Everything that a rank needs is in the run folder before it starts: the resolved configuration, the plugins' copies, the
outbox that rank 0 appends to, the checkpoints. Rank 0 writes how it ended to ``ranks.json``.
"""

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from undertow._system.stopping import StopRequest
from undertow.config.load import load_experiment
from undertow.errors import Interrupted, UndertowError
from undertow.runs.ranks import dead_ranks, mark_ended, rank_result, register_rank, stop_with_the_run
from undertow.runs.result import OUT_OF_MEMORY, error_name, failure
from undertow.runs.result import Result as Result
from undertow.tracking import Outbox, RunFolder

if TYPE_CHECKING:
    from undertow.train.build import Built
    from undertow.train.record import Record

_SAVE_SECONDS = 30.0  # how long a rank may take to save itself when the process that started it has ended
_DEATH_SECONDS = 5.0  # how long a rank that fails waits for the death of another one, which would be the cause


def execute(folder: RunFolder, built: "Built", stop: StopRequest, *, progress: bool, rank: int = 0) -> Result:
    """Train in this process, and return how it ended, whatever is raised.

    Args:
        folder: The run's folder.
        built: From `build`, in this process.
        stop: Set to end after the current step.
        progress: Show the progress on standard error.
        rank: Of this process, among those that train the run. The caller knows it: the environment's RANK may come
            from a scheduler.

    Returns:
        The result. Whoever records the final status writes it to the folder, after the status.
    """
    from undertow.train.loggers import mirrored
    from undertow.train.record import Record

    tracebacks = folder.path / "traceback.txt"
    record = Record(None)
    try:
        if rank == 0:
            config = built.loaded.config
            with Outbox(folder.outbox) as outbox, mirrored(outbox, config, folder.path) as journal:
                record = Record(journal, known_steps(outbox), tracebacks)
                result = _train(folder, built, record, stop, progress=progress, rank=rank)
        else:
            result = _train(folder, built, record, stop, progress=progress, rank=rank)
    except Exception as error:  # noqa: BLE001  (whatever it is, the run must end with a true status)
        result = _killed_rank(error, folder, built, rank) or failure(error, folder.path)
    curves = {name: (list(curve.steps), list(curve.values)) for name, curve in record.curves.items()}
    return replace(result, steps=record.steps, metrics=record.latest, curves=curves)


def _train(
    folder: RunFolder, built: "Built", record: "Record", stop: StopRequest, *, progress: bool, rank: int
) -> Result:
    from undertow.train.job import train

    try:
        train(built, folder.checkpoints, record=record, stop=stop, progress=progress, rank=rank)
    except Interrupted as error:
        return Result("KILLED", str(error))
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        return Result("KILLED", "stopped at once by the second Ctrl-C")
    return Result("FINISHED")


def _killed_rank(error: Exception, folder: RunFolder, built: "Built", rank: int) -> Result | None:
    """The result of a run over several devices that fails because another rank was killed; None if it was not.

    A rank that has lost its connection to another one raises a RuntimeError.
    """
    if (
        rank != 0
        or built.devices.count == 1
        or not isinstance(error, RuntimeError)
        or error_name(error) == OUT_OF_MEMORY
    ):
        return None
    deaths = dead_ranks(folder, _DEATH_SECONDS)
    return Result("KILLED", deaths) if deaths else None


def known_steps(outbox: Outbox) -> dict[str, set[int]]:
    """The steps that are recorded already.

    Raises:
        UndertowError: A line of the outbox is damaged.
    """
    try:
        return outbox.steps()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UndertowError(
            f"the record of the run cannot be read: {outbox.path} is damaged ({type(error).__name__}: {error}). "
            "Repair or remove the line, or start a new run"
        ) from error


def main() -> None:
    """Be one rank of a run over several devices, under torchrun.

    It registers before it imports torch, which takes seconds: a rank that is killed before is not known to have died.
    """
    rank = int(os.environ["RANK"])
    folder = RunFolder.open(Path(sys.argv[1]))
    register_rank(folder, rank)
    stop = StopRequest()
    threading.Thread(target=stop_with_the_run, args=(folder, stop, _SAVE_SECONDS), daemon=True).start()
    with stop.listening():
        try:
            from undertow.train.build import build
            from undertow.train.runtime import denormals_flushed

            loaded = load_experiment(folder.config, kept=folder.path / "plugins")
            with denormals_flushed(loaded.config.train.flush_denormals):
                result = execute(folder, build(loaded), stop, progress="--quiet" not in sys.argv, rank=rank)
            if rank == 0:
                result.write(rank_result(folder))
        except Exception as error:
            failure(error, folder.path).write(rank_result(folder))  # of any rank: the others wait until they are killed
            raise
        finally:
            mark_ended(folder, rank)


if __name__ == "__main__":
    main()
