"""The ledger and packs: replicates are taken together, each exactly once."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from undertow.config.space import Combination
from undertow.studies.status import read_status
from undertow.studies.store.ledger import _QUEUE, Claim, Ledger
from undertow.studies.store.trial import ASSIGNMENT, Assignment, Outcome, trials_by_key

Open = Callable[..., Ledger]

GRID = "study={name: small, vary: {cell.name: [rnn, lstm]}, seeds: 12}"


def most(size: int) -> Callable[[Combination], int]:
    return lambda combination: size


def take(ledger: Ledger, size: int, pack: str = "") -> list[Claim]:
    """Plan, take up to `size` replicates, and assign them to a pack."""
    ledger.plan(size)
    claims = ledger.take(most(size))
    for claim in claims:
        name = str(claim.combination)
        assert ledger.assign(claim, Assignment("me", "here", f"/runs/{name}", "1" * 32, name, pack))
    return claims


def seeds(claims: list[Claim]) -> list[object]:
    assert len({claim.combination.group for claim in claims}) == 1, "they are replicates of one combination"
    return [claim.params["seed"] for claim in claims]


def waiting(ledger: Ledger) -> int:
    return sum(trials[-1].optuna_state == "WAITING" for trials in ledger.trials().values())


def test_replicates_of_one_combination_are_taken_together(open_ledger: Open) -> None:
    ledger = open_ledger(GRID)
    packs = [take(ledger, 5) for _ in range(6)]
    assert [seeds(pack) for pack in packs] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]] * 2
    assert [pack[0].params["cell.name"] for pack in packs] == ["rnn"] * 3 + ["lstm"] * 3
    assert take(ledger, 5) == []


@pytest.mark.parametrize(
    "first", ["seed: [0, 1, 2], cell.name: [rnn, lstm, gru]", "cell.name: [rnn, lstm, gru], seed: [0, 1, 2]"]
)
def test_replicates_follow_one_another_in_the_queue_whatever_the_order_of_the_keys(
    open_ledger: Open, first: str
) -> None:
    ledger = open_ledger(f"study.vary={{{first}}}")
    assert [seeds(take(ledger, 3)) for _ in range(3)] == [[0, 1, 2]] * 3


def test_packs_with_the_longest_sequences_come_first(open_ledger: Open) -> None:
    lengths = "study.vary={seed: [0, 1], task.length: [20, 40, 30], cell.name: [rnn, lstm]}"
    ledger = open_ledger("task={name: adding}", lengths)
    packs = [take(ledger, 2) for _ in range(6)]
    assert [seeds(pack) for pack in packs] == [[0, 1]] * 6
    found = [(pack[0].params["task.length"], pack[0].params["cell.name"]) for pack in packs]
    assert found == [(length, cell) for length in (40, 30, 20) for cell in ("rnn", "lstm")]


def test_the_order_of_the_keys_is_that_of_the_trials_where_nothing_is_packed(open_ledger: Open) -> None:
    ledger = open_ledger("study.vary={seed: [0, 1], cell.name: [rnn, lstm]}")
    found = [str(take(ledger, 1)[0].combination) for _ in range(4)]
    assert found == ["cell.name=rnn seed=0", "cell.name=lstm seed=0", "cell.name=rnn seed=1", "cell.name=lstm seed=1"]


def test_the_queue_is_short_but_holds_whole_packs(open_ledger: Open) -> None:
    ledger = open_ledger("study={name: small, vary: {optim.lr: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, seeds: 7}")
    assert ledger.plan(7) == 21
    assert _QUEUE < 21 < _QUEUE + 7
    found = []
    while claims := take(ledger, 7):
        found.append(seeds(claims))
        assert waiting(ledger) % 7 == 0
    assert found == [list(range(7))] * 6


def test_a_pack_that_another_driver_is_putting_into_the_queue_is_completed_before_it_is_taken(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_ledger(GRID), open_ledger(GRID)
    enqueue, left = one._enqueue, [9, 5]

    def interrupted(*args: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        enqueue(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(one, "_enqueue", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.plan(12)
    assert waiting(other) == 9
    assert seeds(take(other, 12)) == list(range(12))


def test_two_drivers_that_take_packs_at_the_same_time_get_each_trial_once(open_ledger: Open) -> None:
    found: list[tuple[object, object]] = []

    def drive(ledger: Ledger) -> None:
        while ledger.plan(5):
            claims = ledger.take(most(5))
            assert len({claim.combination.group for claim in claims}) <= 1
            for claim in claims:
                found.append((claim.params["cell.name"], claim.params["seed"]))
                assert ledger.complete(claim, [0.5], Outcome())

    drivers = [threading.Thread(target=drive, args=[open_ledger(GRID)]) for _ in range(3)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert Counter(found) == {(cell, seed): 1 for cell in ("rnn", "lstm") for seed in range(12)}


def test_a_trial_that_another_driver_takes_meanwhile_is_missing_from_the_pack_alone(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_ledger(GRID), open_ledger(GRID)
    one.plan(12)
    claimed, set_state = [], one._storage.set_trial_state_values

    def other_is_faster(trial_id: int, *args: object) -> bool:
        if len(claimed) == 1:
            claimed.extend(other.take())
        claimed.append(trial_id)
        return set_state(trial_id, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(one._storage, "set_trial_state_values", other_is_faster)
    assert seeds(one.take(most(4))) == [0, 2, 3, 4]
    assert [claim.params["seed"] for claim in claimed if isinstance(claim, Claim)] == [1]


def test_a_pack_that_died_is_taken_again_as_it_was(open_ledger: Open) -> None:
    """Without the replicate that has ended, and without those that have not begun: they are at other steps."""
    ledger = open_ledger("study={name: small, seeds: 9}", "study.retries=1")
    claims = take(ledger, 4, pack="one")
    ledger.complete(claims[1], [0.5], Outcome())
    for claim in (claims[0], claims[2], claims[3]):
        ledger.fail(claim, "lost", "killed", Outcome())
    packs = [seeds(take(ledger, 8, pack)) for pack in ("two", "three")]
    assert sorted(packs, key=len) == [[0, 2, 3], [4, 5, 6, 7, 8]]


def test_the_replicates_of_a_dead_pack_wait_until_none_of_them_runs(open_ledger: Open) -> None:
    """Another driver may read the ledger while the end of a pack is being recorded."""
    ledger = open_ledger("study={name: small, seeds: 3}", "study.retries=1")
    claims = take(ledger, 3, pack="one")
    ledger.fail(claims[0], "lost", "killed", Outcome())
    assert take(open_ledger("study={name: small, seeds: 3}"), 3) == []
    for claim in claims[1:]:
        ledger.fail(claim, "lost", "killed", Outcome())
    assert seeds(take(ledger, 3, pack="two")) == [0, 1, 2]


def test_an_assignment_of_an_earlier_version_has_no_pack(open_ledger: Open) -> None:
    ledger = open_ledger("study={name: small, seeds: 2}")
    (claim,) = take(ledger, 1)
    recorded = asdict(Assignment("me", "here", "/runs/0", "1" * 32, "old"))
    del recorded["pack"]
    ledger._storage.set_trial_user_attr(claim.trial._trial_id, ASSIGNMENT, recorded)
    (first, *_) = trials_by_key(ledger.study.get_trials())[claim.combination.key]
    assert first.assignment == Assignment("me", "here", "/runs/0", "1" * 32, "old", pack="")
    assert read_status(f"sqlite:///{Path('optuna.db').absolute()}", "small").packs == []


def test_the_status_counts_runs_by_pack_and_gives_each_its_share_of_the_time(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(GRID, "study.cases={on: {optim.omega: 0.5}, off: {}}")
    (first, *_) = take(ledger, 4, pack="one")
    take(ledger, 4, pack="two")
    take(ledger, 1)
    ledger.complete(first, [0.5], Outcome())
    status = read_status(f"sqlite:///{Path('optuna.db').absolute()}", "small")
    assert status.packs == [4, 4]
    assert status.singly == {"optim.omega: Ω penalises each network by itself": 24}
    trial = next(each for each in ledger.study.get_trials() if each.state.name == "COMPLETE")
    assert trial.duration is not None
    assert status.seconds_each == pytest.approx(trial.duration.total_seconds() / 4)


def test_packs_may_change_and_seeds_be_added_when_a_study_is_continued(open_ledger: Open) -> None:
    study = "study={{name: small, vary: {{cell.name: [rnn, lstm]}}, seeds: {}, pack: {}}}"
    first = open_ledger(study.format(2, "auto"))
    for claim in take(first, 2, pack="one"):
        first.complete(claim, [0.5], Outcome())
    grown = open_ledger(study.format(4, 3))
    assert grown.changes == "added seed=2 seed=3"
    assert sorted(seeds(take(grown, 3)) for _ in range(3)) == [[0, 1, 2], [2, 3], [3]]
    assert open_ledger(study.format(4, "off")).snapshot["singly"] == {"study.pack: off": 8}


def test_a_study_of_a_version_without_packs_is_continued(open_ledger: Open) -> None:
    from undertow.studies.store.identity import SNAPSHOT

    ledger = open_ledger()
    snapshot = ledger.snapshot
    del snapshot["singly"]
    lines = snapshot["config"].splitlines(keepends=True)
    snapshot["config"] = "".join(line for line in lines if not line.startswith(("  seeds:", "  pack:")))
    assert len(lines) - snapshot["config"].count("\n") == 2
    ledger.study.set_user_attr(SNAPSHOT, snapshot)
    assert read_status(f"sqlite:///{Path('optuna.db').absolute()}", "small").singly == {}
    assert open_ledger().snapshot["singly"] == {}
