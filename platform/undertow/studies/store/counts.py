"""The combinations of a study, counted by state.

count(ledger.trials(), ledger.total, retries=1, direction="minimize").settled
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from undertow.studies.store.trial import Trial, state_of


@dataclass(frozen=True)
class Counts:
    """The combinations of a study, counted.

    Attributes:
        total: Combinations.
        states: How many of them are in each state, as `state_of` names it; those without a trial are not counted.
        best: Value and name of the best run, by the first objective; None without one.
    """

    total: int
    states: Mapping[str, int]
    best: tuple[float, str] | None

    @property
    def settled(self) -> int:
        """Combinations that need no other trial."""
        return sum(self.states.get(state, 0) for state in ("complete", "pruned", "failed"))


def count(trials: Mapping[str, Sequence[Trial]], total: int, retries: int, direction: str) -> Counts:
    """Count the combinations of a study by state.

    Args:
        trials: By the key of their combination.
        total: How many combinations there are.
        retries: As configured.
        direction: Of the first objective, which decides which run is the best.
    """
    states: Counter[str] = Counter(state_of(each, retries) for each in trials.values())
    best: tuple[float, str] | None = None
    sign = 1 if direction == "minimize" else -1
    for last in (each[-1] for each in trials.values()):
        if last.optuna_state == "COMPLETE" and last.optuna.values and last.assignment:
            value = last.optuna.values[0]
            if best is None or sign * value < sign * best[0]:
                best = value, last.assignment.name
    return Counts(total, dict(states), best)
