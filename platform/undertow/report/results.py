"""The results of a study as data: every combination with its latest trial.

    results = read_results(Ledger.find(url, "vanishing-digits"))      # undertow.studies.store.results
    frame = results.frame()                      # a row for each combination: factors, state, objectives, metrics
    results.combinations[0].curves["gradient/input/by_lag"]

The report is written from this alone, so any machine that reaches the study's database can write it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from undertow.config.space import Params, Space

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame

State = Literal["complete", "pruned", "failed", "stopped", "running", "waiting", "missing"]
"""`stopped`: interrupted, continued when the study is run again; `missing`: has no trial yet."""

Curve = tuple[list[int], list[float]]
"""Steps of the axis (lags or lengths), and the value at each."""


@dataclass(frozen=True)
class CombinationResult:
    """One combination and its latest trial.

    Attributes:
        params: The varied and the searched values, by dotted key.
        sample: Number of the search's sample, from 0; 0 in a plain grid.
        state: Its state.
        number: Optuna's number of the latest trial; None where there is none.
        attempts: How many trials it has.
        reason: Why it failed, was pruned or stopped.
        values: The objectives; empty unless complete (pruned: the last intermediate value).
        metrics: The latest value of every scalar, by metric name.
        curves: The final curves, by metric name, such as ``gradient/h/by_lag``, and the losses by training step,
            such as ``val/loss/by_step``.
        history: Earlier values of the same curves at the same lags, by metric name and training step.
        steps: Training steps done.
        seconds: Wall time of all its trials; of a pack, its share.
        load: Load of the machine for each processor, at the ``start`` and the ``end`` of its training.
        run_name: The name of its run in MLflow.
        run: The tag `undertow.run` of its run in MLflow.
        folder: The run folder, on the machine that ran it.
    """

    params: Params
    sample: int
    state: State
    number: int | None = None
    attempts: int = 0
    reason: str = ""
    values: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    history: Mapping[str, Mapping[int, list[float]]] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    load: Mapping[str, float] = field(default_factory=dict)
    run_name: str = ""
    run: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Objective:
    """A metric to optimize, and the direction: `minimize` or `maximize`."""

    metric: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True)
class StudyResults:
    """A study and all its combinations.

    Attributes:
        name: The study's name.
        question: The question that the study is to answer.
        config_yaml: Its resolved configuration; passwords in addresses are replaced by ``***``.
        space: What is varied and searched.
        objectives: At least one.
        facts: Versions, machine, commit: text by name.
        combinations: In the order of the plan; those of a search in the order of their samples.
        study: Optuna's study, for `optuna.visualization` and importances.
    """

    name: str
    question: str
    config_yaml: str
    space: Space
    objectives: tuple[Objective, ...]
    facts: Mapping[str, str]
    combinations: tuple[CombinationResult, ...]
    study: "Study"

    def frame(self) -> "DataFrame":
        """A row for each combination: parameters, state, and every metric by its name."""
        from pandas import DataFrame

        rows: list[dict[str, Any]] = [
            {
                **each.params,
                "sample": each.sample,
                "state": each.state,
                "number": each.number,
                "steps": each.steps,
                "seconds": each.seconds,
                "run_name": each.run_name,
                **each.metrics,
            }
            for each in self.combinations
        ]
        return DataFrame(rows)
