"""The study's own run: one driver of a machine holds it, and anything else that is wrong is an error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.studies.plan.load import LoadedStudy
from undertow.studies.run import run_study
from undertow.studies.work.parent import ParentRun
from undertow.tracking import Provenance, RunFolder

UUID = "1" * 32


@pytest.fixture
def open_parent(home: Path, load: Callable[..., LoadedStudy]) -> Callable[..., ParentRun | None]:
    return lambda *overrides: ParentRun.open(home, load(*overrides), UUID, Provenance({}, None))


def test_the_run_is_not_opened_while_another_driver_holds_it(
    open_parent: Callable[..., ParentRun | None],
) -> None:
    first = open_parent()
    assert first is not None
    assert open_parent() is None
    first.close(None)
    again = open_parent()
    assert again is not None
    again.close(None)


def test_an_error_is_not_taken_for_another_driver(home: Path, open_parent: Callable[..., ParentRun | None]) -> None:
    with pytest.raises(RequestError, match="cannot be a tracking URI"):
        open_parent("track.uri=a/folder")
    place = RunFolder.place(home, "small", UUID)
    place.mkdir(exist_ok=True)
    (place / "run.json").write_text("torn")
    with pytest.raises(RequestError, match=r"run\.json cannot be read"):
        open_parent()


def test_a_wrong_tracking_uri_is_refused_before_the_study_is_written(
    home: Path, load: Callable[..., LoadedStudy]
) -> None:
    with pytest.raises(RequestError, match="cannot be a tracking URI"):
        run_study(load("track.uri=a/folder"), home=home, watch=None)  # type: ignore[arg-type]
    assert list(home.iterdir()) == []
