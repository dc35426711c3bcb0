"""How many cores a process may use: affinity, and quotas of control groups of both versions."""

import os
from pathlib import Path

import pytest

import undertow
from undertow._system.cpus import usable_cpus
from undertow.config.schema import TrainConfig
from undertow.errors import RequestError
from undertow.studies import run
from undertow.train import devices


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of control groups, on a machine of eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def cpus(groups: Path, own: str, **quotas: str) -> int:
    """The cores of a process that is in the groups `own`; `quotas` are files below the groups, by path."""
    for path, text in quotas.items():
        file = groups / path.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (groups / "own").write_text(own)
    return usable_cpus(groups=groups, own=groups / "own")


@pytest.mark.parametrize(
    ("quota", "expected"), [("max", 8), ("200000", 2), ("150000", 2), ("50000", 1), ("1600000", 8)]
)
def test_a_container_has_the_cores_of_its_quota(groups: Path, quota: str, expected: int) -> None:
    assert cpus(groups, "0::/\n", cpu_dot_max=f"{quota} 100000\n") == expected


def test_the_smallest_quota_above_a_process_counts(groups: Path) -> None:
    limits = {"job__cpu_dot_max": "300000 100000", "job__step__cpu_dot_max": "max 100000"}
    assert cpus(groups, "0::/job/step\n", **limits) == 3


def test_a_quota_of_the_first_version_counts(groups: Path) -> None:
    # The path is that of the whole machine, which a container does not see: its own group is at the top.
    own = "12:cpuset:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/\n"
    assert cpus(groups, own, cpu__cpu_dot_cfs_quota_us="400000", cpu__cpu_dot_cfs_period_us="100000") == 4
    assert cpus(groups, own, cpu__cpu_dot_cfs_quota_us="-1", cpu__cpu_dot_cfs_period_us="100000") == 8


def test_without_control_groups_the_affinity_counts(groups: Path) -> None:
    assert usable_cpus(groups=groups, own=groups / "absent") == 8


def test_a_study_divides_the_cores_of_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def machine_slots(*arguments: object, cpus: int, gpus: object) -> None:
        raise RequestError(f"{cpus} cores to divide")

    monkeypatch.setattr(run, "usable_cpus", lambda: 3)
    monkeypatch.setattr(run, "machine_slots", machine_slots)
    config = {"task": {"name": "adding"}, "cell": {"name": "rnn"}, "study": {"name": "small", "vary": {"seed": [0]}}}
    with pytest.raises(RequestError, match="3 cores to divide"):
        undertow.study(config, home=tmp_path, progress=False)


def test_a_run_has_at_most_one_process_for_each_core_of_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "usable_cpus", lambda: 3)
    config = TrainConfig(accelerator="cpu", devices=3, batch_size=12)
    assert devices.resolve_devices(config).count == 3
    with pytest.raises(RequestError, match="4 CPU processes requested, this process may use 3 cores"):
        devices.resolve_devices(config.model_copy(update={"devices": 4}))
