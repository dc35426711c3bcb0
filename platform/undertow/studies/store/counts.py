"""How a study stands, in numbers.

count(ledger.attempts(), ledger.total, retries=1, direction="minimize").settled
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from undertow.studies.store.attempt import Attempt, is_left


@dataclass(frozen=True)
class Counts:
    """How a study stands.

    Attributes:
        total: Combinations.
        states: How many of them are in each state: complete, pruned, failed, running, waiting.
        best: Value and name of the best run, by the first objective; None without one.
    """

    total: int
    states: Mapping[str, int]
    best: tuple[float, str] | None

    @property
    def settled(self) -> int:
        """Combinations that need no more work."""
        return sum(self.states.get(state, 0) for state in ("complete", "pruned", "failed"))


def count(attempts: Mapping[str, Sequence[Attempt]], total: int, retries: int, direction: str) -> Counts:
    """Count the combinations of a study by their state.

    Args:
        attempts: By the key of their combination.
        total: How many combinations there are.
        retries: As configured.
        direction: Of the first objective, which decides what run is the best.
    """
    words = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}
    states: dict[str, int] = {}
    best: tuple[float, str] | None = None
    sign = 1 if direction == "minimize" else -1
    for tries in attempts.values():
        last = tries[-1]
        state = words.get(last.state) or ("waiting" if is_left(tries, retries) else "failed")
        states[state] = states.get(state, 0) + 1
        if last.state == "COMPLETE" and last.trial.values and last.work:
            value = last.trial.values[0]
            if best is None or sign * value < sign * best[0]:
                best = value, last.work.name
    return Counts(total, states, best)
