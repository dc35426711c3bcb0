"""The ledger: Optuna's database, the only record of which combinations are taken and of their results.

    ledger = Ledger.open(url, loaded, facts)
    ledger.plan()                                  # puts missing combinations into the queue
    while claims := ledger.take():                 # takes one out of it, or some replicates; each atomically
        ledger.assign(claims[0], assignment)       # records where it runs
        ...
        ledger.complete(claims[0], values, outcome)

Every combination has a key, and each of its trials is a trial of Optuna's with that key and a count. Two drivers may
put the same trial into the queue at the same moment; the database numbers them, and only the one with the lowest
number runs. A trial that a dead driver left RUNNING is failed as `abandoned` by any driver that sees it, and retried.
So each combination is completed once, whichever process dies, and the drivers need not communicate.

A study that is continued with other values of `vary` or `cases` grows or shrinks, while no driver works on it. The
ledger then shows the combinations that the study has now; the trials of all others stay in the database.

The queue is kept short: Optuna reads all of it whenever a trial is taken out. It holds whole packs: replicates that can
be trained side by side are put into it together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from undertow.config.space import Combination, Params, Scalar, Value, choice_of
from undertow.errors import RequestError, UndertowError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.plan.sampling import make_pruner, make_sampler, suggest
from undertow.studies.store.heartbeat import DRIVER, is_running
from undertow.studies.store.identity import choices_of, space_of, stored_snapshot, values_of
from undertow.studies.store.opening import find_study, open_study
from undertow.studies.store.storage import quiet_optuna, with_retries
from undertow.studies.store.trial import (
    ALONE,
    ASSIGNMENT,
    ATTEMPT,
    END,
    KEY,
    RESULT,
    Assignment,
    EndKind,
    Outcome,
    Trial,
    needs_trial,
    state_of,
    trials_by_key,
)
from undertow.studies.work.liveness import is_held

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

P = ParamSpec("P")

_STOPS = "undertow.stops"
_QUEUE = 16


@dataclass(frozen=True)
class Claim:
    """A trial that this driver has taken.

    Attributes:
        number: Optuna's number of the trial.
        combination: What to run.
        params: The varied and the searched values.
        count: Counts the trials of the combination from 0.
        previous: Where the trial before this one ran; None for the first.
    """

    number: int
    combination: Combination
    params: Params
    count: int
    previous: Assignment | None
    trial: "optuna.Trial" = field(repr=False, compare=False)


class Ledger:
    """One study in the database, and the work on it; made by `open` or `find`.

    Attributes:
        changes: The values of `vary` and `cases` that `open` has added and removed, for the user; mostly empty.
    """

    def __init__(
        self, storage: "BaseStorage", study: "optuna.Study", snapshot: Mapping[str, Any], retries: int = 0
    ) -> None:
        self.study = study
        self.space = space_of(snapshot)
        self.retries = retries
        self.changes = ""
        self._storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)
        self._choices = choices_of(snapshot)
        self._values = values_of(snapshot)

    @classmethod
    def open(
        cls, url: str, loaded: LoadedStudy, facts: Mapping[str, Any], *, allow_changed_code: bool = False
    ) -> "Ledger":
        """Create the study, or continue it.

        Args:
            url: The database.
            loaded: The study.
            facts: More for the snapshot of a new study: the parent run's uuid as `run`, versions as `facts`.
            allow_changed_code: Continue with other plugins than those that the study was started with.

        Raises:
            RequestError: The database cannot be opened, or its study of this name has another configuration or code,
                or it would grow or shrink while a driver works on it.
        """
        import optuna

        config = loaded.config
        make_sampler(config.sampler, seed=0)  # wrong arguments are refused before anything is written
        pruner = make_pruner(config.pruner)
        opened = open_study(url, loaded, facts, allow_changed_code=allow_changed_code)
        ledger = cls(opened.storage, opened.study, opened.snapshot, config.retries)
        ledger.changes = opened.changes
        trials = opened.storage.get_all_trials(ledger._id, deepcopy=False)
        search = make_sampler(config.sampler, len(trials)) if config.search else None
        ledger.study.sampler = search or optuna.samplers.RandomSampler()
        ledger.study.pruner = pruner
        ledger._abandon_removed(trials)
        return ledger

    @classmethod
    def find(cls, url: str, name: str) -> "Ledger":
        """Open an existing study to read it.

        Raises:
            RequestError: There is no such database or study; the message names what there is.
        """
        found = find_study(url, name)
        return cls(found.storage, found.study, found.snapshot)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    def exists(self) -> bool:
        """Whether the study is still in the database, and not another one of the same name."""
        try:
            found: int = with_retries(self._storage.get_study_id_from_name, self.name)
        except KeyError:
            return False
        return found == self._id

    @contextmanager
    def deletion_named(self, home: Path) -> Iterator[None]:
        """Raise one clear error if the study is deleted from its database while the block works on it.

        Args:
            home: Where the run folders of its trials are.

        Raises:
            UndertowError: It was deleted.
        """
        try:
            yield
        except (KeyError, ValueError) as error:  # what Optuna raises for a study or a trial that it does not find
            if self.exists():
                raise
            raise UndertowError(
                f"{self.name}: the study was deleted from its database while it ran; its trials were ended. "
                f"Their run folders are still in {home}. The same command starts the study anew"
            ) from error

    @cached_property
    def total(self) -> int:
        """How many combinations there are."""
        return sum(1 for _ in self.space.points()) * self.space.samples

    @property
    def snapshot(self) -> dict[str, Any]:
        """The snapshot of the study: configuration, space, versions, the parent run's uuid."""
        stored = stored_snapshot(self.study)
        assert stored is not None
        return stored

    def trials(self) -> dict[str, list[Trial]]:
        """The trials of each combination by its key, in order.

        Duplicates, which never run, are left out, and so are trials of combinations that were removed from the study.
        """
        by_key = trials_by_key(with_retries(self._storage.get_all_trials, self._id, deepcopy=False))
        return {key: trials for key, trials in by_key.items() if key in self.space.keys}

    def plan(self, size: int = 1, trials: Mapping[str, Sequence[Trial]] | None = None) -> int:
        """Put combinations that need a trial into the queue, until it is long enough.

        Args:
            size: Replicates of a pack. Those of one are put into the queue together, in an order in which they follow
                one another, the longest sequences first; the order is that of the grid where it is 1.
            trials: What `trials` has just returned; read again when None.

        Returns:
            How many trials are in the queue.

        Raises:
            RequestError: The study has other values than when it was opened.
        """
        self._require_same_values()
        by_key = self.trials() if trials is None else trials
        queue = {key for key, each in by_key.items() if state_of(each, self.retries) == "waiting"}
        waiting = len(queue)
        short = waiting <= _QUEUE // 2
        if not short and size == 1:
            return waiting
        for pack in self._packs(size):
            # A pack that is in the queue in part is completed at once: it may be taken next.
            in_part = size > 1 and any(each.key in queue for each in pack)
            if in_part or (short and waiting < _QUEUE):
                for combination in pack:
                    before = by_key.get(combination.key, [])
                    if needs_trial(before, self.retries):
                        self._enqueue(combination, before)
                        waiting += 1
            elif size == 1:
                break
        return waiting

    def retry(self) -> int:
        """Put another trial of every failed combination into the queue; returns how many."""
        failed = [(key, trials) for key, trials in self.trials().items() if state_of(trials, self.retries) == "failed"]
        for key, trials in failed:
            self._enqueue(Combination.from_key(key), trials)
        return len(failed)

    def take(self, most: Callable[[Combination], int] = lambda combination: 1) -> list[Claim]:
        """Take a trial out of the queue, with replicates of it that wait there; `assign` has to follow for each.

        Optuna has no transaction over several trials. So each is taken by itself, as if it were the only one, and no
        two drivers get the same; a driver that takes replicates at the same moment as another may get some of them.

        The replicates of a pack that died stay together: they are taken when none of them runs any more, and without
        others, which are at other steps.

        Args:
            most: How many replicates of a combination may be taken together.

        Returns:
            The trials, replicates of one combination; none if there is none to take.
        """
        from optuna.trial import TrialState

        frozen_trials = with_retries(self._storage.get_all_trials, self._id, deepcopy=False)
        # The database numbers trials in order: all with a lower number are in the list.
        by_key = trials_by_key(frozen_trials)
        running = {_pack_of(each) for each in frozen_trials if each.state == TrialState.RUNNING} - {""}
        claims: list[Claim] = []
        found: tuple[str, str] | None = None  # which replicates are taken
        wanted = 1
        for frozen in frozen_trials:
            if frozen.state != TrialState.WAITING or frozen.user_attrs.get(KEY) not in self.space.keys:
                continue
            trials = by_key[frozen.user_attrs[KEY]]
            combination = Combination.from_key(frozen.user_attrs[KEY])
            previous = _previous(trials, frozen)
            together = combination.group, previous.pack if previous else ""
            if together[1] in running or found not in (None, together):
                continue
            if claim := self._claim(frozen, combination, trials, previous):
                if found is None:
                    found, wanted = together, most(combination)
                claims.append(claim)
                if len(claims) >= wanted:
                    break
        return claims

    def assign(self, claim: Claim, assignment: Assignment) -> bool:
        """Record where a trial runs; False if another driver has abandoned it meanwhile."""
        return self._set(claim, ASSIGNMENT, asdict(assignment))

    def note_alone(self, claim: Claim, reason: str) -> bool:
        """Record why a trial was trained one by one in its pack, before its end; False as for `assign`."""
        return self._set(claim, ALONE, reason)

    def report(self, claim: Claim, step: int, value: float) -> bool:
        """Record an intermediate value of the objective; returns whether the pruner would end the trial here."""
        return _unless_finished(claim.trial.report, value, step) and with_retries(claim.trial.should_prune)

    def complete(self, claim: Claim, values: Sequence[float], outcome: Outcome) -> bool:
        """Record the result; False if another driver has abandoned the trial meanwhile."""
        return self._finish(claim, "COMPLETE", values, outcome)

    def prune(self, claim: Claim, reason: str, outcome: Outcome) -> bool:
        """Record that the trial was pruned, and why; False as for `complete`."""
        ended = self._set(claim, END, {"kind": "pruned", "reason": reason})
        return ended and self._finish(claim, "PRUNED", None, outcome)

    def fail(self, claim: Claim, kind: EndKind, reason: str, outcome: Outcome) -> bool:
        """Record an end without a result; False as for `complete`."""
        return self._set(claim, RESULT, asdict(outcome)) and self._fail(claim.trial._trial_id, kind, reason)

    def abandon(self, trial: Trial) -> bool:
        """Record that no driver runs a trial any more; False if it has ended in some other way."""
        return self._fail(trial.optuna._trial_id, "abandoned", "its driver died")

    def heartbeat(self, driver: str, record: Mapping[str, Any]) -> None:
        """Record that a driver is alive; an empty record says that it has ended."""
        with_retries(self.study.set_user_attr, DRIVER + driver, dict(record))

    def drivers(self) -> dict[str, dict[str, Any]]:
        """The last heartbeat of each driver, by its id; empty for one that has ended."""
        attrs = with_retries(getattr, self.study, "user_attrs")
        return {key.removeprefix(DRIVER): value for key, value in attrs.items() if key.startswith(DRIVER)}

    @property
    def stops(self) -> int:
        """How many times this study was asked to stop."""
        return int(with_retries(getattr, self.study, "user_attrs").get(_STOPS, 0))

    def ask_to_stop(self) -> None:
        """Ask every driver that runs now to stop."""
        count = self.stops + 1
        with_retries(self.study.set_user_attr, _STOPS, count)

    def _claim(
        self,
        frozen: "optuna.trial.FrozenTrial",
        combination: Combination,
        trials: Sequence[Trial],
        previous: Assignment | None,
    ) -> Claim | None:
        """Take a trial that waits; None if another driver has taken it, or if it is a duplicate."""
        import optuna
        from optuna.trial import TrialState

        trial_id = frozen._trial_id
        if not _unless_finished(self._storage.set_trial_state_values, trial_id, TrialState.RUNNING):
            return None
        if not any(each.optuna.number == frozen.number for each in trials):
            self._fail(trial_id, "duplicate", "the same trial was already in the queue")
            return None
        trial = with_retries(optuna.Trial, self.study, trial_id)
        params = self._sampled(trial, {**frozen.params, **combination.params})
        return Claim(frozen.number, combination, params, frozen.user_attrs.get(ATTEMPT, 0), previous, trial)

    def _packs(self, size: int) -> Iterable[Sequence[Combination]]:
        """The combinations in the order in which they are put into the queue, those of a pack together.

        Packs with the longest sequences come first: there are few, and a long one at the end would leave slots empty.
        """
        if size == 1:
            return ([each] for each in self.space.combinations())
        groups = sorted(self.space.groups, key=lambda group: -self.space.length(group[0].params))
        return (group[first : first + size] for group in groups for first in range(0, len(group), size))

    def _enqueue(self, combination: Combination, trials: Sequence[Trial]) -> None:
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import TrialState, create_trial

        params: dict[str, Scalar] = {}
        distributions: dict[str, BaseDistribution] = {}
        count = 0
        if trials:  # a retry has the same values, the searched ones included
            last = trials[-1]
            params, distributions = dict(last.optuna.params), dict(last.optuna.distributions)
            count = last.count + 1
        params |= {key: choice_of(value) for key, value in combination.params.items()}
        distributions |= {key: CategoricalDistribution(self._choices[key]) for key in combination.params}
        trial = create_trial(
            state=TrialState.WAITING,
            params=params,
            distributions=distributions,
            user_attrs={KEY: combination.key, ATTEMPT: count},
        )
        with_retries(self.study.add_trial, trial)

    def _abandon_removed(self, trials: "Sequence[optuna.trial.FrozenTrial]") -> None:
        """Abandon trials of dead drivers whose combinations were removed from the study: no driver sees them."""
        removed = [
            Trial(trial, 0)
            for trial in trials
            if trial.state.name == "RUNNING" and trial.user_attrs.get(KEY) not in self.space.keys
        ]
        drivers = self.drivers() if removed else {}
        for trial in removed:
            assignment = trial.assignment
            if (
                assignment
                and not is_running(drivers.get(assignment.owner, {}))
                and not is_held(Path(assignment.folder))
            ):
                self.abandon(trial)

    def _require_same_values(self) -> None:
        """Raise if the study has grown or shrunk since it was opened: its driver had not recorded a heartbeat yet."""
        if values_of(self.snapshot) != self._values:
            raise RequestError(
                f"the study {self.name} was continued with other values of `vary` or `cases` just after this command "
                "began: run the same command again."
            )

    def _sampled(self, trial: "optuna.Trial", params: dict[str, Value]) -> dict[str, Value]:
        """Let the sampler choose the searched values; one choice may decide which other keys are searched."""
        while missing := self.space.searched_at(params):
            for key, each in missing.items():
                params[key] = with_retries(suggest, trial, key, each)
        return params

    def _set(self, claim: Claim, name: str, value: object) -> bool:
        """Set an attribute of a trial; False if the trial has ended."""
        return _unless_finished(self._storage.set_trial_user_attr, claim.trial._trial_id, name, value)

    def _finish(self, claim: Claim, state: str, values: Sequence[float] | None, outcome: Outcome) -> bool:
        from optuna.trial import TrialState

        if not self._set(claim, RESULT, asdict(outcome)):
            return False

        def tell() -> bool:  # a second call after a lost acknowledgement finds the state that the first one set
            told = self.study.tell(claim.number, values, state=TrialState[state], skip_if_finished=True)
            return told.state.name == state

        with quiet_optuna():
            return _unless_finished(tell)

    def _fail(self, trial_id: int, kind: EndKind, reason: str) -> bool:
        from optuna.trial import TrialState

        def fail() -> bool:
            self._storage.set_trial_user_attr(trial_id, END, {"kind": kind, "reason": reason[:2000]})
            return self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

        return _unless_finished(fail)


def _previous(trials: Sequence[Trial], frozen: "optuna.trial.FrozenTrial") -> Assignment | None:
    """Where the trial before this one ran, of the trials of its combination; None for the first."""
    count = frozen.user_attrs.get(ATTEMPT, 0)
    return next((each.assignment for each in reversed(trials) if each.count < count), None)


def _pack_of(frozen: "optuna.trial.FrozenTrial") -> str:
    """The pack that a trial is in; empty for one by itself."""
    assignment = Trial(frozen, 0).assignment
    return assignment.pack if assignment else ""


def _unless_finished(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Change a trial; False if that returns False or the trial has ended, since another driver took it for dead."""
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        return with_retries(action, *args, **kwargs) is not False
    except UpdateFinishedTrialError:
        return False
