"""A trial: one attempt at a combination. It is a trial of Optuna's with the attributes that Undertow writes.

trials = trials_by_key(study.trials)
[state_of(each, retries=1) for each in trials.values()]     # "complete", "running", "failed", …
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from undertow.report.results import State

KEY, ATTEMPT, ASSIGNMENT, END, RESULT, ALONE = (
    f"undertow.{name}" for name in ("key", "attempt", "work", "end", "result", "alone")
)
"""Attributes of a trial: its combination, its count, where it runs, why it ended without a result, its outcome, and why
it was trained one by one in its pack."""

EndKind = Literal["failed", "invalid", "diverged", "timeout", "lost", "stopped", "abandoned", "duplicate"]
"""Why a trial ended without a result.

Only deaths are retried. `lost` (its process died) is retried `retries` times; `stopped` and `abandoned` (its driver
died) without limit: the trial is not the cause. `failed` (an exception), `invalid` (its configuration cannot be
resolved), `diverged` and `timeout` would end the same way again. A `duplicate` never ran.
"""

_RETRIED: tuple[EndKind, ...] = ("lost",)
_REPEATED: tuple[EndKind, ...] = ("stopped", "abandoned")


class OptunaTrial(Protocol):
    """The attributes of a trial of Optuna's that are read here."""

    @property
    def number(self) -> int:
        """Its number."""
        ...

    @property
    def state(self) -> Any:
        """Its state; only the name is read."""
        ...

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """Its attributes."""
        ...

    @property
    def values(self) -> Sequence[float] | None:
        """The objectives, once it is complete."""
        ...


@dataclass(frozen=True)
class Assignment:
    """Where a trial runs.

    Attributes:
        owner: The driver's id.
        host: Its machine.
        folder: The run folder.
        run: The run's uuid, which MLflow's run carries as the tag `undertow.run`.
        name: The run's name.
        pack: The id of the pack that it is trained in; empty for a run by itself.
    """

    owner: str
    host: str
    folder: str
    run: str
    name: str
    pack: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a trial recorded, as `undertow.studies.store.results` reads it back.

    Attributes:
        metrics: The latest value of every scalar.
        curves: The final curves: steps of the axis, and values; and the losses by training step.
        history: Earlier values of these curves, by training step.
        steps: Training steps done.
        seconds: Wall time of this trial; its share of that of its pack.
        load: Load of the machine for each processor at the ``start`` and the ``end`` of its training.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    history: Mapping[str, Mapping[int, list[float]]] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    load: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        optuna: Optuna's trial.
        count: Counts the trials of a combination from 0.
    """

    optuna: Any
    count: int

    @property
    def optuna_state(self) -> str:
        """Optuna's name of its state."""
        return str(self.optuna.state.name)

    @property
    def end(self) -> tuple[str, str]:
        """Kind and reason of an end without a result."""
        end = self.optuna.user_attrs.get(END) or {}
        return end.get("kind", "abandoned"), end.get("reason", "its driver died")

    @property
    def assignment(self) -> Assignment | None:
        """Where it runs; None before that is decided."""
        recorded = self.optuna.user_attrs.get(ASSIGNMENT)
        return Assignment(**recorded) if recorded else None


def trials_by_key(trials: Iterable[OptunaTrial]) -> dict[str, list[Trial]]:
    """The trials of each combination by its key, in order; duplicates, which never run, are left out.

    Args:
        trials: By their number: of two trials with the same count, the first is kept.
    """
    found: dict[str, dict[int, Trial]] = {}
    for trial in trials:
        key, count = trial.user_attrs.get(KEY), trial.user_attrs.get(ATTEMPT, 0)
        if key is not None:
            found.setdefault(key, {}).setdefault(count, Trial(trial, count))
    return {key: [by_count[count] for count in sorted(by_count)] for key, by_count in found.items()}


def state_of(trials: Sequence[Trial], retries: int) -> "State":
    """The state of a combination.

    Args:
        trials: All its trials, in order.
        retries: How many more trials a combination gets because the process of one died.

    Returns:
        ``waiting``: its next trial is in the queue. ``stopped``: its last trial ended without a result and another one
        is due. ``failed``: it ended so and no other one is due. ``missing``: there is no trial yet. ``complete``,
        ``pruned`` and ``running``: as Optuna says.
    """
    if not trials:
        return "missing"
    match trials[-1].optuna_state:
        case "COMPLETE":
            return "complete"
        case "PRUNED":
            return "pruned"
        case "RUNNING":
            return "running"
        case "WAITING":
            return "waiting"
    kinds = [trial.end[0] for trial in trials]
    retried = sum(kind in _RETRIED for kind in kinds)
    due = kinds[-1] in _REPEATED or (kinds[-1] in _RETRIED and retried <= retries)
    return "stopped" if due else "failed"


def needs_trial(trials: Sequence[Trial], retries: int) -> bool:
    """Whether another trial of a combination is due; arguments as for `state_of`."""
    return state_of(trials, retries) in ("missing", "stopped")
