"""The ledger: Optuna's database, the only record of which combination is taken and what came of it.

    ledger = Ledger.open(url, loaded, facts)
    ledger.plan()                                  # puts missing combinations into the queue
    while claim := ledger.claim(work):             # takes one out of it, atomically
        ...
        ledger.complete(claim, values, outcome)

Every combination has a key, and every attempt at it is a trial of Optuna's with that key and a count. Two drivers may
put the same attempt into the queue at the same moment; the database numbers them, and only the one with the lowest
number ever runs. What a dead driver left RUNNING is failed as `abandoned` by whoever notices, and tried again. So each
combination is done once, whatever dies, and no driver needs to know of another.

The queue is kept short: Optuna reads all of it whenever it takes one out.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from undertow._system.redact import redacted
from undertow.config.space import Combination, Params, Range, Scalar, Space
from undertow.errors import RequestError, did_you_mean
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.plan.sampling import make_pruner, make_sampler
from undertow.studies.store.attempt import ATTEMPT, END, KEY, WORK, Attempt, End, Work, by_key, is_left
from undertow.studies.store.identity import (
    ABOUT,
    refuse_another,
    snapshot,
    space_of,
    stored_snapshot,
    wait_for_snapshot,
)
from undertow.studies.store.storage import open_storage, with_retries

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

RESULT = "undertow.result"
DRIVER = "undertow.driver."
"""Begins the attribute of a study in which a driver says that it lives."""
SILENCE = 60.0
"""Seconds without a beat after which a driver on another machine is taken for dead."""

_STOPS = "undertow.stops"

_QUEUE = 16


@dataclass(frozen=True)
class Outcome:
    """What an attempt recorded, as `undertow.studies.store.results` reads it back.

    Attributes:
        metrics: The latest value of every scalar.
        curves: The final curves: steps of the axis, and values.
        history: Earlier values of these curves, by training step.
        steps: Training steps done.
        seconds: Wall time of this attempt.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    history: Mapping[str, Mapping[int, list[float]]] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Claim:
    """An attempt that this driver has taken.

    Attributes:
        number: Optuna's number of the trial.
        combination: What to run.
        params: The varied and the searched values.
        attempt: Counts from 0.
        work: Who works on it, and where.
    """

    number: int
    combination: Combination
    params: Params
    attempt: int
    work: Work
    trial: "Trial" = field(repr=False, compare=False)


class Ledger:
    """One study in the database; made by `open` or `find`."""

    def __init__(self, storage: "BaseStorage", study: "Study", space: Space, retries: int = 0) -> None:
        self.study = study
        self.space = space
        self.retries = retries
        self._storage = storage
        self._id = storage.get_study_id_from_name(study.study_name)
        self._seen: dict[str, tuple[object, float]] = {}

    @classmethod
    def open(cls, url: str, loaded: LoadedStudy, about: Mapping[str, Any]) -> "Ledger":
        """Create the study, or go on with it.

        Args:
            url: The database.
            loaded: The study.
            about: More to be kept with it, when it is new: the parent run's uuid, versions.

        Raises:
            RequestError: The database cannot be opened, or its study of this name is another one.
        """
        import optuna

        config = loaded.config
        make_sampler(config.sampler, seed=0)  # refused, if it must be, before anything is written
        pruner = make_pruner(config.pruner)
        storage = open_storage(url)
        name = loaded.name
        try:
            study = with_retries(
                optuna.create_study,
                storage=storage,
                study_name=name,
                directions=[each.direction for each in config.objectives],
            )
        except optuna.exceptions.DuplicatedStudyError:
            study = with_retries(optuna.load_study, storage=storage, study_name=name)
            wait_for_snapshot(study)
        known = stored_snapshot(study)
        if known is None:  # new, or its creator died before it could say
            known = {**about, **snapshot(loaded)}
            with_retries(study.set_user_attr, ABOUT, known)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # marked experimental; without it the dashboard says "Objective 0"
                with_retries(study.set_metric_names, [each.metric for each in config.objectives])
        else:
            refuse_another(name, known["config"], loaded.yaml())
            if any(known[key] != value for key, value in snapshot(loaded).items()):  # more samples, another file name
                with_retries(study.set_user_attr, ABOUT, {**known, **snapshot(loaded)})
        ledger = cls(storage, study, loaded.space, config.retries)
        trials = storage.get_all_trials(ledger._id, deepcopy=False)
        study.sampler = make_sampler(config.sampler, len(trials)) if config.search else optuna.samplers.RandomSampler()
        study.pruner = pruner
        return ledger

    @classmethod
    def find(cls, url: str, name: str) -> "Ledger":
        """Open a study that is there, to look at it.

        Raises:
            RequestError: There is no such database or study; the message names what there is.
        """
        import optuna

        storage = open_storage(url, create=False)
        try:
            study = with_retries(optuna.load_study, storage=storage, study_name=name)
        except KeyError:
            known = [each.study_name for each in storage.get_all_studies()]
            raise RequestError(f"there is no study `{name}` in {redacted(url)}.{did_you_mean(name, known)}") from None
        about = stored_snapshot(study)
        if about is None:
            raise RequestError(f"`{name}` in {redacted(url)} is a study of Optuna's, but not one of Undertow's")
        return cls(storage, study, space_of(about))

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.study_name

    @cached_property
    def total(self) -> int:
        """How many combinations there are."""
        return sum(1 for _ in self.space.points()) * self.space.samples

    @property
    def about(self) -> dict[str, Any]:
        """What is kept with the study: configuration, space, the parent run's uuid, versions."""
        known = stored_snapshot(self.study)
        assert known is not None
        return known

    def attempts(self) -> dict[str, list[Attempt]]:
        """Every attempt by the key of its combination, in their order; duplicates that never ran are left out."""
        return by_key(with_retries(self._storage.get_all_trials, self._id, deepcopy=False))

    def plan(self) -> int:
        """Put combinations that are missing into the queue, until it is long enough.

        Returns:
            How many now wait there.
        """
        attempts = self.attempts()
        waiting = sum(tries[-1].state == "WAITING" for tries in attempts.values())
        if waiting > _QUEUE // 2:
            return waiting
        for combination in self.space.combinations():
            if waiting >= _QUEUE:
                break
            tries = attempts.get(combination.key, [])
            if is_left(tries, self.retries):
                self._enqueue(combination, tries)
                waiting += 1
        return waiting

    def retry(self) -> int:
        """Give every combination that has failed for good another attempt; how many there were."""
        failed = [
            (key, tries)
            for key, tries in self.attempts().items()
            if tries[-1].state == "FAIL" and not is_left(tries, self.retries)
        ]
        for key, tries in failed:
            self._enqueue(combination_of(key), tries)
        return len(failed)

    def claim(self, work: Callable[[Combination, Params, Work | None], Work]) -> Claim | None:
        """Take an attempt out of the queue.

        Args:
            work: Says who will work on a combination and where; it gets what the attempt before it said.

        Returns:
            The attempt; None when nothing waits.
        """
        import optuna
        from optuna.trial import TrialState

        trials = with_retries(self._storage.get_all_trials, self._id, deepcopy=False)
        for frozen in [each for each in trials if each.state == TrialState.WAITING and KEY in each.user_attrs]:
            number = frozen._trial_id
            if not self._take(number):
                continue
            key, attempt = frozen.user_attrs[KEY], frozen.user_attrs.get(ATTEMPT, 0)
            # The database numbers in order: all that came before are here.
            tries = by_key(each for each in trials if each.user_attrs.get(KEY) == key)[key]
            if not any(each.trial.number == frozen.number for each in tries):
                self._fail(number, "duplicate", "the same attempt was already in the queue")
                continue
            trial = with_retries(optuna.Trial, self.study, number)
            combination = combination_of(key)
            params = self._sampled(trial, dict(frozen.params))
            before = next((each.work for each in reversed(tries) if each.count < attempt), None)
            said = work(combination, params, before)
            with_retries(trial.set_user_attr, WORK, asdict(said))
            return Claim(frozen.number, combination, params, attempt, said, trial)
        return None

    def report(self, claim: Claim, step: int, value: float) -> bool:
        """Note an intermediate value of the objective; whether the pruner would end the run here."""
        try:
            with_retries(claim.trial.report, value, step)
        except Exception as error:  # noqa: BLE001  (only one kind of it passes)
            _expect_finished(error)
            return False
        return with_retries(claim.trial.should_prune)

    def complete(self, claim: Claim, values: Sequence[float], outcome: Outcome) -> bool:
        """Note the result; False if somebody had given the attempt up for lost."""
        return self._finish(claim, "COMPLETE", values, outcome)

    def prune(self, claim: Claim, reason: str, outcome: Outcome) -> bool:
        """Note that the run was pruned, and why."""
        with_retries(claim.trial.set_user_attr, END, {"kind": "pruned", "reason": reason})
        return self._finish(claim, "PRUNED", None, outcome)

    def fail(self, claim: Claim, kind: End, reason: str, outcome: Outcome) -> bool:
        """Note an end without a result."""
        try:
            with_retries(claim.trial.set_user_attr, RESULT, asdict(outcome))
        except Exception as error:  # noqa: BLE001  (only one kind of it passes)
            _expect_finished(error)
            return False
        return self._fail(claim.trial._trial_id, kind, reason)

    def give_up(self, attempt: Attempt) -> bool:
        """Note that nobody works on an attempt any more; False if it has ended in some other way."""
        return self._fail(attempt.trial._trial_id, "abandoned", "its driver died")

    def beat(self, driver: str, record: Mapping[str, Any]) -> None:
        """Say that a driver lives."""
        with_retries(self.study.set_user_attr, DRIVER + driver, dict(record))

    def drivers(self) -> dict[str, dict[str, Any]]:
        """What each driver last said, by its id; an empty record is one that has left."""
        attrs = with_retries(getattr, self.study, "user_attrs")
        return {key.removeprefix(DRIVER): value for key, value in attrs.items() if key.startswith(DRIVER)}

    def silent(self, what: str, said: object) -> bool:
        """Whether this has been said without a change for longer than any living driver would leave it.

        It goes by this machine's own clock, from when this process first heard it.
        """
        now = time.monotonic()
        if self._seen.get(what, (None, 0.0))[0] != said or what not in self._seen:
            self._seen[what] = (said, now)
        return now - self._seen[what][1] > SILENCE

    @property
    def stops(self) -> int:
        """How often this study was asked to stop."""
        return int(with_retries(getattr, self.study, "user_attrs").get(_STOPS, 0))

    def ask_to_stop(self) -> None:
        """Have every driver that is at work now stop."""
        count = self.stops + 1
        with_retries(self.study.set_user_attr, _STOPS, count)

    def _take(self, trial_id: int) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            return with_retries(self._storage.set_trial_state_values, trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def _enqueue(self, combination: Combination, tries: Sequence[Attempt]) -> None:
        from optuna.trial import TrialState, create_trial

        params: dict[str, Scalar] = dict(combination.params)
        distributions = {key: self._varied(key) for key in params}
        count = 0
        if tries:  # the same values as before, the searched ones included
            last = tries[-1]
            params, distributions = dict(last.trial.params), dict(last.trial.distributions)
            count = last.count + 1
        trial = create_trial(
            state=TrialState.WAITING,
            params=params,
            distributions=distributions,
            user_attrs={KEY: combination.key, ATTEMPT: count},
        )
        with_retries(self.study.add_trial, trial)

    def _varied(self, key: str) -> "BaseDistribution":
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.space.vary[key])

    def _sampled(self, trial: "Trial", params: dict[str, Scalar]) -> dict[str, Scalar]:
        """Have the sampler choose what is not there yet; one choice may decide what else there is to choose."""
        while missing := self.space.searched_at(params):
            for key, each in missing.items():
                params[key] = with_retries(_suggest, trial, key, each)
        return params

    def _finish(self, claim: Claim, state: str, values: Sequence[float] | None, outcome: Outcome) -> bool:
        from optuna.trial import TrialState

        try:
            with_retries(claim.trial.set_user_attr, RESULT, asdict(outcome))
            # Done twice when the answer to the first was lost: then it has ended, and as it should.
            told = with_retries(self.study.tell, claim.number, values, state=TrialState[state], skip_if_finished=True)
        except Exception as error:  # noqa: BLE001  (only one kind of it passes)
            _expect_finished(error)
            return False
        return told.state.name == state

    def _fail(self, trial_id: int, kind: End, reason: str) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            with_retries(self._storage.set_trial_user_attr, trial_id, END, {"kind": kind, "reason": reason[:2000]})
            return with_retries(self._storage.set_trial_state_values, trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False


def _expect_finished(error: Exception) -> None:
    """Pass over an attempt that somebody else has ended: it was taken for lost. Anything else is a fault."""
    from optuna.exceptions import UpdateFinishedTrialError

    if not isinstance(error, UpdateFinishedTrialError):
        raise error


def _suggest(trial: "Trial", key: str, each: Range) -> Scalar:
    if each.choices:
        return trial.suggest_categorical(key, each.choices)
    low, high = each.low, each.high
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int) and not isinstance(each.step, float):
        return trial.suggest_int(key, low, high, step=int(each.step or 1), log=each.log)
    return trial.suggest_float(key, low, high, step=each.step, log=each.log)


def combination_of(key: str) -> Combination:
    """The combination that has this key."""
    params, sample = json.loads(key)
    return Combination(params, sample)
