"""The driver: keeps every worker busy with what the ledger has left, and settles what each attempt came to.

    summary = Driver(loaded, ledger, executor, home, slots, parent=uuid, tags=tags, watch=view).run(stop)

It holds nothing that the ledger does not: killed at any moment, the next driver goes on with exactly what is missing.
Several may work on one study. It is one thread that never waits for a trial, a store or a network for long.
"""

import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from undertow._system.lock import FileLock
from undertow._system.stopping import StopRequest
from undertow.config.space import Combination, Params
from undertow.config.study_schema import ObjectiveConfig
from undertow.runs.process import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.attempt import Attempt, End, Work, is_left
from undertow.studies.store.counts import Counts, count
from undertow.studies.store.ledger import Claim, Ledger, Outcome
from undertow.studies.work.executor import Executor, Running
from undertow.studies.work.follow import Follower
from undertow.studies.work.job import Job
from undertow.studies.work.liveness import is_alive, is_held, machine
from undertow.studies.work.slots import Slot
from undertow.tracking import RunFolder, tracking_uri

_TICK = 0.2
_BEAT = 10.0
_LOOK = 1.0  # seconds between two looks at what the other drivers do
_GRACE = 30.0  # seconds an attempt may take to save itself after it was asked to stop
_MEMORY = ("MemoryError", "OutOfMemoryError")


@dataclass
class Busy:
    """An attempt at work here."""

    claim: Claim
    work: Work
    running: Running
    follower: Follower
    slot: Slot
    started: float
    max_steps: int
    asked: Literal["", "prune", "timeout", "stop"] = ""
    asked_at: float = 0.0
    why: str = ""
    reported: set[int] = field(default_factory=set)


class Watch(Protocol):
    """Whoever wants to see how it goes."""

    def show(self, counts: Counts, busy: Sequence[Busy], first_seconds: float) -> None:
        """Called several times a second; `first_seconds` is how long this driver has worked."""
        ...

    def ended(self, name: str, state: str, words: str) -> None:
        """An attempt has ended."""
        ...


class Driver:
    """Works on one study with this machine's workers.

    Args:
        loaded: The study.
        ledger: Its ledger.
        executor: Where trials run.
        home: Where run folders are.
        slots: One for each worker.
        parent: The uuid of the study's own run.
        tags: Tags for every run.
        watch: Told how it goes.
        limit: Attempts to start at most; None for all that are left.
    """

    def __init__(
        self,
        loaded: LoadedStudy,
        ledger: Ledger,
        executor: Executor,
        home: Path,
        slots: Sequence[Slot],
        *,
        parent: str,
        tags: Mapping[str, str],
        watch: Watch,
        limit: int | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._loaded = loaded
        self._ledger = ledger
        self._executor = executor
        self._home = home
        self._free = list(slots)
        self._parent = parent
        self._tags = tags
        self._watch = watch
        self._limit = limit
        self._busy: list[Busy] = []
        self._host = machine()
        self._lock = FileLock(home / f".driver-{self.id}.lock")
        self._attempts: Mapping[str, Sequence[Attempt]] = {}
        self._counts: Counts
        self._next_beat = self._next_look = 0.0
        self._dry = False
        self._objectives = loaded.config.objectives
        self._started = time.monotonic()

    def run(self, stop: StopRequest) -> Counts:
        """Work until nothing is left to do, or until asked to stop.

        Args:
            stop: Looked at all the time; the second Ctrl-C ends the attempts at once.

        Returns:
            How the study stands in the end.
        """
        stops = self._ledger.stops
        self._home.mkdir(parents=True, exist_ok=True)
        with self._lock.held():
            return self._run_locked(stops, stop)

    def _run_locked(self, stops: int, stop: StopRequest) -> Counts:
        """Do the work of `run` while the lock shows that this driver lives."""
        self._bury()
        budget = self._loaded.config.time_budget or math.inf
        try:
            while True:
                self._keep_in_touch(stops, stop)
                closing = stop.reason is not None or time.monotonic() - self._started > budget or self._limit == 0
                self._attend()
                ended = self._free_workers()
                if self._loaded.config.search:  # what has ended may teach the sampler
                    self._settle(ended)
                    ended = []
                if not closing:
                    self._fill()
                if stop.reason is not None:
                    self._ask_all("stop", stop.reason)
                self._settle(ended)
                self._watch.show(self._counts, self._busy, time.monotonic() - self._started)
                if not self._busy and (closing or (self._dry and not self._anything_left())):
                    self._look()
                    return self._counts
                if closing or self._dry or not self._free:  # else give the free workers something at once
                    self._executor.wait([busy.running for busy in self._busy], _TICK)
        except BaseException as error:
            for busy in self._busy:
                busy.running.kill()
            if isinstance(error, KeyboardInterrupt):
                self._executor.wait([busy.running for busy in self._busy], 5.0)
                self._ask_all("stop", "the second Ctrl-C")
                self._settle(self._free_workers())
            raise
        finally:
            self._ledger.beat(self.id, {})
            self._lock.path.unlink(missing_ok=True)

    def _keep_in_touch(self, stops: int, stop: StopRequest) -> None:
        """Say that this driver lives, hear what was asked of it, and take over what the dead have left."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + _BEAT
            self._ledger.beat(
                self.id, {"host": self._host, "pid": os.getpid(), "lock": str(self._lock.path), "at": time.time()}
            )
        if now >= self._next_look:
            self._next_look = now + _LOOK
            if self._ledger.stops != stops and stop.reason is None:
                stop.reason = "`undertow study stop`"
            self._look()
            self._take_over()
            if stop.reason is None:
                self._ledger.plan()  # now, while the workers are busy, rather than when one waits
            self._dry = False  # the others may have left something, or put something into the queue

    def _look(self) -> None:
        self._attempts = self._ledger.attempts()
        self._counts = count(self._attempts, self._ledger.total, self._ledger.retries, self._objectives[0].direction)

    def _fill(self) -> None:
        """Give every free worker an attempt, as long as there is one."""
        if self._dry:
            return
        while self._free and self._limit != 0:
            claim = self._ledger.claim(self._work)
            if claim is not None:
                if self._limit is not None:
                    self._limit -= 1
                self._launch(claim)
            elif not self._ledger.plan():
                self._dry = True
                return

    def _work(self, combination: Combination, params: Params, before: Work | None) -> Work:
        """Where an attempt will work: where the one before did, if that is in this home, whose records we ship."""
        config = self._loaded.experiment(params)
        if before is not None and before.host == self._host:
            folder = Path(before.folder)
            if folder.parent == self._home.absolute() and (folder / "run.json").is_file():
                return Work(self.id, self._host, before.folder, before.run, before.name)
        run = uuid.uuid4().hex
        name = config.run_name + (f"-{combination.sample}" if combination.sample else "")
        return Work(self.id, self._host, str(RunFolder.place(self._home, name, run)), run, name)

    def _launch(self, claim: Claim) -> None:
        work = claim.work
        slot = self._free.pop()
        config = self._loaded.experiment(claim.params, work.name)
        folder = Path(work.folder)
        job = Job(
            home=self._home,
            folder=folder if (folder / "run.json").is_file() else None,
            run=work.run,
            parent=self._parent,
            uri=tracking_uri(self._home, config.track.uri),
            config=config,
            plugins=[plugin for plugin in self._loaded.registry.plugins if not plugin.scratch],
            tags={
                **self._tags,
                "undertow.seed": str(config.seed),
                "undertow.study": self._ledger.name,
                "undertow.trial": str(claim.number),
                **{f"undertow.factor.{key}": str(value) for key, value in claim.params.items()},
            },
            params={"case": str(claim.params["case"])} if "case" in claim.params else {},
            threads=config.train.threads or slot.threads,
            gpus=slot.gpus,
            gpu_share=slot.gpu_share,
            memory=self._loaded.config.memory_per_trial,
        )
        running = self._executor.launch(job)
        follower = Follower(folder / "outbox.jsonl")
        self._busy.append(Busy(claim, work, running, follower, slot, time.monotonic(), config.train.max_steps))

    def _attend(self) -> None:
        """Hear what the attempts have recorded, and end those that must end."""
        timeout = self._loaded.config.trial_timeout or math.inf
        now = time.monotonic()
        for busy in self._busy:
            self._follow(busy)
            if now - busy.started > timeout:
                self._ask(busy, "timeout", f"took longer than {timeout:g} s")
            if busy.asked and now - busy.asked_at > _GRACE:
                busy.running.kill()

    def _free_workers(self) -> list[Busy]:
        """The attempts that have ended; their workers are free for others."""
        ended = [busy for busy in self._busy if busy.running.exit_code is not None]
        for busy in ended:
            self._busy.remove(busy)
            self._free.append(busy.slot)
        return ended

    def _settle(self, ended: Sequence[Busy]) -> None:
        """Write down what attempts came to; each may have to be tried again."""
        for busy in ended:
            self._follow(busy)
            self._settle_one(busy)
            self._dry = False

    def _follow(self, busy: Busy) -> None:
        first = self._objectives[0]
        threshold = self._loaded.config.prune.gradient_at_cue
        for name, value, step in busy.follower.news():
            if name == first.metric and len(self._objectives) == 1 and step not in busy.reported:
                busy.reported.add(step)
                if self._ledger.report(busy.claim, step, value):
                    self._ask(busy, "prune", f"{self._loaded.config.pruner.name}: {name} is {value:.4g} at step {step}")
        if threshold is not None and not busy.asked:
            at_cue = [
                value
                for name, value in busy.follower.latest.items()
                if name.count("/") == 2 and name.endswith("/at_cue")
            ]
            if at_cue and max(at_cue) < math.log10(threshold):
                self._ask(busy, "prune", f"the gradient at the cue is 1e{max(at_cue):.1f}, below {threshold:g}")

    def _ask(self, busy: Busy, what: Literal["prune", "timeout", "stop"], why: str) -> None:
        if not busy.asked:
            busy.asked, busy.why, busy.asked_at = what, why, time.monotonic()
            busy.running.ask_to_stop(why)

    def _ask_all(self, what: Literal["stop"], why: str) -> None:
        for busy in self._busy:
            self._ask(busy, what, why)

    def _settle_one(self, busy: Busy) -> None:
        claim, ledger = busy.claim, self._ledger
        path = Path(busy.work.folder) / "result.json"
        result = Result.read(path) if path.exists() else None
        follower = busy.follower
        curves = dict(result.curves) if result else {}
        outcome = Outcome(
            metrics={**follower.latest, **(result.metrics if result else {})},
            curves={name: (list(steps), list(values)) for name, (steps, values) in curves.items()},
            history=follower.history(curves),
            steps=result.steps if result else follower.step,
            seconds=time.monotonic() - busy.started,
        )
        if result is not None and result.status == "FINISHED":
            values = [_value(objective, outcome, follower) for objective in self._objectives]
            lacking = [each.metric for each, value in zip(self._objectives, values, strict=True) if value is None]
            if lacking:
                self._fail(busy, "failed", f"it recorded no {', '.join(lacking)}", outcome)
            else:
                ledger.complete(claim, [value for value in values if value is not None], outcome)
                shown = ", ".join(
                    f"{each.metric} {value:.4g}" for each, value in zip(self._objectives, values, strict=True)
                )
                self._watch.ended(busy.work.name, "complete", shown)
        elif result is not None and result.status == "FAILED":
            kind: End = "diverged" if result.error == "Diverged" else "failed"
            reason = result.reason
            if result.error in _MEMORY or "alloc" in reason:
                reason = f"out of memory: {reason}"
            self._fail(busy, kind, reason, outcome)
        elif busy.asked == "prune":
            ledger.prune(claim, busy.why, outcome)
            self._watch.ended(busy.work.name, "pruned", busy.why)
        elif busy.asked == "timeout":
            self._fail(busy, "timeout", busy.why, outcome)
        elif busy.asked == "stop":
            self._fail(busy, "stopped", busy.why, outcome)
        else:
            self._fail(busy, "lost", result.reason if result else _how_it_ended(busy.running.exit_code), outcome)

    def _fail(self, busy: Busy, kind: End, reason: str, outcome: Outcome) -> None:
        self._ledger.fail(busy.claim, kind, reason, outcome)
        self._watch.ended(busy.work.name, kind, reason)

    def _take_over(self) -> None:
        """Give up what belongs to drivers that are gone, so that it is tried again."""
        mine = {busy.claim.number for busy in self._busy}
        running = [tries[-1] for tries in self._attempts.values() if tries[-1].state == "RUNNING"]
        others = [attempt for attempt in running if attempt.trial.number not in mine]
        drivers = self._ledger.drivers() if others else {}
        for attempt in others:
            if self._is_gone(attempt, drivers):
                self._ledger.give_up(attempt)

    def _is_gone(self, attempt: Attempt, drivers: Mapping[str, Mapping[str, object]]) -> bool:
        work = attempt.work
        if work is None:  # its driver died, or is just about to say where it works
            return self._ledger.silent(f"trial {attempt.trial.number}", None)
        record = drivers.get(work.owner, {})
        if work.host == self._host:  # the kernel knows; a trial may outlive its driver by as long as it takes to save
            return not is_alive(record) and not is_held(Path(work.folder))
        return self._ledger.silent(work.owner, record.get("at")) if record else True

    def _bury(self) -> None:
        """Forget the drivers of this machine that have died without a word."""
        for driver, record in self._ledger.drivers().items():
            if record.get("host") == self._host and not is_alive(record):
                Path(str(record["lock"])).unlink(missing_ok=True)
                self._ledger.beat(driver, {})

    def _anything_left(self) -> bool:
        """Whether there is work for us, or somebody else works on something that could yet be left to us."""
        self._look()
        return any(
            tries[-1].state in ("RUNNING", "WAITING") or is_left(tries, self._ledger.retries)
            for tries in self._attempts.values()
        )


def _value(objective: ObjectiveConfig, outcome: Outcome, follower: Follower) -> float | None:
    if objective.at == "best" and objective.metric in follower.best:
        return follower.best[objective.metric][objective.direction == "maximize"]
    return outcome.metrics.get(objective.metric)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        import signal

        memory = " (out of memory, or killed by somebody)" if code == -signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{memory}"
    return f"its process ended with exit code {code} before it could say why"
