"""What a study came to, read from Optuna's database alone: every combination with its latest attempt.

    results = read_results(Ledger.find(url, "vanishing-digits"))
    frame = results.frame()                      # a row for each combination: factors, state, objectives, metrics
    results.trials[0].curves["gradient/h/by_lag"]

No run folder and no MLflow is asked, so a report can be made on any machine that reaches the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from undertow.studies.attempt import Attempt, is_left
from undertow.studies.ledger import RESULT, Ledger
from undertow.studies.space import Combination, Params, Space

if TYPE_CHECKING:
    from optuna import Study
    from pandas import DataFrame

State = Literal["complete", "pruned", "failed", "stopped", "running", "waiting", "missing"]
"""`stopped` waits for the study to go on; `missing` was never tried."""

Curve = tuple[list[int], list[float]]
"""Steps of the axis (lags), and values."""


@dataclass(frozen=True)
class TrialResult:
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
        trials: In the order of the plan; a search's in the order of its samples.
        study: Optuna's own, for `optuna.visualization` and importances.
    """

    name: str
    question: str
    config_yaml: str
    space: Space
    objectives: tuple[Objective, ...]
    facts: Mapping[str, str]
    trials: tuple[TrialResult, ...]
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
            for trial in self.trials
        ]
        return DataFrame(rows)


def read_results(ledger: Ledger) -> StudyResults:
    """Read everything that the ledger holds of a study."""
    about = ledger.about
    attempts = ledger.attempts()
    retries = int(about["retries"])
    trials = tuple(
        _trial(combination, attempts.get(combination.key, []), retries) for combination in ledger.space.combinations()
    )
    return StudyResults(
        name=ledger.name,
        question=about["question"],
        config_yaml=about["config"],
        space=ledger.space,
        objectives=tuple(Objective(each["metric"], each["direction"]) for each in about["objectives"]),
        facts=about["facts"],
        trials=trials,
        study=ledger.study,
    )


def _trial(combination: Combination, tries: Sequence[Attempt], retries: int) -> TrialResult:
    if not tries:
        return TrialResult(combination.params, combination.sample, "missing")
    last = tries[-1]
    frozen = last.trial
    done: dict[str, Any] = frozen.user_attrs.get(RESULT) or {}
    said = [each.trial.user_attrs.get(RESULT) or {} for each in tries]
    return TrialResult(
        params={**combination.params, **frozen.params},
        sample=combination.sample,
        state=_state(tries, retries),
        number=frozen.number,
        attempts=len(tries),
        reason=last.end[1] if last.state in ("FAIL", "PRUNED") else "",
        values=tuple(frozen.values or ()),
        metrics=done.get("metrics", {}),
        curves={name: (steps, values) for name, (steps, values) in done.get("curves", {}).items()},
        history={
            name: {int(step): values for step, values in steps.items()}
            for name, steps in done.get("history", {}).items()
        },
        steps=done.get("steps", 0),
        seconds=sum(each.get("seconds", 0.0) for each in said),
        run_name=last.work.name if last.work else "",
        run=last.work.run if last.work else "",
        folder=last.work.folder if last.work else "",
    )


def _state(tries: Sequence[Attempt], retries: int) -> State:
    last = tries[-1]
    match last.state:
        case "COMPLETE":
            return "complete"
        case "PRUNED":
            return "pruned"
        case "RUNNING":
            return "running"
        case "WAITING":
            return "waiting" if len(tries) == 1 else "stopped"
    return "stopped" if is_left(tries, retries) else "failed"
