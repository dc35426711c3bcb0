"""How a machine is divided into slots."""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from undertow.config.schema import TrainConfig
from undertow.config.study_schema import StudyConfig
from undertow.errors import RequestError
from undertow.studies.work import slots
from undertow.studies.work.slots import Slot, machine_slots, visible_gpus


def study(**values: object) -> StudyConfig:
    return StudyConfig.model_validate({"vary": {"seed": [0]}, **values})


def test_on_cpus_each_core_is_a_slot_of_one_thread() -> None:
    assert machine_slots(study(), TrainConfig(), cpus=8, gpus=[]) == [Slot(1)] * 8


def test_fewer_slots_get_more_threads_each() -> None:
    assert machine_slots(study(workers=2), TrainConfig(), cpus=8, gpus=[]) == [Slot(4)] * 2


def test_more_slots_than_cores_get_one_thread_each() -> None:
    assert machine_slots(study(workers=8), TrainConfig(), cpus=2, gpus=[]) == [Slot(1)] * 8


def test_a_run_in_several_processes_needs_a_core_for_each() -> None:
    assert machine_slots(study(), TrainConfig(devices=2, accelerator="cpu"), cpus=8, gpus=[]) == [Slot(1)] * 4


def test_with_a_fraction_several_slots_share_a_gpu() -> None:
    found = machine_slots(study(gpus_per_trial=0.25), TrainConfig(), cpus=16, gpus=["0", "1"])
    assert sorted(found, key=str) == [Slot(2, ("0",), 0.25)] * 4 + [Slot(2, ("1",), 0.25)] * 4


def test_fewer_slots_than_shares_are_spread_over_all_gpus() -> None:
    found = machine_slots(study(gpus_per_trial=0.5, workers=2), TrainConfig(), cpus=8, gpus=["0", "1"])
    assert [slot.gpus for slot in found] == [("0",), ("1",)]


def test_a_run_on_two_gpus_gets_two_of_its_own() -> None:
    found = machine_slots(study(), TrainConfig(devices=2), cpus=8, gpus=["4", "5", "6", "7"])
    assert [slot.gpus for slot in found] == [("4", "5"), ("6", "7")]


def test_cpus_can_be_chosen_where_there_are_gpus() -> None:
    assert machine_slots(study(), TrainConfig(accelerator="cpu"), cpus=2, gpus=["0"]) == [Slot(1)] * 2


@pytest.mark.parametrize(
    ("values", "train", "gpus", "message"),
    [
        ({"gpus_per_trial": 1.5}, {}, ["0", "1"], "a run takes whole GPUs, or a share of one"),
        ({"gpus_per_trial": 4.0}, {}, ["0"], "a run needs 4 GPUs, this machine has 1"),
        ({"workers": 3}, {}, ["0", "1"], "3 runs at a time need 3 GPUs, this machine has 2"),
        ({}, {"accelerator": "cuda"}, [], "no GPU on this machine; use `train.accelerator=cpu`"),
    ],
)
def test_more_than_the_machine_has_is_refused(
    values: dict[str, object], train: dict[str, str], gpus: list[str], message: str
) -> None:
    with pytest.raises(RequestError) as error:
        machine_slots(study(**values), TrainConfig.model_validate(train), cpus=8, gpus=gpus)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0,3", ["0", "3"]),
        (" 1 , 0 ", ["1", "0"]),
        ("MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2", ["MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2"]),
        ("GPU-8932f937,1", ["GPU-8932f937", "1"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(
    visible: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_torch_has_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == gpus


def test_no_gpu_is_visible_to_a_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert visible_gpus() == (["0"] if torch.version.cuda else [])


class Nvml:
    """The functions of the driver's library that are called."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, number: Any) -> int:
        number._obj.value = 3
        return 0

    def nvmlShutdown(self) -> int:
        return 0


@pytest.mark.parametrize(("libraries", "gpus"), [({"libnvidia-ml.so.1": Nvml()}, ["0", "1", "2"]), ({}, ["0", "1"])])
def test_gpus_are_counted_by_nvml_or_else_by_the_kernel_files(
    libraries: dict[str, Nvml], gpus: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(name: str) -> Nvml:
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return libraries[name]

    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / address).mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(slots, "_torch_has_cuda", lambda: True)
    monkeypatch.setattr(slots, "_KERNEL_FILES", tmp_path)
    monkeypatch.setattr(slots, "ctypes", SimpleNamespace(CDLL=load, c_uint=ctypes.c_uint, byref=ctypes.byref))
    assert visible_gpus() == gpus
