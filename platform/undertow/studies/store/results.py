"""Read the results of a study from Optuna's database alone: every combination with its latest trial.

    results = read_results(Ledger.find(url, "vanishing-digits"))

No run folder and no MLflow is read.
"""

from collections.abc import Sequence
from typing import Any

from undertow.config.space import Combination
from undertow.report.results import CombinationResult, Objective, State, StudyResults
from undertow.studies.store.attempt import Attempt, is_left
from undertow.studies.store.ledger import RESULT, Ledger


def read_results(ledger: Ledger) -> StudyResults:
    """Read everything that the ledger holds of a study."""
    about = ledger.about
    attempts = ledger.attempts()
    retries = int(about["retries"])
    combinations = tuple(
        _trial(combination, attempts.get(combination.key, []), retries) for combination in ledger.space.combinations()
    )
    return StudyResults(
        name=ledger.name,
        question=about["question"],
        config_yaml=about["config"],
        space=ledger.space,
        objectives=tuple(Objective(each["metric"], each["direction"]) for each in about["objectives"]),
        facts=about["facts"],
        combinations=combinations,
        study=ledger.study,
    )


def _trial(combination: Combination, tries: Sequence[Attempt], retries: int) -> CombinationResult:
    if not tries:
        return CombinationResult(combination.params, combination.sample, "missing")
    last = tries[-1]
    frozen = last.trial
    done: dict[str, Any] = frozen.user_attrs.get(RESULT) or {}
    said = [each.trial.user_attrs.get(RESULT) or {} for each in tries]
    return CombinationResult(
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
