"""How one machine is shared out among workers, so that they do not fight for it.

    shares(loaded.config, loaded.first.train, cpus=8, gpus=[])        # eight workers of one thread each

A worker gets its own threads: torch's default, all cores for everyone, is ten times slower with two workers.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from undertow.config.schema import TrainConfig
from undertow.config.study_schema import StudyConfig
from undertow.errors import RequestError


@dataclass(frozen=True)
class Slot:
    """A worker's share of the machine.

    Attributes:
        threads: CPU threads.
        gpus: The GPUs it may see, as CUDA names them; None for all there are.
        gpu_share: The share of a GPU's memory.
    """

    threads: int
    gpus: tuple[str, ...] | None = None
    gpu_share: float = 1.0


def shares(study: StudyConfig, train: TrainConfig, *, cpus: int, gpus: Sequence[str]) -> list[Slot]:
    """The shares of all workers.

    Args:
        study: Says how many workers, and how much of a GPU each gets.
        train: Says what one run asks for.
        cpus: Cores of this machine.
        gpus: GPUs of this machine, from `visible_gpus`.

    Returns:
        One for each worker, at least one.

    Raises:
        RequestError: More is asked for than there is.
    """
    if train.accelerator in ("gpu", "cuda") and not gpus:
        raise RequestError(
            f"train.accelerator: {train.accelerator} asked for, no GPU on this machine; use `train.accelerator=cpu`"
        )
    wants_gpu = bool(gpus) and train.accelerator in ("auto", "gpu", "cuda")
    if not wants_gpu:
        each = train.threads or 1
        processes = train.devices if isinstance(train.devices, int) else 1
        workers = max(1, cpus // (each * processes)) if study.workers == "auto" else study.workers
        threads = train.threads or max(1, cpus // (workers * processes))
        return [Slot(threads)] * workers
    share = float(train.devices) if isinstance(train.devices, int) and train.devices > 1 else study.gpus_per_trial
    if share > 1 and not share.is_integer():
        raise RequestError(f"study.gpus_per_trial: {share:g}: a run takes whole GPUs, or a share of one")
    if share > len(gpus):
        raise RequestError(f"study.gpus_per_trial: a run wants {share:g} GPUs, this machine has {len(gpus)}")
    if share >= 1:
        width = int(share)
        groups = [tuple(gpus[first : first + width]) for first in range(0, len(gpus) - width + 1, width)]
    else:
        groups = [(gpu,) for gpu in gpus for _ in range(int(1 / share))]
    workers = len(groups) if study.workers == "auto" else study.workers
    if workers > len(groups):
        raise RequestError(
            f"study.workers: {workers} runs at a time want {workers * share:g} GPUs, this machine has {len(gpus)}; "
            "lower `study.workers` or `study.gpus_per_trial`"
        )
    threads = train.threads or max(1, cpus // workers)
    return [Slot(threads, group, min(share, 1.0)) for group in groups[:workers]]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them; found without importing torch."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [each.strip() for each in visible.split(",") if each.strip()]
    known = Path("/proc/driver/nvidia/gpus")
    return [str(index) for index in range(len(list(known.iterdir())))] if known.is_dir() else []
