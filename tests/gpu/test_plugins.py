"""On a GPU: every shipped cell in float64 and bfloat16, every task's loss and scores, every probe's values."""

from typing import Any

import numpy as np
import pytest
import torch

from undertow.api.contract import Batch, Subject
from undertow.config.load import LoadedExperiment, load_mapping
from undertow.nn import build_model, build_probes, build_task, isolated, unroll
from undertow.nn.losses import supervised_losses
from undertow.plugins.host import load_plugins
from undertow.testing import CellConformance
from undertow.train.scores import Scores

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
REGISTRY = load_plugins()
CELLS = [name for name, entry in REGISTRY.cells.items() if entry.plugin.distribution == "undertow-cells"]
PROBES = [name for name, entry in REGISTRY.probes.items() if entry.plugin.distribution == "undertow-probes"]
TASKS = [name for name, entry in REGISTRY.tasks.items() if entry.plugin.distribution == "undertow-tasks"]
READ_FILES = {"mnist-by-pixel", "ucr"}
T, B = 40, 4


@pytest.mark.parametrize("name", CELLS)
def test_gradients_on_the_gpu_are_those_on_the_cpu(name: str) -> None:
    CellConformance.of(name).test_gpu_equals_cpu()


@pytest.mark.parametrize("name", CELLS)
def test_cell_runs_in_bfloat16_near_its_result_in_32_bits(name: str) -> None:
    torch.manual_seed(0)
    spec = REGISTRY.cell(name)
    cell = REGISTRY.factory(spec)(3, 16, spec.options(), T).to(DEVICE)
    x_TBI = torch.randn(T, B, 3, device=DEVICE)
    expected_TBH, _ = unroll(cell, x_TBI, cell.initial_state(B))
    with torch.autocast(DEVICE, torch.bfloat16):
        first_TBH, state = unroll(cell, x_TBI[: T // 2], cell.initial_state(B))
        second_TBH, _ = unroll(cell, x_TBI[T // 2 :], state)
    y_TBH = torch.cat([first_TBH.float(), second_TBH.float()])
    gradients = torch.autograd.grad(y_TBH.square().sum(), list(cell.parameters()), allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    # The mean: layer normalisation of a state near zero enlarges the rounding of single steps.
    assert (y_TBH - expected_TBH).abs().mean() < 0.1 * expected_TBH.abs().max().clamp(min=1.0)


def experiment(cell: str, task: str, probes: list[str]) -> LoadedExperiment:
    return load_mapping(
        {
            "task": {"name": task},
            "cell": {"name": cell, "hidden_size": 8, "layers": 2},
            "probes": [{"name": name} for name in probes],
        }
    )


def built(loaded: LoadedExperiment, device: str) -> tuple[Any, Any, Batch]:
    """Task, network with the same weights on each device, and a batch, in float64."""
    torch.manual_seed(0)
    task = build_task(loaded)
    model = build_model(loaded, task).double().to(device)
    batch = task.batch("val", np.arange(B))
    input, target = (each.double() if each.is_floating_point() else each for each in batch)
    return task, model, batch._replace(input=input.to(device), target=target.to(device))


@pytest.mark.parametrize("name", [name for name in TASKS if name not in READ_FILES])
def test_loss_scores_and_cues_of_a_task_are_those_on_the_cpu(name: str) -> None:
    found = {}
    for device in ("cpu", DEVICE):
        task, model, batch = built(experiment("rnn", name, []), device)
        losses, _ = supervised_losses(task, model(batch.input, batch.target), batch)
        losses.mean().backward()
        scores = Scores(task).to(device)
        with torch.no_grad():
            scores.update(model.eval()(batch.input), batch)
        found[device] = {"train": losses.mean().item(), **{k: float(v) for k, v in scores.compute().items()}}
        if task.cues(batch).numel():
            found[device]["cues"] = task.cues(batch).double().mean().item()
    assert found[DEVICE] == pytest.approx(found["cpu"], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("cell", ["lstm", "lru", "lem"])
@pytest.mark.parametrize("name", [name for name in PROBES if name != "cost"])
def test_probe_measures_what_it_measures_on_the_cpu(name: str, cell: str) -> None:
    found = {}
    loaded = experiment(cell, "digits-by-pixel", [name])
    for device in ("cpu", DEVICE):
        task, model, batch = built(loaded, device)
        subject = Subject(
            model=model,
            task=task,
            batch=batch,
            state=loaded.registry.cell(cell).state,
            step=0,
            seconds_per_step=None,
            batch_size=B,
        )
        with isolated(model):
            found[device] = build_probes(loaded)[name].measure(subject)
    assert found[DEVICE].scalars == pytest.approx(found["cpu"].scalars, rel=1e-4, abs=1e-6)
    assert found[DEVICE].curves.keys() == found["cpu"].curves.keys()
    for curve, expected in found["cpu"].curves.items():
        assert found[DEVICE].curves[curve].values == pytest.approx(expected.values, rel=1e-4, abs=1e-6), curve


def test_cost_counts_the_same_and_the_memory_of_the_gpu() -> None:
    found = {}
    loaded = experiment("lstm", "digits-by-pixel", ["cost"])
    for device in ("cpu", DEVICE):
        task, model, batch = built(loaded, device)
        subject = Subject(
            model=model, task=task, batch=batch, state=("h", "c"), step=0, seconds_per_step=0.1, batch_size=B
        )
        with isolated(model):
            found[device] = dict(build_probes(loaded)["cost"].measure(subject).scalars)
    for scalars in found.values():
        assert scalars.pop("cost/activation_bytes") > 0  # of other kernels on each device
    assert 0 < found[DEVICE].pop("cost/peak_bytes") <= torch.cuda.max_memory_allocated()
    del found["cpu"]["cost/peak_bytes"]
    assert found[DEVICE] == found["cpu"]
