"""A trial whose run folder cannot be opened ends with a result that says why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.runs.result import Result
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.work import job as jobs
from undertow.studies.work.job import Job, conduct
from undertow.tracking import RunFolder


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run folder that its process has left."""
    monkeypatch.setattr(jobs, "_listen", lambda driver, stop: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = RunFolder.create(home, "run", experiment="e", uri=None, config_yaml="")
    folder.release()
    return folder


def damage_identity(folder: RunFolder) -> None:
    (folder.path / "run.json").write_text("{")


def damage_lock(folder: RunFolder) -> None:
    (folder.path / "lock").unlink()
    (folder.path / "lock").mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"), [(damage_identity, "run.json cannot be read"), (damage_lock, "Is a directory")]
)
def test_a_folder_that_cannot_be_opened_is_a_failure_with_a_reason(
    load: Callable[..., LoadedStudy], folder: RunFolder, damage: Callable[[RunFolder], None], reason: str
) -> None:
    loaded = load()
    damage(folder)
    (point, *_) = loaded.space.points()
    job = Job(
        home=folder.path.parent,
        study=folder.path.parent / "study",
        folder=folder.path,
        run="1" * 32,
        parent="",
        uri="sqlite:///none.db",
        config=loaded.experiment(point),
        plugins=loaded.registry.plugins,
        tags={},
        params={},
        threads=1,
    )
    conduct([job], None)  # type: ignore[arg-type]
    result = Result.read(folder.result)
    assert result.status == "FAILED"
    assert reason in result.reason
    assert json.loads(folder.result.read_text())["error"] in ("RequestError", "IsADirectoryError")
    assert (folder.path / "traceback.txt").read_text().count("in _opened") == 1
