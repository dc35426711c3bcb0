"""The process of a pack: one replicate that cannot be opened or built is recorded, and the others are trained."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from undertow.runs.pack import Member
from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.work import job as jobs
from undertow.studies.work.job import Job, conduct
from undertow.tracking import Outbox, RunFolder


class FakeTraining:
    """In the place of the training of a pack: records that every member has finished, or raises."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.choice: Path | None = None
        self.error: Exception | None = None

    def __call__(self, members: Sequence[Member], stop: Any, *, progress: bool, choice: Path | None = None) -> None:
        self.choice = choice
        for number, member in enumerate(members):
            assert member.folder.is_alive(), "its lock is held"
            self.seeds.append(member.built.loaded.config.seed)
            if self.error and number == 1:
                raise self.error
            with Outbox(member.folder.outbox) as outbox:
                outbox.status("FINISHED")
            Result("FINISHED", steps=7).write(member.folder.result)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr("undertow.runs.pack.train_and_record_pack", fake)
    monkeypatch.setattr(jobs, "_listen", lambda driver, stop: None)
    monkeypatch.setattr(jobs, "_limit", lambda jobs: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return fake


@pytest.fixture
def pack(home: Path, load: Callable[..., LoadedStudy], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Job]]:
    """The jobs of a pack of four; what the process prints stays where it is."""
    monkeypatch.setattr(jobs, "_redirect_output", lambda folders: None)

    def pack(*overrides: str) -> list[Job]:
        loaded = load("train.accelerator=cpu", *overrides)
        return [
            Job(
                home=home,
                study=home / "study",
                folder=None,
                run=str(seed) * 32,
                parent="",
                uri=f"sqlite:///{home}/none.db",
                config=loaded.experiment({"cell.name": "rnn", "seed": seed}),
                plugins=loaded.registry.plugins,
                tags={"undertow.trial": str(seed)},
                params={},
                threads=1,
                pack="one",
            )
            for seed in range(4)
        ]

    return pack


Pack = Callable[..., list[Job]]


def carry_out(pack: Sequence[Job]) -> list[Result]:
    conduct(pack, None)  # type: ignore[arg-type]
    return [Result.read(job.place / "result.json") for job in pack]


def test_every_replicate_is_opened_built_and_started_as_a_run_alone(pack: Pack, training: FakeTraining) -> None:
    made = pack()
    assert [result.status for result in carry_out(made)] == ["FINISHED"] * 4
    assert training.seeds == [0, 1, 2, 3]
    for job in made:
        lines = (job.place / "outbox.jsonl").read_text().splitlines()
        assert f'"undertow.trial":"{job.config.seed}"' in lines[0]
        assert '"undertow.dataset"' in lines[0]
        assert "FINISHED" in lines[-1]
        assert not RunFolder.open(job.place).is_alive(), "the lock is released"
    assert len({(job.place / "config.yaml").read_text() for job in made}) == 4


def test_a_replicate_whose_folder_cannot_be_opened_fails_and_the_others_go_on(
    pack: Pack, training: FakeTraining
) -> None:
    made = pack()
    folder = RunFolder.create(made[2].home, "run", experiment="e", uri=None, config_yaml="")
    folder.release()
    (folder.path / "run.json").write_text("{")
    made[2] = replace(made[2], folder=folder.path)
    results = carry_out(made)
    assert [result.status for result in results] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert "run.json cannot be read" in results[2].reason
    assert training.seeds == [0, 1, 3]


def test_a_replicate_that_cannot_be_built_fails_and_the_others_go_on(
    pack: Pack, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    import undertow.train.build

    build = undertow.train.build.build

    def fails(loaded: Any) -> Any:
        if loaded.config.seed == 0:
            raise ValueError("it cannot be built")
        return build(loaded)

    monkeypatch.setattr(undertow.train.build, "build", fails)
    made = pack()
    results = carry_out(made)
    assert [result.status for result in results] == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    assert results[0].reason.startswith("ValueError: it cannot be built")
    assert "FAILED" in (made[0].place / "outbox.jsonl").read_text()
    assert training.seeds == [1, 2, 3]


def test_the_data_of_each_replicate_are_compared(
    pack: Pack, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pack()
    carry_out(made)
    monkeypatch.setattr("undertow.train.build.digest", lambda task: "other")
    again = [replace(job, folder=job.place) for job in made[:2]]
    assert all("the data" in result.reason or "now" in result.reason for result in carry_out(again))
    assert training.seeds == [0, 1, 2, 3]


def test_a_replicate_that_has_ended_stays_ended_if_the_training_fails(pack: Pack, training: FakeTraining) -> None:
    training.error = RuntimeError("the stack broke")
    results = carry_out(pack())
    assert [result.status for result in results] == ["FINISHED", "FAILED", "FAILED", "FAILED"]
    assert results[0].steps == 7
    assert all(result.reason.startswith("RuntimeError: the stack broke") for result in results[1:])


def test_what_keeps_the_whole_process_from_its_work_fails_every_replicate(
    pack: Pack, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_limit(*args: object, **options: object) -> None:
        raise OSError("no such limit")

    monkeypatch.setattr(jobs, "_limit", no_limit)
    assert [result.reason.partition(" (see")[0] for result in carry_out(pack())] == ["OSError: no such limit"] * 4
    monkeypatch.setattr(jobs, "_limit", lambda jobs: None)
    monkeypatch.setattr(jobs, "load_plugins", no_limit)
    results = carry_out([replace(job, run=f"f{job.run[1:]}") for job in pack()])
    assert [result.reason.partition(" (see")[0] for result in results] == ["OSError: no such limit"] * 4


def test_the_first_decision_is_kept_in_the_folder_of_the_study_where_runs_are_deterministic(
    pack: Pack, training: FakeTraining
) -> None:
    made = pack()
    carry_out(made)
    assert training.choice is None
    kept = []
    for first, *more in (("e",), ("f", "seed=9"), ("d", "cell.hidden_size=6")):
        carry_out([replace(job, run=f"{first}{job.run[1:]}") for job in pack("train.deterministic=true", *more)])
        kept.append(training.choice)
    assert kept[0] == kept[1] != kept[2], "one decision for all seeds of a configuration"
    assert kept[0] is not None
    assert kept[0].is_relative_to(made[0].study)


def test_the_memory_of_a_pack_is_that_of_its_runs_together(
    pack: Pack, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    limits = []
    monkeypatch.setattr(jobs, "_data_bytes", lambda: 1000)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(limit))
    made = [replace(job, memory=0.5) for job in pack()]
    jobs._limit(made)
    jobs._limit(made[:1])
    assert limits == [(1000 + 2**31, 1000 + 2**31), (1000 + 2**29, 1000 + 2**29)]


def test_the_output_is_in_the_first_folder_and_the_others_name_it(tmp_path: Path) -> None:
    import subprocess

    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    code = (
        "import sys, pathlib; from undertow.studies.work.job import _redirect_output; "
        "_redirect_output([pathlib.Path(each) for each in sys.argv[1:]]); print('said')"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, folders)], check=True)
    first, second, third = ((folder / "output.log").read_text() for folder in folders)
    assert first == "said\n"
    assert second == third == f"trained in one process with 2 others, whose output is in {folders[0]}/output.log\n"
