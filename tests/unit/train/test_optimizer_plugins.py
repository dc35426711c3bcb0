"""Optimisers of plugins, in runs, resumed runs and packs, and the factors that a cell declares."""

import math
from pathlib import Path

import pytest
import torch

from undertow._system.stopping import StopRequest
from undertow.config.load import load_mapping
from undertow.errors import Interrupted, RequestError
from undertow.nn import build_model, build_task
from undertow.train.optim import build_optimizer, parameter_groups

SMALL = ["train.max_steps=12", "train.val_every=4", "train.log_every=3", "train.val_examples=8", "train.batch_size=4"]
PLUGIN = """
import torch
from torch import nn
from torch.optim import Optimizer
from undertow import Cell, CellSpec, Factors, OptimizerSpec, Options, hookimpl


class DescentOptions(Options):
    beta: float = 0.9


class Descent(Optimizer):
    def __init__(self, groups, options):
        super().__init__(groups, {"beta": options.beta})

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    kept = self.state[p]
                    if not kept:
                        kept |= {"mean": torch.zeros_like(p), "count": torch.zeros(())}
                    kept["count"] += 1
                    kept["mean"].lerp_(p.grad, 1 - group["beta"])
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * kept["mean"] / (1 - group["beta"] ** kept["count"].item()))
        return loss


class Refusing(Descent):
    def step(self, closure=None):
        raise ValueError("no sparse gradients")


class Deaf(Descent):
    def __init__(self, groups, options):
        super().__init__(groups, options)
        for group in self.param_groups:
            group["lr"] = 1.0


class Scaled(Cell):
    def __init__(self, input_size, hidden_size, options, length):
        super().__init__(input_size, hidden_size, options, length)
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size))
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.wanted = {WANTED}

    def initial_state(self, batch_size):
        return (self.weight.new_zeros(batch_size, self.hidden_size),)

    def step(self, x_BI, state):
        return (self.scale * state[0] + x_BI @ self.weight.T,)

    def parameter_factors(self):
        return self.wanted


@hookimpl
def undertow_register_optimizers():
    yield OptimizerSpec(
        name="descent", summary="the mean gradient", factory=":Descent", options=DescentOptions, elementwise=True
    )
    yield OptimizerSpec(name="refusing", summary="raises", factory=":Refusing", options=DescentOptions)
    yield OptimizerSpec(name="deaf", summary="has rates of its own", factory=":Deaf", options=DescentOptions)


@hookimpl
def undertow_register_cells():
    yield CellSpec(name="scaled", summary="declares factors", factory=":Scaled", state=("h",))
"""
FACTORS = '"scale": Factors(lr=0.1, weight_decay=0.0)'
SCALED = "cell={name: scaled, hidden_size: 8}"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "descent.py"
    path.write_text(PLUGIN.replace("{WANTED}", "{" + FACTORS + "}"))
    return path


def test_it_gets_its_options_and_the_groups(base, plugin: Path) -> None:
    settings = [SCALED, "optim={name: descent, lr: 0.5, weight_decay: 0.2, options: {descent: {beta: 0.25}}}"]
    loaded = load_mapping(base, settings, [plugin])
    model = build_model(loaded, build_task(loaded))
    optimizer = build_optimizer(loaded.config.optim, parameter_groups(model, loaded.config), loaded.registry)
    assert type(optimizer).__name__ == "Descent"
    usual, scale = optimizer.param_groups
    assert [(group["lr"], group["weight_decay"], group["beta"]) for group in (usual, scale)] == [
        (0.5, 0.2, 0.25),
        (0.05, 0.0, 0.25),
    ]
    assert scale["params"] == [model.layers[0].scale]


def test_the_run_takes_precedence_over_the_factors_of_the_cell(base, plugin: Path) -> None:
    settings = [
        SCALED,
        "optim.lr=0.5",
        "optim.weight_decay=0.2",
        "cell.lr_scale.scale=2",
        "cell.decay_scale.weight=0.5",
    ]
    loaded = load_mapping(base, settings, [plugin])
    model = build_model(loaded, build_task(loaded))
    rates = {
        parameter: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, loaded.config)
        for parameter in group["params"]
    }
    cell = model.layers[0]
    assert (rates[cell.scale], rates[cell.weight], rates[model.head.bias]) == ((1.0, 0.0), (0.5, 0.1), (0.5, 0.2))


def test_without_weight_decay_a_factor_on_it_makes_no_group(base) -> None:
    loaded = load_mapping(base, ["cell={name: lru, hidden_size: 8}"])
    model = build_model(loaded, build_task(loaded))
    assert len(parameter_groups(model, loaded.config)) == 1


def test_weight_decay_leaves_the_logarithms_of_an_lru_alone(run_job) -> None:
    more = ["cell={name: lru, hidden_size: 8}", "optim={name: sgd, lr: 1.0e-9}", "train.max_steps=1"]
    plain = run_job(*more, folder="plain").weights
    decayed = run_job(*more, "optim.weight_decay=1.0e+8", folder="decayed").weights
    changed = {name.rpartition(".")[2] for name in plain if not torch.allclose(plain[name], decayed[name])}
    assert {"B", "C", "D", "weight"} <= changed
    assert not {"nu", "theta", "gamma"} & changed


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            '"scal": Factors(lr=0.1)',
            r"parameter_factors names `scal`, which is no parameter of it. Did you mean `scale`",
        ),
        ('"scale": 0.5', "parameter_factors: `scale` has 0.5, expected Factors of finite numbers from 0 on"),
        ('"scale": Factors(lr=-1.0)', r"`scale` has Factors\(lr=-1.0, weight_decay=1.0\), expected Factors"),
    ],
)
def test_wrong_factors_of_a_cell_are_refused(base, tmp_path: Path, wanted: str, message: str) -> None:
    path = tmp_path / f"wrong_{abs(hash(wanted))}.py"
    path.write_text(PLUGIN.replace("{WANTED}", "{" + wanted + "}"))
    loaded = load_mapping(base, [SCALED], [path])
    with pytest.raises(RequestError, match=message):
        build_model(loaded, build_task(loaded))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("refusing", r"optimizer `refusing` \(.*:Refusing\): a first step fails: ValueError: no sparse gradients"),
        (
            "deaf",
            r"optimizer `deaf` \(.*:Deaf\): a group has {'lr': 1.0, .*}, expected {'lr': 0.001, .*Pass the groups",
        ),
    ],
)
def test_one_that_breaks_its_contract_is_refused_before_the_run(run_job, plugin: Path, name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        run_job(*SMALL, f"optim.name={name}", plugins=[plugin])


def test_it_trains_and_resumes_to_the_same_bits(run_job, plugin: Path) -> None:
    more = [*SMALL, SCALED, "optim={name: descent, lr: 0.01, weight_decay: 0.1, scheduler: {name: cosine}}"]
    whole = run_job(*more, folder="whole", plugins=[plugin])
    stop = StopRequest()
    stop.reason = "a test"
    with pytest.raises(Interrupted):
        run_job(*more, folder="stopped", plugins=[plugin], stop=stop)
    resumed = run_job(*more, folder="stopped", plugins=[plugin])
    assert all(torch.equal(value, resumed.weights[name]) for name, value in whole.weights.items())
    start = run_job(*more, "train.max_steps=1", "optim.lr=1.0e-30", folder="start", plugins=[plugin]).weights
    assert not torch.equal(start["model.head.weight"], whole.weights["model.head.weight"])


@pytest.mark.parametrize("together", [True, False])
def test_replicates_in_a_pack_are_stepped_as_alone(run_job, run_pack, plugin: Path, together: bool) -> None:
    more = [*SMALL, SCALED, "train.precision=64-true", "optim={name: descent, lr: 0.01, weight_decay: 0.1}"]
    pack = run_pack(*more, plugins=[plugin], together=together)
    for seed, job in pack.jobs.items():
        alone = run_job(*more, f"seed={seed}", folder=f"alone-{seed}", plugins=[plugin])
        for name, value in alone.weights.items():
            torch.testing.assert_close(job.weights[name], value, rtol=1e-9, atol=1e-9)
        for name, value, step in alone.journal.rows:
            if not name.startswith("cost/"):
                assert math.isclose(job.journal.series(name)[step], value, rel_tol=1e-9, abs_tol=1e-9)


def test_a_pack_with_scalar_parameters_resumes_to_the_same_bits(run_pack, plugin: Path) -> None:
    """A row of a stack of scalars is a scalar, like the count of the steps, of which there is one for all."""
    more = [*SMALL, SCALED, "optim={name: descent, lr: 0.01}", "train.deterministic=true"]
    whole = run_pack(*more, plugins=[plugin], folder="whole")
    stop = StopRequest()
    stop.reason = "a test"
    stopped = run_pack(*more, plugins=[plugin], folder="stopped", stop=stop)
    assert all(isinstance(error, Interrupted) for error in stopped.ends.values())
    journals = {seed: job.journal for seed, job in stopped.jobs.items()}
    resumed = run_pack(*more, plugins=[plugin], folder="stopped", journals=journals)
    for seed, job in resumed.jobs.items():
        assert all(torch.equal(value, whole.jobs[seed].weights[name]) for name, value in job.weights.items())
