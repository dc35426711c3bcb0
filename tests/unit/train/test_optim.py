"""Learning rates of single parameters, and what cells do after each step of the optimiser."""

import pytest
import torch

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import Interrupted, RequestError
from undertow.nn import build_model, build_task
from undertow.plugins.host import load_plugins
from undertow.train.optim import build_optimizer, build_scheduler, parameter_groups

ORTHOGONAL = ["cell={name: orthogonal, hidden_size: 8, layers: 2}", "train.max_steps=6", "train.val_every=2"]


def built(base, *overrides: str):
    loaded = load_mapping(base, overrides)
    return loaded.config, build_model(loaded, build_task(loaded))


def test_the_named_parameters_of_every_layer_have_their_own_rate(base) -> None:
    config, model = built(base, *ORTHOGONAL, "cell.lr_scale={weight_hh: 0.1, bias: 0}", "optim.lr=0.5")
    optimizer = build_optimizer(config.optim, parameter_groups(model, config), load_plugins())
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        in_a_cell = name.startswith("cells.")
        key = name.rpartition(".")[2]
        assert rate_of[id(parameter)] == {"weight_hh": 0.05, "bias": 0.0}.get(key if in_a_cell else "", 0.5)
    assert len(rate_of) == len(list(model.parameters()))
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_parameters_of_a_fused_kernel_are_named_without_the_kernel(base) -> None:
    config, model = built(base, "cell.lr_scale={weight_hh_l0: 2.0}")
    first, second = parameter_groups(model, config)
    assert second == {"params": [model.layers[0].kernel.weight_hh_l0], "lr": 2e-3, "weight_decay": 0.0}
    assert len(first["params"]) == len(list(model.parameters())) - 1


def test_an_unknown_parameter_is_refused_before_anything_is_written(base) -> None:
    with pytest.raises(RequestError, match=r"cell.lr_scale.weight_h: cell `orthogonal` has no parameter `weight_h`"):
        built(base, *ORTHOGONAL, "cell.lr_scale={weight_h: 0.1}")


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_schedule_changes_all_rates_alike(base, schedule: str) -> None:
    config, model = built(base, *ORTHOGONAL, "cell.lr_scale.weight_hh=0.1", f"optim.scheduler.name={schedule}")
    optimizer = build_optimizer(config.optim, parameter_groups(model, config), load_plugins())
    scheduler = build_scheduler(config.optim.scheduler, config.train, optimizer)["scheduler"]
    for _ in range(9):
        optimizer.step()
        scheduler.step(*([1.0] if schedule == "plateau" else []))
    base_rate, scaled = (group["lr"] for group in optimizer.param_groups)
    assert base_rate < config.optim.lr
    assert scaled == pytest.approx(0.1 * base_rate)


def test_a_first_step_of_sgd_moves_each_parameter_by_its_rate(run_job) -> None:
    sgd = ["optim={name: sgd, lr: 0.1}", "cell={name: rnn, hidden_size: 4}", "train.max_steps=1"]
    start, plain, scaled = (
        run_job(*sgd, *more, folder=name).weights
        for name, more in {
            "start": ["optim.lr=1.0e-30"],
            "plain": [],
            "scaled": ["cell.lr_scale={weight_hh_l0: 0.25, bias_ih_l0: 0}"],
        }.items()
    )
    for name, value in plain.items():
        factor = 0.25 if "weight_hh" in name else 0.0 if "bias_ih" in name else 1.0
        torch.testing.assert_close(scaled[name] - start[name], factor * (value - start[name]), rtol=1e-3, atol=1e-7)


def test_a_run_with_rates_of_its_own_resumes_to_the_same_weights(run_job) -> None:
    options = [*ORTHOGONAL, "cell.lr_scale.weight_hh=0.1", "train.accumulate=2", "optim.scheduler.name=cosine"]
    whole = run_job(*options, folder="whole")
    stop = StopRequest()
    stop.reason = "SIGINT"
    with pytest.raises(Interrupted, match="after step 1"):
        run_job(*options, folder="stopped", stop=stop)
    resumed = run_job(*options, folder="stopped")
    assert resumed.steps == 6
    assert all(torch.equal(value, resumed.weights[name]) for name, value in whole.weights.items())


def test_indrnn_is_within_its_bound_in_every_checkpoint(run_job) -> None:
    options = [
        "cell={name: indrnn, hidden_size: 8, options: {indrnn: {recurrent_init: long}}}",
        "optim={name: sgd, lr: 1.0e-3}",
        "train.max_steps=3",
    ]
    job = run_job(*options, "train.precision=64-true", "cell.lr_scale.weight_hh=1.0e+6")
    bound = 2 ** (1 / 20)
    weight = job.weights["model.cells.0.weight_hh"]
    assert weight.abs().max().item() == pytest.approx(bound)
    assert (weight.abs() <= bound).all()
