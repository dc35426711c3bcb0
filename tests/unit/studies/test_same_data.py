"""Trials of a study with the same task and seed see the same data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.config.schema import ExperimentConfig
from undertow.errors import RequestError
from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.work import job as jobs
from undertow.studies.work.job import Job, conduct
from undertow.studies.work.same_data import require_same_data


def config(cell: str = "rnn", seed: int = 0, length: int = 64) -> ExperimentConfig:
    task = {"name": "digits-by-pixel", "length": length}
    return ExperimentConfig.model_validate({"cell": {"name": cell}, "task": task, "seed": seed})


def test_another_digest_is_refused_and_both_are_named(tmp_path: Path) -> None:
    assert require_same_data(tmp_path, config(), "aaaa", allow_changed=False) == {}
    assert require_same_data(tmp_path, config("lstm"), "aaaa", allow_changed=False) == {}
    with pytest.raises(RequestError, match=r"the data \(undertow\.dataset\): aaaa at the start, bbbb now"):
        require_same_data(tmp_path, config("lstm"), "bbbb", allow_changed=False)


def test_another_seed_or_length_has_data_of_its_own(tmp_path: Path) -> None:
    for number, each in enumerate((config(), config(seed=1), config(length=128))):
        assert require_same_data(tmp_path, each, f"digest{number}", allow_changed=False) == {}


def test_an_allowed_change_is_recorded_and_holds_for_later_trials(tmp_path: Path) -> None:
    require_same_data(tmp_path, config(), "aaaa", allow_changed=False)
    tags = require_same_data(tmp_path, config(), "bbbb", allow_changed=True)
    assert tags == {"undertow.changed_code": "the data (undertow.dataset): aaaa at the start, bbbb now"}
    assert require_same_data(tmp_path, config("gru"), "bbbb", allow_changed=False) == {}


def test_a_trial_with_other_data_than_the_one_before_fails(
    home: Path, load: Callable[..., LoadedStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_listen", lambda driver, stop: None)
    monkeypatch.setattr(jobs, "_redirect_output", lambda folders: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    loaded = load("train.max_steps=1", "train.val_examples=8", "train.batch_size=4", "train.accelerator=cpu")
    results = []
    for number, digest in enumerate(("aaaa", "bbbb")):
        monkeypatch.setattr("undertow.train.build.digest", lambda task, digest=digest: digest)
        point = {"cell.name": ("rnn", "lstm")[number], "seed": 0}
        job = Job(
            home=home,
            study=home / "study",
            folder=None,
            run=str(number) * 32,
            parent="",
            uri=f"sqlite:///{home}/none.db",
            config=loaded.experiment(point),
            plugins=loaded.registry.plugins,
            tags={},
            params={},
            threads=1,
        )
        conduct([job], None)  # type: ignore[arg-type]
        results.append(Result.read(job.place / "result.json"))
    assert [result.status for result in results] == ["FINISHED", "FAILED"]
    assert "aaaa at the start, bbbb now" in results[1].reason
