"""What keeps replicates from being trained side by side: the key and the reason."""

from typing import Any

import pytest

from undertow.api.spec import OptimizerSpec
from undertow.config.packing import DECIDING, Forbidden, forbidding
from undertow.config.schema import ExperimentConfig
from undertow.config.study_schema import StudyConfig
from undertow.plugins.builtin import HOST
from undertow.plugins.registry import Entry


def experiment(**sections: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"task": {"name": "t"}, "cell": {"name": "c"}, **sections})


def study(**keys: Any) -> StudyConfig:
    return StudyConfig.model_validate({"seeds": 2, **keys})


def test_an_ordinary_run_can_be_packed() -> None:
    config = experiment(
        optim={"clip_norm": 1.0, "scheduler": {"name": "cosine"}},
        train={"precision": "bf16-mixed", "accumulate": 2, "truncate": 5, "early_stopping": {}},
    )
    assert forbidding(config) is None
    assert forbidding(config, study()) is None


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"cell": {"name": "c", "layers": 2, "dropout": 0.1}}, "cell.dropout"),
        ({"callbacks": [{"name": "watch"}]}, "callbacks"),
        ({"optim": {"omega": 0.5}}, "optim.omega"),
        ({"optim": {"scheduler": {"name": "plateau"}}}, "optim.scheduler.name"),
        ({"train": {"devices": 2}}, "train.devices"),
        ({"train": {"precision": "16-mixed"}}, "train.precision"),
        ({"train": {"strategy": "ddp"}}, "train.strategy"),
    ],
)
def test_what_forbids_a_pack_is_named_by_its_key(sections: dict[str, Any], key: str) -> None:
    found = forbidding(experiment(**sections))
    assert found is not None
    assert found.key == key
    assert key in DECIDING
    assert str(found).startswith(f"{key}: ")
    assert len(str(found)) < 70, "study status shows it in one line of 80 columns"


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"search": {"optim.lr": {"low": 0.1, "high": 0.2}}, "samples": 2}, "study.search"),
        ({"pruner": {"name": "median"}}, "study.pruner.name"),
        ({"prune": {"gradient_at_cue": 0.5}}, "study.prune.gradient_at_cue"),
    ],
)
def test_a_study_may_forbid_packs(keys: dict[str, Any], key: str) -> None:
    found = forbidding(experiment(), study(**keys))
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize(
    ("devices", "available", "forbidden"), [("auto", 1, False), ("auto", 2, True), (1, 2, False), (2, 1, True)]
)
def test_automatic_devices_forbid_a_pack_where_they_are_several(
    devices: str | int, available: int, forbidden: bool
) -> None:
    found = forbidding(experiment(train={"devices": devices}), devices=available)
    assert (found is not None) == forbidden


@pytest.mark.parametrize(
    ("gpus", "accelerator", "forbidden"), [(0.5, "auto", False), (2.0, "auto", True), (2.0, "cpu", False)]
)
def test_several_gpus_of_a_trial_are_several_devices(gpus: float, accelerator: str, forbidden: bool) -> None:
    found = forbidding(experiment(train={"accelerator": accelerator}), study(gpus_per_trial=gpus))
    assert found == (Forbidden("train.devices", "`auto` takes 2, and a pack is trained on one") if forbidden else None)


def test_an_optimiser_of_a_plugin_packs_if_its_spec_says_elementwise() -> None:
    specs = [
        OptimizerSpec(name=name, summary="O.", factory="x:Y", elementwise=elementwise)
        for name, elementwise in (("descent", True), ("matrix-descent", False))
    ]
    optimizers = {spec.name: Entry(spec, HOST) for spec in specs}
    assert forbidding(experiment(optim={"name": "descent"}), optimizers=optimizers) is None
    found = forbidding(experiment(optim={"name": "matrix-descent"}), optimizers=optimizers)
    assert str(found) == "optim.name: `matrix-descent` is not declared `elementwise`"
    assert "optim.name" in DECIDING
