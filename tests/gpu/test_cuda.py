"""On a GPU: the same numbers as on the CPU, an exact profile on cuDNN, no effect of probes, resuming bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow.config.load import load_mapping
from undertow.errors import Interrupted
from undertow.nn import build_model, build_task, isolated, unroll, unroll_by_steps
from undertow.runs.result import OUT_OF_MEMORY, error_name
from undertow.train.build import build
from undertow.train.callbacks.checkpoints import LAST, StopRequest
from undertow.train.job import train
from undertow.train.record import Record
from undertow_probes.gradient_profile import gradient_norms

pytestmark = pytest.mark.gpu
CELLS = ("rnn", "lstm", "gru", "ugrnn")
DEVICE = "cuda"


def config(cell: str, **train_options):
    options = {"max_steps": 50, "val_every": 25, "val_examples": 64, "batch_size": 32, "log_every": 1} | train_options
    return {
        "task": {"name": "adding", "length": 60},
        "cell": {"name": cell, "hidden_size": 32, "layers": 2},
        "train": {"devices": 1, **options},
        "probes": [],
    }


def network(cell: str):
    loaded = load_mapping(config(cell))
    torch.manual_seed(0)
    task = build_task(loaded)
    model = build_model(loaded, task).double().to(DEVICE)
    batch = task.batch("val", np.arange(8))
    return task, model, batch._replace(input=batch.input.double().to(DEVICE), target=batch.target.double().to(DEVICE))


@pytest.mark.parametrize("cell", CELLS)
def test_fused_scan_equals_steps(cell: str) -> None:
    _, model, batch = network(cell)
    layer = model.layers[0]
    x_TBI = model.encode(batch.input)
    y, _ = unroll(layer, x_TBI, layer.initial_state(8))
    y_steps, _ = unroll_by_steps(layer, x_TBI, layer.initial_state(8))
    torch.testing.assert_close(y, y_steps, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_profile_on_the_gpu_equals_the_profile_on_the_cpu(cell: str) -> None:
    task, model, batch = network(cell)
    lags = [1, 2, 5, 17, 59]
    with isolated(model):
        on_gpu = gradient_norms(model, task, batch, lags)
    model.cpu()
    on_cpu = gradient_norms(model, task, batch._replace(input=batch.input.cpu(), target=batch.target.cpu()), lags)
    for name in ("states", "inputs"):
        logs = [norms.log10(getattr(norms, name)).cpu() for norms in (on_gpu, on_cpu)]
        torch.testing.assert_close(*logs, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_training_with_probes_is_bit_identical_to_training_without(cell: str, tmp_path: Path) -> None:
    weights = []
    for name, probes in (("plain", []), ("probed", [{"name": "gradient-profile", "every": 7}, {"name": "saturation"}])):
        loaded = load_mapping(config(cell, deterministic=True) | {"probes": probes})
        folder = tmp_path / name
        folder.mkdir()
        built = build(loaded)
        assert built.devices.accelerator == DEVICE
        train(built, folder, record=Record(None), stop=StopRequest(), progress=False)
        weights.append(torch.load(folder / LAST, weights_only=True, map_location="cpu")["state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_gpu_and_cpu_learn_the_same(tmp_path: Path) -> None:
    losses = []
    for accelerator in ("cpu", DEVICE):
        loaded = load_mapping(config("lstm", accelerator=accelerator, max_steps=20))
        folder = tmp_path / accelerator
        folder.mkdir()
        record = Record(None)
        train(build(loaded), folder, record=record, stop=StopRequest(), progress=False)
        losses.append(record.latest["train/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_stopped_and_resumed_run_has_the_weights_of_an_undisturbed_one(precision: str, tmp_path: Path) -> None:
    weights = []
    for name, stops in (("whole", 0), ("resumed", 2)):
        loaded = load_mapping(
            config("lstm", deterministic=True, precision=precision, max_steps=12, val_every=4)
            | {"cell": {"name": "lstm", "hidden_size": 32, "layers": 2, "dropout": 0.1}}
        )
        folder = tmp_path / name
        folder.mkdir()
        for _ in range(stops):  # each ends after one step more, with the random state of its dropout saved
            stop = StopRequest()
            stop.reason = "the test"
            with pytest.raises(Interrupted):
                train(build(loaded), folder, record=Record(None), stop=stop, progress=False)
        train(build(loaded), folder, record=Record(None), stop=StopRequest(), progress=False)
        weights.append(torch.load(folder / LAST, weights_only=True, map_location="cpu")["state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_too_large_an_allocation_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, device=DEVICE)
    assert error_name(caught.value) == OUT_OF_MEMORY


_FORKED = """
import importlib, os, sys
from undertow.studies.work.executor import _PRELOAD

for name in [*_PRELOAD, "undertow_cells.gated.lstm", "undertow_probes.gradient_profile"]:
    importlib.import_module(name)
import torch

assert not torch.cuda.is_initialized()
if (child := os.fork()) == 0:
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    torch.cuda.set_per_process_memory_fraction(0.25, 0)
    assert torch.cuda.device_count() == 1
    assert torch.ones(3, device=sys.argv[1]).sum().item() == 3
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_trial_forked_after_all_imports_can_use_the_gpu() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED, DEVICE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
