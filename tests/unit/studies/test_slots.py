"""How a machine is divided into slots."""

import pytest

from undertow.config.schema import TrainConfig
from undertow.config.study_schema import StudyConfig
from undertow.errors import RequestError
from undertow.studies.work.slots import Slot, machine_slots


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
    assert found == [Slot(2, ("0",), 0.25)] * 4 + [Slot(2, ("1",), 0.25)] * 4


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
