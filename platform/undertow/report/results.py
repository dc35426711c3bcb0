"""What a study came to, as data: every combination with its latest trial.

    results = read_results(Ledger.find(url, "vanishing-digits"))      # of undertow.studies.store.results
    frame = results.frame()                      # a row for each combination: factors, state, objectives, metrics
    results.combinations[0].curves["gradient/h/by_lag"]

A report is made of this alone, so it can be written on any machine that reaches the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from undertow.config.space import Params, Space

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame

State = Literal["complete", "pruned", "failed", "stopped", "running", "waiting", "missing"]
"""`stopped` waits for the study to go on; `missing` was never tried."""

Curve = tuple[list[int], list[float]]
"""Steps of the axis (lags), and values."""


@dataclass(frozen=True)
class CombinationResult:
    """One combination and the latest attempt at it.

    Attributes:
        params: The varied and the searched values, by dotted key.
        sample: Counts the samples of a search from 0; 0 in a plain grid.
        state: How it stands.
        number: Optuna's number of the latest attempt; None when there is none.
        attempts: How many attempts there were.
        reason: Why it failed, was pruned or stopped.
        values: The objectives; empty unless complete (pruned: the last intermediate value).
        metrics: The latest value of every scalar, by metric name.
        curves: The final curves, by metric name, ``gradient/h/by_lag`` for one.
        history: Earlier values of the same curves at the same lags, by metric name and training step.
        steps: Training steps done.
        seconds: Wall time of all attempts.
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
    run_name: str = ""
    run: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Objective:
    """What is made small or large: a metric name, and `minimize` or `maximize`."""

    metric: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True)
class StudyResults:
    """A study and all its combinations.

    Attributes:
        name: The study's name.
        question: What it is to answer.
        config_yaml: Its configuration, resolved.
        space: What is varied and searched.
        objectives: At least one.
        facts: Versions, machine, commit: text by name.
        combinations: In the order of the plan; a search's in the order of its samples.
        study: Optuna's own, for `optuna.visualization` and importances.
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
        """A row for each combination: parameters, how it stands, and every metric by its name."""
        from pandas import DataFrame

        rows: list[dict[str, Any]] = [
            {
                **trial.params,
                "sample": trial.sample,
                "state": trial.state,
                "number": trial.number,
                "steps": trial.steps,
                "seconds": trial.seconds,
                "run_name": trial.run_name,
                **trial.metrics,
            }
            for trial in self.combinations
        ]
        return DataFrame(rows)
