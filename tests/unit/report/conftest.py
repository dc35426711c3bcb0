"""A made-up study: gradients that decay exponentially, scores that depend on them, and an Optuna study in memory."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import optuna
import pytest

from undertow.config.space import Combination, Range, Space
from undertow.report.results import CombinationResult, Objective, StudyResults

HALF_LIVES = {"rnn": 2.0, "lstm": 60.0, "gru": 30.0, "ugrnn": 12.0}
"""In time steps; the half-life of the cell state is four times as long."""

COSTS = {"rnn": 1450, "lstm": 4810, "gru": 3690, "ugrnn": 2570}


@dataclass
class Recipe:
    """A study to make.

    Attributes:
        space: What is varied and searched.
        states: States other than complete, by the text of a combination.
        grows: Combinations whose gradient grows.
        objectives: The objectives; a loss and an accuracy are made.
    """

    space: Space
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    grows: tuple[str, ...] = ()
    objectives: tuple[Objective, ...] = (Objective("val/loss", "minimize"),)
    name: str = "vanishing-digits"
    question: str = "How many steps back does the gradient still reach, by cell and length?"


def grid(
    cells: tuple[str, ...] = ("rnn", "lstm", "gru", "ugrnn"),
    lengths: tuple[int, ...] = (64, 128, 256, 512),
    seeds: int = 3,
    samples: int = 1,
) -> Space:
    """Cells × lengths × seeds; searched by learning rate when there are samples."""
    search = {"optim.lr": Range(low=1e-4, high=1e-2, log=True)} if samples > 1 else {}
    vary: dict[str, tuple[Any, ...]] = {"cell.name": cells, "task.length": lengths, "seed": tuple(range(seeds))}
    return Space({key: values for key, values in vary.items() if values}, search, samples, {"task.name": "digits"})


def make(recipe: Recipe) -> StudyResults:
    """The results of a study."""
    study = optuna.create_study(
        directions=[each.direction for each in recipe.objectives], sampler=optuna.samplers.RandomSampler(seed=0)
    )
    combinations = tuple(
        _result(number, each, recipe, study) for number, each in enumerate(recipe.space.combinations())
    )
    return StudyResults(
        name=recipe.name,
        question=recipe.question,
        config_yaml="question: How far?\ntask: {name: digits, length: 64}\ncell: {name: lstm}\n",
        space=recipe.space,
        objectives=recipe.objectives,
        facts={"undertow": "0.1.0", "torch": "2.13.0", "commit": "0e7a6f2", "machine": "2 cores, Python 3.11"},
        combinations=combinations,
        study=study,
    )


def lags_up_to(last: int, count: int = 32) -> list[int]:
    return sorted({round(last ** (place / (count - 1))) for place in range(count)})


def _result(number: int, combination: Combination, recipe: Recipe, study: optuna.Study) -> CombinationResult:
    random = Random(str(combination))
    params: dict[str, Any] = dict(combination.params)
    if recipe.space.search:
        params["optim.lr"] = 10 ** random.uniform(-4, -2)
    state, reason = recipe.states.get(str(combination), ("complete", ""))
    cell, length = str(params.get("cell.name", "lstm")), int(params.get("task.length", 64))
    if state == "missing":
        return CombinationResult(params, combination.sample, "missing")
    grows = str(combination) in recipe.grows
    curves: dict[str, tuple[list[int], list[float]]] = {}
    history: dict[str, dict[int, list[float]]] = {}
    metrics = {
        "task/trivial_loss": math.log(10),
        "cost/parameters": float(COSTS.get(cell, 1000)),
        "cost/activation_bytes": 12.0 * length * COSTS.get(cell, 1000) / 10,
        "cost/steps_per_second": 2e5 / length / math.sqrt(COSTS.get(cell, 1000)) * random.uniform(0.9, 1.1),
    }
    for view in ("input", "h", "c") if cell == "lstm" else ("input", "h"):
        half_life = HALF_LIVES.get(cell, 10.0) * (4 if view == "c" else 1) * random.uniform(0.8, 1.25)
        half_life *= (64 / length) ** 0.3 * (-1 if grows else 1)
        lags = lags_up_to(length - 1)
        slope = -math.log10(2) / half_life

        def values(progress: float, slope: float = slope, lags: list[int] = lags) -> list[float]:
            return [slope * (3 - 2 * progress) * (lag - 1) + random.gauss(0, 0.05) for lag in lags]

        name = f"gradient/{view}"
        curves[f"{name}/by_lag"] = (lags, values(1.0))
        history[f"{name}/by_lag"] = {step: values(step / 500) for step in range(0, 500, 50)}
        for measure, decades in (("half_life", math.log10(2)), ("tenth_life", 1), ("reach", 3)):
            lag = 1 + decades / -slope if slope < 0 else math.inf
            metrics[f"{name}/{measure}"] = min(lag, float(lags[-1]))
            metrics[f"{name}/{measure}_censored"] = float(lag > lags[-1])
        metrics[f"{name}/at_cue"] = slope * (lags[-1] - 1)
    loss = 2.3 / (1 + 0.05 * metrics["gradient/input/reach"] * 64 / length) * random.uniform(0.9, 1.1)
    for split in ("train", "val"):
        steps = list(range(0, 501, 25 if split == "train" else 100))
        start = metrics["task/trivial_loss"]
        noise = [random.gauss(0, 0.02) for _ in steps]
        values_at = [
            loss + (start - loss) * math.exp(-step / 150) + each for step, each in zip(steps, noise, strict=True)
        ]
        curves[f"{split}/loss/by_step"] = (steps, values_at)
    if "optim.lr" in params:
        loss *= 1 + (math.log10(params["optim.lr"]) + 3) ** 2
    scores = {"val/loss": loss, "val/accuracy": math.exp(-loss), "test/loss": 1.1 * loss}
    scored = tuple(scores[each.metric] for each in recipe.objectives)
    if state in ("complete", "failed", "pruned"):
        study.add_trial(
            optuna.trial.create_trial(
                state={"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}.get(
                    state, optuna.trial.TrialState.FAIL
                ),
                params=params,
                distributions={key: _distribution(key, recipe.space) for key in params},
                values=scored if state == "complete" else None,
            )
        )
    done = state == "complete"
    return CombinationResult(
        params,
        combination.sample,
        state,  # type: ignore[arg-type]
        number=number,
        attempts=1,
        reason=reason,
        values=scored if done else (),
        metrics=metrics | scores if done else {},
        curves=curves if done else {},
        history=history if done else {},
        steps=500 if done else 120,
        seconds=12.5,
        load={"start": 0.4, "end": 0.75},
        run_name=f"{cell}-T{length}-s{params.get('seed', 0)}",
        run=f"run{number}",
        folder=f"/home/ada/runs/{recipe.name}/{cell}-T{length}-s{params.get('seed', 0)}-{combination.sample}",
    )


def _distribution(key: str, space: Space) -> optuna.distributions.BaseDistribution:
    if key in space.search:
        return optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    return optuna.distributions.CategoricalDistribution(space.vary[key])


@pytest.fixture(scope="session")
def make_study() -> Callable[..., StudyResults]:
    """Makes a study from a space and other fields of a `Recipe`."""
    return lambda space, **options: make(Recipe(space, **options))


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Space]:
    """Makes a grid of cells, lengths and seeds."""
    return grid


@pytest.fixture(scope="session")
def whole(make_study: Callable[..., StudyResults]) -> StudyResults:
    """Four cells, four lengths, three seeds; one failed, two pruned, one missing, and one whose gradient grows."""
    return make_study(
        grid(),
        states={
            "cell.name=gru task.length=512 seed=1": ("failed", "out of memory: 2.1 GiB requested, 2 allowed"),
            "cell.name=rnn task.length=512 seed=0": ("pruned", "gradient at the cue below 1e-12"),
            "cell.name=rnn task.length=512 seed=1": ("pruned", "gradient at the cue below 1e-12"),
            "cell.name=rnn task.length=512 seed=2": ("missing", ""),
        },
        grows=("cell.name=gru task.length=64 seed=0",),
    )
