"""The driver: it leaves only when nothing is left."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from undertow._system.stopping import StopRequest
from undertow.config.space import Combination, Params
from undertow.runs.process import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.store.attempt import Work
from undertow.studies.store.ledger import Ledger
from undertow.studies.work.driver import Driver
from undertow.studies.work.executor import Running
from undertow.studies.work.job import Job
from undertow.studies.work.slots import Slot


class Done:
    """An attempt that has ended."""

    exit_code = 0

    def ask_to_stop(self, reason: str) -> None:
        pass

    def kill(self) -> None:
        pass


class AtOnce:
    """An executor whose trials end as they begin."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def launch(self, job: Job) -> Running:
        self.jobs.append(job)
        job.place.mkdir(parents=True)
        Result("FINISHED", steps=1, metrics={"val/loss": 0.5}).write(job.place / "result.json")
        return Done()

    def wait(self, running: Sequence[Running], seconds: float) -> None:
        time.sleep(0.05)

    def close(self) -> None:
        pass


class Blind:
    """A view that shows nothing."""

    def show(self, *what: Any) -> None:
        pass

    def ended(self, *what: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("study", "order"),
    [
        ("study.vary={seed: [0, 1]}", ["claim", "claim", "complete", "complete"]),
        (
            "study={name: small, search: {optim.lr: {low: 0.1, high: 0.2}}, samples: 2}",
            ["claim", "complete", "claim", "complete"],
        ),
    ],
    ids=["a grid does not wait for the books", "a sampler hears of the last before it chooses the next"],
)
def test_a_free_worker_gets_its_next_run_and_the_last_is_written_down(
    home: Path,
    load: Callable[..., LoadedStudy],
    open_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
    study: str,
    order: list[str],
) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        method = getattr(Ledger, name)

        def noting(ledger: Ledger, *args: Any) -> Any:
            found = method(ledger, *args)
            if found:
                calls.append(name)
            return found

        monkeypatch.setattr(Ledger, name, noting)

    note("claim")
    note("complete")
    slots = [Slot(threads=1)]
    driver = Driver(load(study), open_ledger(study), AtOnce(), home, slots, parent="0" * 32, tags={}, watch=Blind())
    assert driver.run(StopRequest()).states == {"complete": 2}
    assert calls == order


def test_a_driver_without_work_takes_over_what_another_machine_leaves_behind(
    home: Path,
    load: Callable[..., LoadedStudy],
    open_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it waits for is given up between two looks at the queue: it must look once more before it goes."""

    def elsewhere(combination: Combination, params: Params, before: Work | None) -> Work:
        return Work("dead", "another machine", "/nowhere", "1" * 32, "abandoned")

    monkeypatch.setattr("undertow.studies.store.ledger.SILENCE", 0.5)
    other = open_ledger("study.vary={seed: [0]}")
    other.plan()
    assert other.claim(elsewhere)
    other.beat("dead", {"host": "another machine", "pid": 1, "lock": "/nowhere.lock", "at": 0.0})
    executor = AtOnce()
    driver = Driver(
        load("study.vary={seed: [0]}"),
        open_ledger("study.vary={seed: [0]}"),
        executor,
        home,
        [Slot(threads=1)],
        parent="0" * 32,
        tags={},
        watch=Blind(),
    )
    stand = driver.run(StopRequest())
    assert len(executor.jobs) == 1
    assert stand.states == {"complete": 1}
