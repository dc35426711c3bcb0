"""A study in a journal on a shared folder: what a database holds, it holds too, and crashes leave it readable."""

import errno
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from undertow._system.atomic import replace_durably
from undertow.errors import RequestError, UndertowError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.status import read_status
from undertow.studies.store import journal
from undertow.studies.store.journal import JournalFile, journal_file
from undertow.studies.store.ledger import Claim, Ledger
from undertow.studies.store.results import read_results
from undertow.studies.store.storage import open_storage
from undertow.studies.store.trial import Assignment, Outcome

Open = Callable[..., Ledger]
Finish = Callable[[Ledger], list[str]]

GROWN = "study.vary={cell.name: [gru, rnn, lstm], seed: [0, 1, 2]}"


@pytest.fixture
def file(home: Path) -> Path:
    return home / "optuna.log"


@pytest.fixture
def open_ledger(file: Path, load: Callable[..., LoadedStudy]) -> Open:
    """Open the ledger of the small study, as often as needed."""

    def open_ledger(*overrides: str) -> Ledger:
        return Ledger.open(f"journal://{file}", load(*overrides), {"run": "0" * 32, "facts": {}})

    return open_ledger


def taken(ledger: Ledger) -> Claim:
    (claim,) = ledger.take()
    assert ledger.assign(claim, Assignment("me", "here", f"/runs/{claim.number}", "1" * 32, str(claim.combination)))
    return claim


def everything(file: Path) -> dict[int, Any]:
    """What Optuna's own reader of journals has of each trial but the choices of its parameters."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    return {
        each.number: (
            each.state, each.values, each.params, each.user_attrs, each.intermediate_values, each.datetime_start,
            each.datetime_complete,
        )
        for each in optuna.load_study(study_name="small", storage=storage).trials
    }  # fmt: skip


def test_a_study_is_run_read_and_stopped_as_in_a_database(file: Path, open_ledger: Open, finish: Finish) -> None:
    ledger = open_ledger()
    assert ledger.plan() == 4
    assert ledger.fail(taken(ledger), "failed", "it broke", Outcome())
    pruned = taken(ledger)
    assert not ledger.report(pruned, 1, 0.75)
    assert ledger.prune(pruned, "too slow", Outcome())
    running = taken(ledger)
    url = f"journal://{file}"
    status = read_status(url, "small")
    assert dict(status.counts.states) == {"failed": 1, "pruned": 1, "running": 1, "waiting": 1}
    assert status.failed == {"cell.name=rnn seed=0": "it broke"}
    assert [*status.running] == ["cell.name=lstm seed=0"]
    other = Ledger.find(url, "small")
    other.ask_to_stop()
    assert ledger.stops == 1
    assert other.abandon(other.trials()[running.combination.key][0])
    assert not ledger.complete(running, [0.5], Outcome())
    assert ledger.retry() == 1
    assert sorted(finish(open_ledger())) == ["cell.name=lstm seed=0", "cell.name=lstm seed=1", "cell.name=rnn seed=0"]
    found = read_results(Ledger.find(url, "small")).combinations
    assert [(each.state, each.attempts) for each in found] == [
        ("complete", 2), ("pruned", 1), ("complete", 2), ("complete", 1),
    ]  # fmt: skip


def test_four_drivers_at_once_take_each_trial_once(open_ledger: Open) -> None:
    grid = "study.vary={cell.name: [rnn], seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}"
    found: list[str] = []

    def drive(ledger: Ledger) -> None:
        while ledger.plan():
            for claim in ledger.take():
                found.append(str(claim.combination))
                assert ledger.complete(claim, [0.5], Outcome())

    drivers = [threading.Thread(target=drive, args=[open_ledger(grid)]) for _ in range(4)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert Counter(found) == {f"cell.name=rnn seed={seed}": 1 for seed in range(12)}


def test_a_line_that_a_dead_process_left_incomplete_is_removed_before_the_next(
    file: Path, open_ledger: Open, finish: Finish
) -> None:
    ledger = open_ledger()
    ledger.plan()
    claim = taken(ledger)
    complete = file.read_bytes()
    with file.open("ab") as dying:
        dying.write(b'{"op_code":9,"worker_id":"dead","trial_id":0,"user_a')
    assert read_status(f"journal://{file}", "small").counts.states["running"] == 1
    assert ledger.complete(claim, [0.5], Outcome())
    assert len(finish(open_ledger())) == 3
    assert file.read_bytes().startswith(complete)
    assert b"dead" not in file.read_bytes()
    assert len(everything(file)) == 4


def test_a_damaged_line_is_named(file: Path, open_ledger: Open) -> None:
    open_ledger().plan()
    lines = file.read_bytes().splitlines(keepends=True)
    for damage in (b"\x00" * 40 + b"\n", b"[1]\n", b"SQLite format 3\n"):
        file.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
        with pytest.raises(UndertowError, match=r"optuna\.log: line 3 is not a line of an Optuna journal\. Restore"):
            open_ledger()
        with pytest.raises(UndertowError, match=r"line 3 is not"):
            read_status(f"journal://{file}", "small")


def test_a_full_disk_leaves_no_part_of_a_line_and_the_write_is_repeated(
    file: Path, open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger()
    failures, sync = [errno.ENOSPC, errno.ESTALE], os.fsync
    found = []

    def full(fd: int) -> None:
        found.append(file.read_bytes())
        if failures:
            code = failures.pop()
            raise OSError(code, os.strerror(code))
        sync(fd)

    monkeypatch.setattr(os, "fsync", full)
    ledger.heartbeat("me", {"at": 1})
    assert len(set(found)) == 1
    assert found[0] == file.read_bytes()


def test_an_added_value_is_run_and_optuna_reads_all_of_it(file: Path, open_ledger: Open, finish: Finish) -> None:
    watching = Ledger.find(f"journal://{file}", "small") if len(finish(open_ledger())) == 4 else None
    before, mode = everything(file), file.stat().st_mode
    grown = open_ledger(GROWN)
    assert grown.changes == "added cell.name=gru seed=2"
    assert everything(file) == before
    added = ("gru seed=0", "gru seed=1", "gru seed=2", "rnn seed=2", "lstm seed=2")
    assert finish(grown) == [f"cell.name={each}" for each in added]
    assert before.items() <= everything(file).items()
    assert file.stat().st_mode == mode
    trials = Ledger.find(f"journal://{file}", "small").study.trials
    assert {each.distributions["cell.name"].choices for each in trials} == {("rnn", "lstm", "gru")}
    assert watching is not None
    assert len(watching.study.trials) == 9, "a process that had read the file before it was rewritten"
    assert read_status(f"journal://{file}", "small").counts.settled == 9


def test_another_study_in_the_journal_stays_as_it_is(file: Path, open_ledger: Open, finish: Finish) -> None:
    finish(open_ledger("study.name=other"))
    other = [line for line in file.read_bytes().splitlines() if b'"study_id":0' in line]
    finish(open_ledger())
    finish(open_ledger(GROWN))
    assert [line for line in file.read_bytes().splitlines() if b'"study_id":0' in line] == other


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_process_that_is_killed_while_the_study_grows_leaves_it_as_it_was(
    file: Path, open_ledger: Open, call: str, monkeypatch: pytest.MonkeyPatch, finish: Finish
) -> None:
    finish(open_ledger())
    monkeypatch.setattr(journal, "_LINK_SECONDS", 3)
    before, snapshot = everything(file), open_ledger().snapshot

    def die(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def replace(*arguments: Any) -> None:
        monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), die)
        replace_durably(*arguments)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(journal, "replace_durably", replace)
        open_ledger(GROWN)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = Ledger.find(f"journal://{file}", "small")
    assert (everything(file), left.snapshot) == (before, snapshot)
    assert {each.distributions["cell.name"].choices for each in left.study.trials} == {("rnn", "lstm")}
    assert len(finish(open_ledger(GROWN))) == 5
    assert len(everything(file)) == 9


def test_the_lock_of_optunas_own_programs_keeps_writers_out(file: Path, open_ledger: Open) -> None:
    ledger = open_ledger()
    lock = optuna.storages.journal.JournalFileSymlinkLock(str(file))
    lock.acquire()
    before = file.read_bytes()
    writer = threading.Thread(target=ledger.heartbeat, args=["me", {"at": 1}])
    writer.start()
    writer.join(0.3)
    assert file.read_bytes() == before
    lock.release()
    writer.join()
    assert json.loads(file.read_bytes().splitlines()[-1])["user_attr"] == {"undertow.driver.me": {"at": 1}}


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("journal://shared/optuna.log", "write journal:///ABSOLUTE/PATH/FILE.log"),
        ("journal:optuna.log", "write journal:///ABSOLUTE/PATH/FILE.log"),
        ("journal:///shared/?optuna.log", "write % and ? in its name as %25 and %3F"),
        ("journal://{home}", "is a folder; name a file in it: journal://{home}/optuna.log"),
        ("journal://{home}/none/optuna.log", "there is no folder {home}/none on this machine: mount the shared folder"),
        ("journal:///proc/optuna.log", "cannot be opened: No such file or directory: /proc/"),
    ],
)
def test_a_place_that_cannot_hold_a_journal_is_refused(home: Path, place: str, reason: str) -> None:
    with pytest.raises(RequestError) as error:
        open_storage(place.format(home=home))
    assert reason.format(home=home) in str(error.value)
    assert [*home.iterdir()] == []


def test_a_folder_that_cannot_be_written_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file.parent))

    monkeypatch.setattr(os, "symlink", refuse)  # root, as which the tests may run, could write
    with pytest.raises(RequestError, match=r"optuna\.log cannot be opened: Permission denied"):
        open_storage(f"journal://{file}")


def test_a_journal_that_does_not_exist_is_not_created_by_a_look(file: Path) -> None:
    for look in (read_status, Ledger.find):
        with pytest.raises(RequestError, match=r"there is no study database .*/optuna\.log yet"):
            look(f"journal://{file}", "small")
    assert not file.exists()


def test_names_with_special_characters_are_quoted(home: Path) -> None:
    file = home / "50% of what?.log"
    address = f"journal://{home}/50%25 of what%3F.log"
    open_storage(address)
    assert journal_file(address) == file
    assert file.exists()
    assert journal_file("sqlite:///optuna.db") is None


def test_the_file_is_read_once(file: Path, open_ledger: Open, finish: Finish) -> None:
    ledger = open_ledger()
    finish(ledger)
    lines = JournalFile(file)
    count = len([*lines.read_logs(0)])
    assert [*lines.read_logs(count)] == []
    ledger.heartbeat("me", {"at": 1})
    assert [each["user_attr"] for each in lines.read_logs(count)] == [{"undertow.driver.me": {"at": 1}}]
    assert len([*lines.read_logs(0)]) == count + 1
