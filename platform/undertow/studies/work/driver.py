"""The driver: keeps every slot busy with trials from the ledger, and records how each trial ended.

    counts = Driver(loaded, ledger, executor, home, slots, parent=uuid, tags=tags, watch=view).run(stop)

Replicates of one combination may be trained side by side: the trials of a pack share a slot and a process, which is
started once, but each is taken, followed and recorded as one alone. One that has ended is recorded while the others of
its pack go on.

All its state is in the ledger: if it is killed, the next driver continues with the combinations that are left. Several
drivers may work on one study. It has one thread, which never waits long for a trial, a database or a network.
"""

import math
import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from undertow._system.lock import FileLock
from undertow._system.stopping import StopRequest
from undertow.config.schema import ExperimentConfig
from undertow.config.space import Combination, written
from undertow.errors import RequestError
from undertow.runs.result import OUT_OF_MEMORY, Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.plan.packs import Packs
from undertow.studies.store.counts import Counts, count
from undertow.studies.store.heartbeat import Changes
from undertow.studies.store.ledger import Claim, Ledger
from undertow.studies.store.trial import Assignment, EndKind, Outcome, Trial, state_of
from undertow.studies.work.active_trial import ActiveTrial, BusySlot, failure_reason
from undertow.studies.work.executor import Executor
from undertow.studies.work.follow import Follower
from undertow.studies.work.job import Job
from undertow.studies.work.liveness import is_alive, is_held, machine
from undertow.studies.work.slots import Slot
from undertow.tracking import RunFolder, tracking_uri

_WAIT_SECONDS = 0.2
_HEARTBEAT_SECONDS = 10.0
_REFRESH_SECONDS = 1.0  # between two reads of what the other drivers do
_SAVE_SECONDS = 30.0  # that a trial has to save its state after it was asked to stop


class ProgressView(Protocol):
    """Shows the progress of a study."""

    def show(self, counts: Counts, active: Sequence[ActiveTrial], seconds: float) -> None:
        """Show the progress, `seconds` after this driver began; called several times a second."""
        ...

    def ended(self, name: str, state: str, reason: str) -> None:
        """Show that a trial has ended."""
        ...


class Driver:
    """Runs the trials of one study in the slots of this machine.

    Args:
        loaded: The study.
        ledger: Its ledger.
        executor: Where trials run.
        home: Where run folders are.
        slots: The slots of this machine.
        packs: Which trials are trained side by side; none are when None.
        parent: The uuid of the study's own run.
        tags: Tags for every run.
        watch: Shows the progress.
        limit: Trials to start at most; None for all that are left.
        allow_changed_code: Continue runs whose data have changed since their start.
        meanwhile: Work in pieces of less than a second, done one by one while the last trials run.
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
        watch: ProgressView,
        packs: Packs | None = None,
        limit: int | None = None,
        allow_changed_code: bool = False,
        meanwhile: Iterator[object] | None = None,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._loaded = loaded
        self._ledger = ledger
        self._executor = executor
        self._home = home
        self._free_slots = list(slots)
        self._busy_slots: list[BusySlot] = []
        self._packs = packs or Packs(loaded, len(slots))
        self._parent = parent
        self._tags = tags
        self._view = watch
        self._limit = limit
        self._allow_changed_code = allow_changed_code
        self._meanwhile = meanwhile or iter(())
        self._active: list[ActiveTrial] = []
        self._host = machine()
        self._lock = FileLock(home / f".driver-{self.id}.lock")
        self._trials: Mapping[str, Sequence[Trial]] = {}
        self._changes = Changes()
        self._counts: Counts
        self._next_heartbeat = self._next_refresh = 0.0
        self._queue_empty = False
        self._objectives = loaded.config.objectives
        self._started = time.monotonic()

    def run(self, stop: StopRequest) -> Counts:
        """Run trials until none is left, or until asked to stop.

        Args:
            stop: Read several times a second; the second Ctrl-C kills the trials.

        Returns:
            The combinations by state at the end.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with self._lock.held():
            try:
                self._remove_dead_drivers()
                return self._run(stop)
            except BaseException as error:
                for busy in self._busy_slots:
                    busy.running.kill()
                if isinstance(error, KeyboardInterrupt):
                    self._wait(5.0)
                    self._request_stop_of_all("the second Ctrl-C")
                    self._record_ends(self._free_ended_slots())
                raise
            finally:
                try:
                    self._ledger.heartbeat(self.id, {})
                finally:
                    self._lock.path.unlink(missing_ok=True)

    def _run(self, stop: StopRequest) -> Counts:
        stops = self._ledger.stops
        budget = self._loaded.config.time_budget or math.inf
        while True:
            self._synchronize(stops, stop)
            closing = stop.reason is not None or time.monotonic() - self._started > budget or self._limit == 0
            self._check_active()
            if stop.reason is not None:  # also trials that have ended by then: the same signal may have stopped them
                self._request_stop_of_all(stop.reason)
            ended = self._free_ended_slots()
            if self._loaded.config.search:  # the sampler uses the results of the trials that have ended
                self._record_ends(ended)
                ended = []
            if not closing:
                self._fill_slots()
            self._record_ends(ended)
            self._view.show(self._counts, self._active, time.monotonic() - self._started)
            if not self._busy_slots and (closing or (self._queue_empty and not self._anything_left())):
                self._refresh()
                return self._counts
            if not closing and self._near_the_end():
                next(self._meanwhile, None)
            if closing or self._queue_empty or not self._free_slots:  # else fill the free slots at once
                self._wait(_WAIT_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Wait until a process has ended, or the time is over."""
        self._executor.wait([busy.running for busy in self._busy_slots], seconds)

    def _synchronize(self, stops: int, stop: StopRequest) -> None:
        """Write the heartbeat, read the ledger, and take over the trials of dead drivers."""
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + _HEARTBEAT_SECONDS
            self._ledger.heartbeat(
                self.id, {"host": self._host, "pid": os.getpid(), "lock": str(self._lock.path), "at": time.time()}
            )
        if now >= self._next_refresh:
            self._next_refresh = now + _REFRESH_SECONDS
            if self._ledger.stops != stops and stop.reason is None:
                stop.reason = "`undertow study stop`"
            self._refresh()
            self._abandon_trials_of_dead_drivers()
            if stop.reason is None:
                # while the slots are busy, so that no free slot waits for it
                self._ledger.plan(self._packs.size, self._trials)
            self._queue_empty = False  # other drivers may have left trials, or put some into the queue

    def _refresh(self) -> None:
        self._trials = self._ledger.trials()
        self._counts = count(self._trials, self._ledger.total, self._ledger.retries, self._objectives[0].direction)

    def _near_the_end(self) -> bool:
        """Whether no trial is left to start, and one has half of its steps behind it."""
        started = self._counts.settled + self._counts.states.get("running", 0)
        half = any(2 * active.follower.step >= active.max_steps for active in self._active)
        return started == self._counts.total and half

    def _fill_slots(self) -> None:
        """Start a trial or a pack in every free slot, as long as there are trials."""
        if self._queue_empty:
            return
        while self._free_slots and self._limit != 0:
            claims = self._ledger.take(self._most)
            if not claims and self._ledger.plan(self._packs.size):
                claims = self._ledger.take(self._most)
            if not claims:  # what is in the queue waits until a pack has ended
                self._queue_empty = True
                return
            self._start(claims)

    def _most(self, combination: Combination) -> int:
        """How many replicates of a combination may be started together, and still be."""
        most = self._packs.most(combination)
        return most if self._limit is None else min(most, self._limit)

    def _start(self, claims: Sequence[Claim]) -> None:
        """Start a trial or a pack; a trial whose configuration cannot be resolved fails and is not retried."""
        resolved: list[tuple[Claim, ExperimentConfig, str]] = []
        for claim in claims:
            try:
                config = self._loaded.experiment(claim.params)
                resolved.append((claim, config, tracking_uri(self._home, config.track.uri)))
            except RequestError as error:
                self._ledger.fail(claim, "invalid", str(error), Outcome())
                self._view.ended(str(claim.combination), "invalid", str(error))
        # What is left of a pack goes on as a pack, for the same rounding: also a single replicate.
        packed = len(resolved) > 1 or any(claim.previous and claim.previous.pack for claim, _, _ in resolved)
        pack = uuid.uuid4().hex[:12] if packed else ""
        started: list[tuple[Claim, Assignment, Job]] = []
        for claim, config, uri in resolved:
            assignment = self._assignment(claim, config, pack)
            if self._ledger.assign(claim, assignment):
                started.append((claim, assignment, self._job(claim, assignment, config, uri)))
        if self._limit is not None:
            self._limit -= len(started)
        if started:
            self._launch(started)

    def _assignment(self, claim: Claim, config: ExperimentConfig, pack: str) -> Assignment:
        """Where a trial runs: in the run folder of the trial before it, if that is in this home, which is shipped."""
        previous = claim.previous
        if previous is not None and previous.host == self._host:
            folder = Path(previous.folder)
            if folder.parent == self._home.absolute() and (folder / "run.json").is_file():
                return Assignment(self.id, self._host, previous.folder, previous.run, previous.name, pack)
        run = uuid.uuid4().hex
        sample = claim.combination.sample
        name = config.run_name + (f"-{sample}" if sample else "")
        return Assignment(self.id, self._host, str(RunFolder.place(self._home, name, run)), run, name, pack)

    def _job(self, claim: Claim, assignment: Assignment, config: ExperimentConfig, uri: str) -> Job:
        slot = self._free_slots[-1]
        folder = Path(assignment.folder)
        (folder / "result.json").unlink(missing_ok=True)  # it may be that of the trial before
        return Job(
            home=self._home,
            study=RunFolder.place(self._home, self._loaded.name, self._parent),
            folder=folder if (folder / "run.json").is_file() else None,
            run=assignment.run,
            parent=self._parent,
            uri=uri,
            config=config.model_copy(update={"track": config.track.model_copy(update={"run_name": assignment.name})}),
            plugins=[plugin for plugin in self._loaded.registry.plugins if not plugin.scratch],
            tags={
                **self._tags,
                "undertow.seed": str(config.seed),
                "undertow.study": self._ledger.name,
                "undertow.trial": str(claim.number),
                **{f"undertow.factor.{key}": str(written(value)) for key, value in claim.params.items()},
            },
            params={"case": str(claim.params["case"])} if "case" in claim.params else {},
            threads=config.train.threads or slot.threads,
            gpus=slot.gpus,
            gpu_share=slot.gpu_share,
            memory=self._loaded.config.memory_per_trial,
            allow_changed_code=self._allow_changed_code,
            pack=assignment.pack,
        )

    def _launch(self, started: Sequence[tuple[Claim, Assignment, Job]]) -> None:
        slot = self._free_slots.pop()
        running = self._executor.launch([job for _, _, job in started])
        self._busy_slots.append(BusySlot(slot, running))
        now = time.monotonic()
        for claim, assignment, job in started:
            follower = Follower(Path(assignment.folder) / "outbox.jsonl")
            self._active.append(
                ActiveTrial(claim, assignment, running, follower, now, job.config.train.max_steps, len(started))
            )

    def _check_active(self) -> None:
        """Read what the trials have recorded, and stop those that must end."""
        timeout = self._loaded.config.trial_timeout or math.inf
        now = time.monotonic()
        for active in self._active:
            self._follow(active)
            if now - active.started > timeout * active.together:
                of = f", {timeout:g} s for each of {active.together} side by side" if active.together > 1 else ""
                active.request_stop("timeout", f"took longer than {timeout * active.together:g} s{of}")
            if active.stop_cause and now - active.stopped_at > _SAVE_SECONDS:
                active.running.kill()
        for busy in self._busy_slots:
            if busy.idle_at is not None and now - busy.idle_at > _SAVE_SECONDS:
                busy.running.kill()

    def _free_ended_slots(self) -> list[ActiveTrial]:
        """The trials that have ended; the slots whose process has ended are free."""
        ended = [active for active in self._active if active.has_ended]
        self._active = [active for active in self._active if active not in ended]
        at_work = [active.running for active in self._active]
        for busy in list(self._busy_slots):
            if busy.running in at_work:
                continue
            if busy.running.exit_code is not None:
                self._busy_slots.remove(busy)
                self._free_slots.append(busy.slot)
            elif busy.idle_at is None:
                busy.idle_at = time.monotonic()
        return ended

    def _follow(self, active: ActiveTrial) -> None:
        """Report new values of the objective to the pruner, and stop a trial that is to be pruned."""
        first = self._objectives[0]
        for name, value, step in active.follower.new_scalars():
            if name == first.metric and len(self._objectives) == 1 and step not in active.reported:
                active.reported.add(step)
                if self._ledger.report(active.claim, step, value):
                    pruner = self._loaded.config.pruner.name
                    active.request_stop("prune", f"{pruner}: {name} is {value:.4g} at step {step}")
        threshold = self._loaded.config.prune.gradient_at_cue
        if threshold is not None and not active.stop_cause:
            at_cue = active.follower.latest.get("gradient/input/at_cue")
            if at_cue is not None and at_cue < math.log10(threshold):
                reason = f"the gradient at the cue is 1e{at_cue:.1f} of that at lag 1, below {threshold:g}"
                active.request_stop("prune", reason)

    def _request_stop_of_all(self, reason: str) -> None:
        for active in self._active:
            active.request_stop("stop", reason)

    def _record_ends(self, ended: Sequence[ActiveTrial]) -> None:
        """Record how trials ended; each may have to be retried."""
        for active in ended:
            self._follow(active)
            death = active.death
            try:
                result = Result.read(active.result) if active.result.exists() else None
            except (RequestError, OSError) as error:  # one damaged file must not end the study
                result, death = None, f"its process has ended, but what it wrote is lost: {error}"
            if active.assignment.pack and active.follower.alone:
                self._ledger.note_alone(active.claim, active.follower.alone)
            self._record_end(active, result, active.outcome(result), death)
            self._queue_empty = False

    def _record_end(self, active: ActiveTrial, result: Result | None, outcome: Outcome, death: str) -> None:
        memory = self._loaded.config.memory_per_trial
        if result is not None and result.status == "FINISHED":
            self._complete(active, outcome)
        elif result is not None and result.status == "FAILED":
            kind: EndKind = "diverged" if result.error == "Diverged" else "failed"
            self._fail(active, kind, failure_reason(result) + active.memory_remedy(result.error, memory), outcome)
        elif active.stop_cause == "prune":
            self._ledger.prune(active.claim, active.stop_reason, outcome)
            self._view.ended(active.assignment.name, "pruned", active.stop_reason)
        elif active.stop_cause == "timeout":
            self._fail(active, "timeout", active.stop_reason, outcome)
        elif active.stop_cause == "stop":
            self._fail(active, "stopped", active.stop_reason, outcome)
        else:
            reason = (result.reason if result else "") or death
            killed = result is None and active.running.exit_code == -signal.SIGKILL
            remedy = active.memory_remedy(OUT_OF_MEMORY, memory) if killed else ""
            self._fail(active, "lost", reason + remedy, outcome)

    def _complete(self, active: ActiveTrial, outcome: Outcome) -> None:
        """Record a complete trial; one that lacks an objective has failed."""
        values = [(each.metric, active.objective_value(each, outcome)) for each in self._objectives]
        found = [(metric, value) for metric, value in values if value is not None]
        if missing := [metric for metric, value in values if value is None]:
            self._fail(active, "failed", f"it recorded no {', '.join(missing)}", outcome)
            return
        self._ledger.complete(active.claim, [value for _, value in found], outcome)
        shown = ", ".join(f"{metric} {value:.4g}" for metric, value in found)
        self._view.ended(active.assignment.name, "complete", shown)

    def _fail(self, active: ActiveTrial, kind: EndKind, reason: str, outcome: Outcome) -> None:
        self._ledger.fail(active.claim, kind, reason, outcome)
        self._view.ended(active.assignment.name, kind, reason)

    def _abandon_trials_of_dead_drivers(self) -> None:
        """Mark the trials of dead drivers as abandoned, so that they are retried."""
        mine = {active.claim.number for active in self._active}
        running = [trials[-1] for trials in self._trials.values() if trials[-1].optuna_state == "RUNNING"]
        others = [trial for trial in running if trial.optuna.number not in mine]
        drivers = self._ledger.drivers() if others else {}
        for trial in others:
            if self._is_dead(trial, drivers):
                self._ledger.abandon(trial)

    def _is_dead(self, trial: Trial, drivers: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether no process runs a trial any more."""
        assignment = trial.assignment
        if assignment is None:  # its driver died, or is about to assign it
            return self._changes.is_stale(f"trial {trial.optuna.number}", None)
        record = drivers.get(assignment.owner, {})
        if assignment.host == self._host:  # a trial may outlive its driver by the time that it takes to save its state
            return not is_alive(record) and not is_held(Path(assignment.folder))
        return self._changes.is_stale(assignment.owner, record.get("at")) if record else True

    def _remove_dead_drivers(self) -> None:
        """Remove the locks and heartbeats of dead drivers of this machine."""
        for driver, record in self._ledger.drivers().items():
            if record.get("host") == self._host and not is_alive(record):
                Path(str(record["lock"])).unlink(missing_ok=True)
                self._ledger.heartbeat(driver, {})

    def _anything_left(self) -> bool:
        """Whether a trial is due, or another driver has one that may have to be retried."""
        self._refresh()
        states = {state_of(trials, self._ledger.retries) for trials in self._trials.values()}
        return bool(states & {"running", "waiting", "stopped"})
