"""The work of one run, in the process that does it: `execute` in place, or one process a device under torchrun.

    python -m torch.distributed.run --nproc-per-node 2 -m undertow.runs.process RUN_FOLDER

Everything a process needs stands in the run folder, frozen before any of them starts: the resolved configuration, the
outbox that rank 0 appends to, the checkpoints. How it ended is written there too, as `result.json`.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from undertow._system.atomic import write_atomically
from undertow._system.stopping import StopRequest
from undertow.config.load import load_experiment
from undertow.errors import Interrupted, UndertowError
from undertow.tracking import Outbox, RunFolder

if TYPE_CHECKING:
    from undertow.config.schema import ExperimentConfig
    from undertow.plugins.registry import Registry
    from undertow.train.devices import Devices

_LAST_STEP = 30.0  # seconds a rank may take to save itself when the process that started it is gone

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Result:
    """How the work of a run ended.

    Attributes:
        status: As MLflow names it.
        reason: Why it ended so; empty when finished.
        error: The name of the exception that ended it, if one did.
        steps: Training steps done.
        metrics: The latest value of every scalar, by metric name.
        curves: The last curves, by metric name: steps of the axis, and values.
    """

    status: Status
    reason: str = ""
    error: str = ""
    steps: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[int], list[float]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_atomically(path, json.dumps(asdict(self)))


def execute(
    folder: RunFolder,
    config: "ExperimentConfig",
    registry: "Registry",
    devices: "Devices",
    stop: StopRequest,
    *,
    progress: bool,
) -> Result:
    """Train in this process, and write down how it ended, whatever happens.

    Args:
        folder: The run's folder.
        config: Its configuration.
        registry: The plugins.
        devices: Where to train.
        stop: Set to end after the current step.
        progress: Show how far it is.

    Returns:
        The result; the one of rank 0 is also in the folder.
    """
    from undertow.train.job import train
    from undertow.train.record import Record

    first = os.environ.get("RANK", "0") == "0"
    outbox = Outbox(folder.outbox) if first else None
    record = Record(outbox, outbox.steps() if outbox else None)
    status: Status = "FINISHED"
    reason = fault = ""
    try:
        train(config, registry, folder.checkpoints, devices, record=record, stop=stop, progress=progress)
    except Interrupted as error:
        status, reason = "KILLED", str(error)
    except (KeyboardInterrupt, SystemExit):  # the second is what Lightning makes of the first
        status, reason = "KILLED", "stopped at once by the second Ctrl-C"
    except UndertowError as error:
        status, reason, fault = "FAILED", str(error), type(error).__name__
    except Exception as error:  # noqa: BLE001  (whatever it is, the run must end with a true status)
        status, fault = "FAILED", type(error).__name__
        (folder.path / "traceback.txt").write_text(traceback.format_exc())
        reason = f"{type(error).__name__}: {error} (see {folder.path / 'traceback.txt'})"
    finally:
        if outbox is not None:
            outbox.close()
    curves = {name: (list(curve.steps), list(curve.values)) for name, curve in record.curves.items()}
    result = Result(status, reason, fault, record.steps, record.latest, curves)
    if first:
        result.write(folder.result)
    return result


def main() -> None:
    """Be one rank of a run over several devices."""
    from undertow.train.devices import resolve_devices
    from undertow.train.runtime import denormals_flushed

    folder = RunFolder.open(Path(sys.argv[1]))
    stop = StopRequest()
    threading.Thread(target=_stop_with_the_run, args=(folder, stop), daemon=True).start()
    with stop.listening():
        loaded = load_experiment(folder.config, kept=folder.path / "plugins")
        with denormals_flushed(loaded.config.train.flush_denormals):
            devices = resolve_devices(loaded.config.train)
            execute(folder, loaded.config, loaded.registry, devices, stop, progress="--quiet" not in sys.argv)


def _stop_with_the_run(folder: RunFolder, stop: StopRequest) -> None:
    """End this rank when the process that started it is gone, whatever way it went: it held the folder's lock."""
    while folder.is_alive():
        time.sleep(1.0)
    stop.reason = "the end of the process that started it"
    time.sleep(_LAST_STEP)
    os._exit(1)  # it hangs: nobody is left to end it


if __name__ == "__main__":
    main()
