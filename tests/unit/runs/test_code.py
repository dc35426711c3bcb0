"""The code and the data of a run, compared with those at its start."""

import json

import pytest

from undertow.config.load import LoadedExperiment, load_mapping
from undertow.errors import RequestError
from undertow.runs.code import CHANGED, record_code, require_recorded_code
from undertow.tracking import RunFolder


@pytest.fixture
def loaded() -> LoadedExperiment:
    return load_mapping({"task": {"name": "adding"}, "cell": {"name": "rnn"}})


@pytest.fixture
def folder(home, loaded: LoadedExperiment) -> RunFolder:
    """The folder of a run that was started with an older version of the cells."""
    folder = RunFolder.create(home, "run", experiment="e", uri=None, config_yaml="")
    record_code(folder, loaded, "1234")
    recorded = json.loads((folder.path / "code.json").read_text())
    recorded["plugins"]["undertow-cells"] = "0.0.1"
    (folder.path / "code.json").write_text(json.dumps(recorded))
    return folder


def test_another_version_is_refused_with_both_versions(folder: RunFolder, loaded: LoadedExperiment) -> None:
    with pytest.raises(RequestError, match=r"undertow-cells: 0\.0\.1 at the start, 0\.1\.0 now"):
        require_recorded_code(folder, loaded, "1234", allow_changed=False)


def test_an_allowed_difference_is_recorded_and_compared_with_from_then_on(
    folder: RunFolder, loaded: LoadedExperiment
) -> None:
    tags = require_recorded_code(folder, loaded, "1234", allow_changed=True)
    assert tags == {CHANGED: "undertow-cells: 0.0.1 at the start, 0.1.0 now"}
    assert require_recorded_code(folder, loaded, "1234", allow_changed=False) == {}
    assert "0.0.1" in require_recorded_code(folder, loaded, "5678", allow_changed=True)[CHANGED]


def test_plugins_that_the_driver_has_compared_are_recorded_and_the_data_are_still_compared(
    folder: RunFolder, loaded: LoadedExperiment
) -> None:
    with pytest.raises(RequestError, match="1234 at the start, 5678 now"):
        require_recorded_code(folder, loaded, "5678", allow_changed=False, compare_plugins=False)
    assert CHANGED in require_recorded_code(folder, loaded, "1234", allow_changed=False, compare_plugins=False)


def test_a_run_of_a_version_that_recorded_no_code_is_accepted(folder: RunFolder, loaded: LoadedExperiment) -> None:
    (folder.path / "code.json").unlink()
    assert require_recorded_code(folder, loaded, "5678", allow_changed=False) == {}


def test_a_damaged_record_of_the_code_is_named(folder: RunFolder, loaded: LoadedExperiment) -> None:
    (folder.path / "code.json").write_text("{")
    with pytest.raises(RequestError, match=r"code\.json cannot be read"):
        require_recorded_code(folder, loaded, "1234", allow_changed=True)
