"""A trial that runs in a slot of this driver, and what it has recorded when it has ended.

    active = ActiveTrial(claim, assignment, running, Follower(outbox), started, max_steps)
    active.request_stop("timeout", "took longer than 600 s")
    if active.has_ended:
        result = Result.read(active.result) if active.result.exists() else None
        outcome = active.outcome(result)

The `driver` decides what stops it, and records its end in the ledger.
"""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from undertow.config.study_schema import ObjectiveConfig
from undertow.runs.result import OUT_OF_MEMORY, Result
from undertow.studies.store.ledger import Claim
from undertow.studies.store.trial import Assignment, Outcome
from undertow.studies.work.executor import Running
from undertow.studies.work.follow import Follower
from undertow.studies.work.slots import Slot

StopCause = Literal["prune", "timeout", "stop"]


@dataclass(eq=False)
class ActiveTrial:
    """A trial that runs in a slot of this driver; those of a pack have the same process, and so the same slot.

    Attributes:
        together: How many trials were started in this process; 1 for a trial by itself.
    """

    claim: Claim
    assignment: Assignment
    running: Running
    follower: Follower
    started: float
    max_steps: int
    together: int = 1
    stop_cause: StopCause | Literal[""] = ""
    stop_reason: str = ""
    stopped_at: float = 0.0
    reported: set[int] = field(default_factory=set)

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended, or it has while its pack goes on."""
        return self.running.exit_code is not None or (self.together > 1 and self.result.exists())

    @property
    def result(self) -> Path:
        """What it writes at its end."""
        return Path(self.assignment.folder) / "result.json"

    @property
    def death(self) -> str:
        """The reason of its end if its process ended without a result."""
        code = self.running.exit_code
        if code is not None and code < 0:
            memory = " (out of memory, or killed from outside)" if code == -signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-code).name}{memory}"
        return f"its process ended with exit code {code} before it wrote a result"

    def request_stop(self, cause: StopCause, reason: str) -> None:
        """Ask it to save its state and end; only the first cause counts."""
        if not self.stop_cause:
            self.stop_cause, self.stop_reason, self.stopped_at = cause, reason, time.monotonic()
            self.running.ask_to_stop(reason)

    def outcome(self, result: Result | None) -> Outcome:
        """What it recorded, from its result and its outbox."""
        curves = dict(result.curves) if result else {}
        return Outcome(
            metrics={**self.follower.latest, **(result.metrics if result else {})},
            curves={
                **{name: (list(steps), list(values)) for name, (steps, values) in curves.items()},
                **self.follower.learning_curves(),
            },
            history=self.follower.history(curves),
            load=dict(self.follower.load),
            steps=result.steps if result else self.follower.step,
            seconds=(time.monotonic() - self.started) / self.together,
        )

    def objective_value(self, objective: ObjectiveConfig, outcome: Outcome) -> float | None:
        """The value of an objective; None if it recorded none."""
        if objective.at == "best" and objective.metric in self.follower.best:
            return self.follower.best[objective.metric][objective.direction == "maximize"]
        return outcome.metrics.get(objective.metric)

    def memory_remedy(self, error: str, memory: float | None) -> str:
        """What to do about a pack that is out of memory; empty for any other end.

        Args:
            error: The kind of its end.
            memory: `study.memory_per_trial`, in GiB.
        """
        if error != OUT_OF_MEMORY or self.together == 1:
            return ""
        limit = "without a limit" if memory is None else f"within {memory * self.together:g} GiB, {memory:g} for each"
        remedy = f"set `study.pack: {self.together // 2 if self.together > 3 else 'off'}`"
        if memory is not None:
            remedy += " or a larger `study.memory_per_trial`"
        return f"; {self.together} replicates ran side by side {limit}: if that was too much, {remedy}"


@dataclass
class BusySlot:
    """A slot, and the process in it.

    Attributes:
        idle_at: When the last of its trials was recorded; None before. The process should end then.
    """

    slot: Slot
    running: Running
    idle_at: float | None = None


def failure_reason(result: Result) -> str:
    """The reason of a failed run; one that is out of memory says so first."""
    return f"out of memory: {result.reason}" if result.error == OUT_OF_MEMORY else result.reason
