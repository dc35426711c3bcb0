"""A run uses the GPU that it trains on and no other, seen on a machine without one: CUDA's functions are replaced."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.train import runtime
from undertow.train.build import build
from undertow.train.callbacks.random_state import RandomState
from undertow.train.clock import Clock
from undertow.train.data import TaskData
from undertow.train.job import train
from undertow.train.record import Record

STATE = torch.arange(16, dtype=torch.uint8)


def experiment() -> Any:
    return load_mapping(
        {
            "task": {"name": "adding", "length": 8},
            "cell": {"name": "lstm", "hidden_size": 4},
            "train": {"max_steps": 4, "val_every": 2, "val_examples": 8, "batch_size": 4, "accelerator": "cpu"},
            "probes": [{"name": "saturation", "every": 1}],
        }
    )


def test_run_on_the_cpu_leaves_the_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its context takes hundreds of megabytes for each process, and fails where the GPU is full."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [])  # by Lightning; it takes no memory of the GPU
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda states: None)
    for name in ("synchronize", "get_rng_state"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: pytest.fail(f"torch.cuda.{name} was called"))
    train(build(experiment()), tmp_path, record=Record(None), stop=StopRequest(), progress=False)


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:0", True)])
def test_batches_are_pinned_for_a_gpu_alone(device: str, pinned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    built = build(experiment())
    data = TaskData(built.task, built.loaded.config.train, seed=0)
    data.trainer = cast(pl.Trainer, trainer(device))
    assert data.train_dataloader().pin_memory is pinned


def test_clock_of_a_gpu_waits_for_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("synchronize"))
    for clock in (Clock(on_gpu=True), Clock()):
        clock.step()
        with clock.paused():
            pass
    assert calls == ["synchronize"] * 3


def trainer(device: str) -> SimpleNamespace:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(world_size=1, global_rank=0, global_step=0, strategy=strategy)


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """The random states of a machine with one GPU, by its index; there is no second one."""
    states = {0: STATE}

    def set_state(state: Tensor, device: int | torch.device = 0) -> None:
        index = torch.device("cuda", device).index if isinstance(device, int) else device.index
        states[list(states)[index]] = state

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device.index])
    monkeypatch.setattr(torch.cuda, "set_rng_state", set_state)
    monkeypatch.setattr(torch.cuda.random, "set_rng_state", set_state)  # what `set_rng_state_all` calls
    return states


def test_random_state_of_the_gpu_is_saved_and_restored(tmp_path: Path, states: dict[int, Tensor]) -> None:
    saving, checkpoint = trainer("cuda:0"), dict[str, Any]()
    callback = RandomState()
    callback.on_save_checkpoint(cast(Any, saving), cast(Any, None), checkpoint)
    states[0] = STATE + 1
    resume(callback, checkpoint, tmp_path)
    assert torch.equal(states[0], STATE)


def test_run_of_a_machine_with_more_gpus_resumes_on_one(tmp_path: Path, states: dict[int, Tensor]) -> None:
    callback, checkpoint = RandomState(), dict[str, Any]()
    callback.on_save_checkpoint(cast(Any, trainer("cpu")), cast(Any, None), checkpoint)
    checkpoint["undertow_random_states"][0]["cuda"] = [STATE + 2, STATE + 3]  # as earlier versions saved all of them
    resume(callback, checkpoint, tmp_path)
    assert torch.equal(states[0], STATE + 2)


def resume(callback: RandomState, checkpoint: dict[str, Any], folder: Path) -> None:
    resumed = cast(Any, trainer("cuda:0"))
    torch.save(checkpoint, folder / "checkpoint")
    checkpoint = torch.load(folder / "checkpoint", weights_only=True)
    callback.on_load_checkpoint(resumed, cast(Any, None), checkpoint)
    callback.on_train_batch_start(resumed, cast(Any, None), None, 0)


@pytest.mark.parametrize(("products", "kernels"), [("ieee", False), ("tf32", True)])
def test_kernels_of_cudnn_are_as_precise_as_matrix_products(products: str, kernels: bool) -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    torch.backends.cuda.matmul.fp32_precision = products
    try:
        runtime.use_full_precision()
        assert torch.backends.cudnn.allow_tf32 is kernels
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
        torch.backends.cudnn.allow_tf32 = True


def test_run_computes_float32_in_float32(tmp_path: Path) -> None:
    torch.backends.cudnn.allow_tf32 = True
    try:
        train(build(experiment()), tmp_path, record=Record(None), stop=StopRequest(), progress=False)
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = True
