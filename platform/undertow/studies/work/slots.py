"""How a machine is divided into slots, so that trials do not compete for cores and GPUs.

    machine_slots(loaded.config, loaded.first.train, cpus=8, gpus=[])        # eight slots of one thread each

A slot has its own threads: with torch's default, all cores for every process, two slots are ten times slower.
"""

import ctypes
import os
import re
import runpy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from undertow.config.schema import TrainConfig
from undertow.config.study_schema import StudyConfig
from undertow.errors import RequestError

_GPU_NAME = re.compile(r"\d+|(GPU|MIG)-.+")
_KERNEL_FILES = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Slot:
    """A share of the machine, in which trials run one after another.

    Attributes:
        threads: CPU threads.
        gpus: The GPUs that a trial may see, as CUDA names them; None for all there are.
        gpu_share: The share of a GPU's memory.
    """

    threads: int
    gpus: tuple[str, ...] | None = None
    gpu_share: float = 1.0


def machine_slots(study: StudyConfig, train: TrainConfig, *, cpus: int, gpus: Sequence[str]) -> list[Slot]:
    """Divide a machine into slots.

    Args:
        study: How many slots, and how much of a GPU each gets.
        train: What one run needs.
        cpus: Cores of this machine.
        gpus: GPUs of this machine, from `visible_gpus`.

    Returns:
        At least one slot.

    Raises:
        RequestError: The machine has less than is asked for.
    """
    if train.accelerator in ("gpu", "cuda") and not gpus:
        raise RequestError(
            f"train.accelerator: {train.accelerator} asked for, no GPU on this machine; use `train.accelerator=cpu`"
        )
    if gpus and train.accelerator in ("auto", "gpu", "cuda"):
        return _gpu_slots(study, train, cpus, gpus)
    return _cpu_slots(study, train, cpus)


def trial_resources(study: StudyConfig, train: TrainConfig, *, gpus: bool) -> dict[str, float]:
    """What one trial needs of a cluster, as Ray names it: ``{"CPU": 2.0, "GPU": 0.5}``.

    Args:
        study: How much of a GPU a trial gets.
        train: How many threads and devices one run has.
        gpus: Whether the cluster has GPUs.

    Raises:
        RequestError: More than one GPU, but no whole number of them.
    """
    processes = train.devices if isinstance(train.devices, int) else 1
    needed = {"CPU": float((train.threads or 1) * processes)}
    if train.accelerator in ("gpu", "cuda") or (gpus and train.accelerator == "auto"):
        share = float(processes) if processes > 1 else study.gpus_per_trial
        _require_possible_share(share)
        needed["GPU"] = share
    return needed


def _cpu_slots(study: StudyConfig, train: TrainConfig, cpus: int) -> list[Slot]:
    processes = train.devices if isinstance(train.devices, int) else 1
    number = max(1, cpus // ((train.threads or 1) * processes)) if study.workers == "auto" else study.workers
    return [Slot(train.threads or max(1, cpus // (number * processes)))] * number


def _gpu_slots(study: StudyConfig, train: TrainConfig, cpus: int, gpus: Sequence[str]) -> list[Slot]:
    share = float(train.devices) if isinstance(train.devices, int) and train.devices > 1 else study.gpus_per_trial
    groups = _gpu_groups(share, gpus)
    number = len(groups) if study.workers == "auto" else study.workers
    if number > len(groups):
        raise RequestError(
            f"study.workers: {number} runs at a time need {number * share:g} GPUs, this machine has {len(gpus)}; "
            "lower `study.workers` or `study.gpus_per_trial`"
        )
    threads = train.threads or max(1, cpus // number)
    return [Slot(threads, group, min(share, 1.0)) for group in groups[:number]]


def _gpu_groups(share: float, gpus: Sequence[str]) -> list[tuple[str, ...]]:
    """The GPUs of each slot; several slots have the same one where the share is below 1, but no two neighbours."""
    _require_possible_share(share)
    if share > len(gpus):
        raise RequestError(f"study.gpus_per_trial: a run needs {share:g} GPUs, this machine has {len(gpus)}")
    if share < 1:
        return [(gpu,) for _ in range(int(1 / share)) for gpu in gpus]
    width = int(share)
    return [tuple(gpus[first : first + width]) for first in range(0, len(gpus) - width + 1, width)]


def _require_possible_share(share: float) -> None:
    if share > 1 and not share.is_integer():
        raise RequestError(f"study.gpus_per_trial: {share:g}: a run takes whole GPUs, or a share of one")


def visible_gpus() -> list[str]:
    """The GPUs that torch may use in this process, as CUDA names them; found without importing torch.

    As CUDA does, it reads CUDA_VISIBLE_DEVICES up to the first entry that names no GPU, such as ``-1``.
    """
    if not _torch_has_cuda():
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return list(takewhile(_GPU_NAME.fullmatch, (each.strip() for each in visible.split(","))))
    return [str(index) for index in range(_gpu_count())]


def _torch_has_cuda() -> bool:
    """Whether the installed torch is built for CUDA."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    return runpy.run_path(str(Path(spec.origin).with_name("version.py"))).get("cuda") is not None


def _gpu_count() -> int:
    """From the driver's library NVML, or where it cannot be loaded from the files of its kernel module.

    The files are missing in some containers and in Windows' Linux.
    """
    with suppress(OSError, AttributeError):  # it cannot be loaded, or has another interface
        nvml, number = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.c_uint()
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)) == 0:
            nvml.nvmlShutdown()
            return number.value
    return len(list(_KERNEL_FILES.iterdir())) if _KERNEL_FILES.is_dir() else 0
