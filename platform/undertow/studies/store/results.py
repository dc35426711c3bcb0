"""Read the results of a study from Optuna's database alone: every combination with its latest trial.

    results = read_results(Ledger.find(url, "vanishing-digits"))

Neither run folders nor MLflow are read.
"""

from collections.abc import Sequence
from typing import Any

from undertow.config.space import Combination
from undertow.report.results import CombinationResult, Objective, StudyResults
from undertow.studies.store.ledger import Ledger
from undertow.studies.store.trial import RESULT, Trial, state_of


def read_results(ledger: Ledger) -> StudyResults:
    """Read everything that the ledger holds of a study."""
    snapshot = ledger.snapshot
    trials = ledger.trials()
    retries = int(snapshot["retries"])
    changes = snapshot.get("changed_code", [])
    return StudyResults(
        name=ledger.name,
        question=snapshot["question"],
        config_yaml=snapshot["config"],
        space=ledger.space,
        objectives=tuple(Objective(each["metric"], each["direction"]) for each in snapshot["objectives"]),
        facts={**snapshot["facts"], **({"changed code": "; ".join(changes)} if changes else {})},
        combinations=tuple(
            _combination_result(combination, trials.get(combination.key, []), retries)
            for combination in ledger.space.combinations()
        ),
        study=ledger.study,
    )


def _combination_result(combination: Combination, trials: Sequence[Trial], retries: int) -> CombinationResult:
    state = state_of(trials, retries)
    if not trials:
        return CombinationResult(combination.params, combination.sample, state)
    last = trials[-1]
    assignment = last.assignment
    searched = {key: value for key, value in last.optuna.params.items() if key not in combination.params}
    outcome: dict[str, Any] = last.optuna.user_attrs.get(RESULT) or {}
    outcomes = [each.optuna.user_attrs.get(RESULT) or {} for each in trials]
    return CombinationResult(
        params={**combination.params, **searched},
        sample=combination.sample,
        state=state,
        number=last.optuna.number,
        attempts=len(trials),
        reason=last.end[1] if last.optuna_state in ("FAIL", "PRUNED") else "",
        values=tuple(last.optuna.values or ()),
        metrics=outcome.get("metrics", {}),
        curves={name: (steps, values) for name, (steps, values) in outcome.get("curves", {}).items()},
        history={
            name: {int(step): values for step, values in steps.items()}
            for name, steps in outcome.get("history", {}).items()
        },
        steps=outcome.get("steps", 0),
        load=outcome.get("load", {}),
        seconds=sum(each.get("seconds", 0.0) for each in outcomes),
        run_name=assignment.name if assignment else "",
        run=assignment.run if assignment else "",
        folder=assignment.folder if assignment else "",
    )
