"""How many cores this process may use: those that it may run on, and of their time what its control groups allow.

    usable_cpus()       # 2 in `docker run --cpus 2`, on a machine of any size

A container with a quota sees every core of its machine. Threads for all of them would wait for each other.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cpus(*, groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """The number of cores, at least 1; a part of a core counts as one.

    Args:
        groups: Where the control groups are mounted.
        own: The file that lists those of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(groups, own) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(int(-(-quota // 1)) for quota in quotas)]))


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """The folders that may limit this process: its control groups for CPU time, and all above them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # another system than Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mount = groups
        elif "cpu" in controllers.split(","):
            mount = groups / "cpu"
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (mount / each for each in (inner, *inner.parents))


def _quota(folder: Path) -> float | None:
    """The cores that one control group allows; None if it does not limit them, or is not visible here."""
    try:
        if (folder / "cpu.max").exists():  # version 2
            allowed, period = (folder / "cpu.max").read_text().split()
        else:
            allowed, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except OSError:
        return None
    return None if allowed in ("max", "-1") else int(allowed) / int(period)
