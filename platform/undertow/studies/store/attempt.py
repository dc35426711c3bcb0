"""An attempt at a combination: one trial of Optuna's, and what Undertow has written on it.

attempts = by_key(study.trials)
[is_left(tries, retries=1) for tries in attempts.values()]
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

KEY, ATTEMPT, WORK, END = (f"undertow.{word}" for word in ("key", "attempt", "work", "end"))
"""Attributes of a trial: its combination, the count of the attempt, who works on it, why it ended without a result."""

End = Literal["failed", "diverged", "timeout", "lost", "stopped", "abandoned", "duplicate"]
"""Why an attempt ended without a result.

`failed` and `lost` (its process died) are tried again `retries` times. What is no fault of the trial's is tried again
however often: it was `stopped`, or `abandoned` by a driver that died.
"""


class Trial(Protocol):
    """What is looked at of a trial of Optuna's."""

    @property
    def number(self) -> int:
        """Its number."""
        ...

    @property
    def state(self) -> Any:
        """Its state; the name of it counts."""
        ...

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """What is written on it."""
        ...

    @property
    def values(self) -> Sequence[float] | None:
        """The objectives, once it is complete."""
        ...


@dataclass(frozen=True)
class Work:
    """Who works on an attempt, and where.

    Attributes:
        owner: The driver's id.
        host: Its machine.
        folder: The run folder.
        run: The run's uuid, which MLflow's run carries as the tag `undertow.run`.
        name: The run's name.
    """

    owner: str
    host: str
    folder: str
    run: str
    name: str


@dataclass(frozen=True)
class Attempt:
    """One trial of Optuna's, as the ledger sees it."""

    trial: Any
    count: int

    @property
    def state(self) -> str:
        """Optuna's name of its state."""
        return str(self.trial.state.name)

    @property
    def end(self) -> tuple[str, str]:
        """Kind and reason of an end without a result."""
        said = self.trial.user_attrs.get(END) or {}
        return said.get("kind", "abandoned"), said.get("reason", "its driver died")

    @property
    def work(self) -> Work | None:
        """Who works on it."""
        said = self.trial.user_attrs.get(WORK)
        return Work(**said) if said else None


def by_key(trials: Iterable[Trial]) -> dict[str, list[Attempt]]:
    """Attempts by the key of their combination, in their order; duplicates, which never run, are left out.

    Args:
        trials: By their number: the first of a count is the one that counts.
    """
    found: dict[str, dict[int, Attempt]] = {}
    for trial in trials:
        key, count = trial.user_attrs.get(KEY), trial.user_attrs.get(ATTEMPT, 0)
        if key is not None:
            found.setdefault(key, {}).setdefault(count, Attempt(trial, count))
    return {key: [tries[count] for count in sorted(tries)] for key, tries in found.items()}


def is_left(tries: Sequence[Attempt], retries: int) -> bool:
    """Whether another attempt at a combination is due, after these.

    Args:
        tries: All there were, in their order.
        retries: How many may be made after the first because one failed or was lost.
    """
    if not tries:
        return True
    if tries[-1].state != "FAIL":
        return False
    kinds = [attempt.end[0] for attempt in tries]
    again = ("failed", "lost")
    return kinds[-1] in ("stopped", "abandoned") or (
        kinds[-1] in again and sum(kind in again for kind in kinds) <= retries
    )
