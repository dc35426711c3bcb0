"""`undertow run` with a replaced training: what is passed to it, and what is shown of its result."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.cli import main
from undertow.cli.output import runs
from undertow.config.load import LoadedExperiment, dump
from undertow.errors import Interrupted, UndertowError
from undertow.runs import experiment
from undertow.runs.experiment import RunResult
from undertow.tracking import RunFolder

Call = Callable[..., Any]


class Devices:
    count = 2
    name = "cpu"


class FakeTraining:
    """Replaces `start`: makes a run folder, calls back, and returns a result or raises `error`."""

    def __init__(self) -> None:
        self.shipped = True
        self.error: Exception | None = None
        self.seen: dict[str, Any] = {}

    def start(self, loaded: LoadedExperiment, *, home: Path, progress: bool, on_start: Any) -> RunResult:
        config = loaded.config
        self.seen = {"config": config, "home": home, "progress": progress}
        folder = RunFolder.create(
            home, config.run_name, experiment="tides", uri=config.track.uri, config_yaml=dump(config)
        )
        folder.release()
        print("printed by a plugin")
        if on_start:
            on_start(folder, Devices())
        if self.error:
            raise self.error
        return RunResult(
            name=config.run_name,
            folder=folder.path,
            run_id="abc",
            shipped=self.shipped,
            steps=60,
            metrics={"val/loss": 2.0, "val/accuracy": 0.25, "gradient/h/half_life": 3.5, "gradient/h/reach": 20.0},
            curves={"gradient/h/by_lag": ([1, 2], [0.0, -0.5])},
            config=config,
        )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    training = FakeTraining()
    monkeypatch.setattr(experiment, "start", training.start)
    return training


def test_overrides_and_home_reach_the_run(call: Call, digits: Path, training: FakeTraining, tmp_path: Path) -> None:
    call("run", digits, "--set", "cell.name=gru", "--set", "task.length=128", "--home", tmp_path / "elsewhere")
    assert training.seen["config"].run_name == "gru-T128-s0"
    assert training.seen["home"] == tmp_path / "elsewhere"
    assert training.seen["progress"] is True


def test_the_default_home_is_that_of_the_environment(
    call: Call, digits: Path, training: FakeTraining, runs: Path
) -> None:
    call("run", digits)
    assert training.seen["home"] == runs


def test_the_header_names_run_task_lengths_devices_and_folder(
    call: Call, digits: Path, training: FakeTraining, runs: Path
) -> None:
    _, out, err = call("run", digits)
    for text in ("lstm-T64-s0", "digits-by-pixel", "64 time steps", "2 x cpu", str(runs / "lstm-T64-s0-")):
        assert text in err
    assert "digits-by-pixel" not in out


def test_a_person_at_a_terminal_is_told_what_is_imported(
    call: Call, digits: Path, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "importing torch and Lightning"
    assert note not in call("run", digits).err
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    first, *_ = call("run", digits).err.splitlines()
    assert note in first
    assert note not in call("run", digits, "--quiet").err


def test_the_result_is_a_table_and_the_address_of_the_charts(call: Call, digits: Path, training: FakeTraining) -> None:
    code, out, _ = call("run", digits)
    assert code == 0
    row = next(line for line in out.splitlines() if line.split()[:1] == ["lstm"])
    assert row.split()[:4] == ["lstm", "64", "0.250", "3.5"]
    assert "undertow ui\n" in out
    assert "http://127.0.0.1:5000/#/" in out


def test_a_home_that_is_not_the_default_is_in_the_command_for_the_ui(
    call: Call, digits: Path, training: FakeTraining, tmp_path: Path
) -> None:
    out = call("run", digits, "--home", tmp_path / "elsewhere").out
    assert f"undertow ui --home {tmp_path / 'elsewhere'}\n" in out


def test_a_run_on_a_server_has_its_charts_there(call: Call, digits: Path, training: FakeTraining) -> None:
    out = call("run", digits, "--set", "track.uri=http://me:secret@127.0.0.1:9").out
    assert "http://127.0.0.1:9/#/" in out
    assert "secret" not in out
    assert "undertow ui" not in out


def test_a_run_that_is_not_shipped_names_the_command_that_ships_it(
    call: Call, digits: Path, training: FakeTraining, runs: Path
) -> None:
    training.shipped = False
    code, out, err = call("run", digits)
    assert code == 0
    assert f"undertow sync {runs / 'lstm-T64-s0-'}" in err
    assert "Look" not in out


def test_with_json_standard_output_is_one_object(call: Call, digits: Path, training: FakeTraining) -> None:
    outcome = call("run", digits, "--json")
    document = outcome.document
    assert set(document) == {"name", "folder", "run_id", "status", "shipped", "steps", "metrics", "curves"}
    assert document["status"] == "FINISHED"
    assert document["metrics"]["val/accuracy"] == 0.25
    assert document["curves"]["gradient/h/by_lag"] == {"steps": [1, 2], "values": [0.0, -0.5]}
    assert "printed by a plugin" in outcome.err


def test_quiet_keeps_the_result(call: Call, digits: Path, training: FakeTraining) -> None:
    code, out, err = call("run", digits, "--quiet")
    assert code == 0
    assert training.seen["progress"] is False
    assert err.startswith("printed by a plugin\n")
    assert "digits-by-pixel" not in err
    assert "lstm" in out


@pytest.mark.parametrize("kind", [Interrupted, UndertowError])
def test_a_run_that_did_not_finish_exits_with_1(
    call: Call, digits: Path, training: FakeTraining, kind: type[Exception]
) -> None:
    training.error = kind("lstm-T64-s0-abc: stopped by SIGINT")
    outcome = call("run", digits, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out) == {"error": "lstm-T64-s0-abc: stopped by SIGINT", "exit_code": 1}


@pytest.mark.parametrize("server", ["page", "refused"])
def test_a_run_is_finished_even_if_its_charts_cannot_be_looked_up(
    call: Call, digits: Path, training: FakeTraining, page: str, server: str
) -> None:
    address = page if server == "page" else "http://127.0.0.1:9"
    code, out, err = call("run", digits, "--quiet", "--set", f"track.uri={address}")
    assert code == 0
    assert f"{address}/#/experiments" in out
    assert server == "refused" or "cannot look up the charts" in err


def test_a_run_is_finished_even_if_its_table_cannot_be_built(
    call: Call, digits: Path, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "where_to_look", _fail)
    code, out, err = call("run", digits, "--quiet")
    assert code == 0
    assert "lstm" in out
    assert "the run is done, but its results cannot be shown: KeyError: 'experiment'" in err


def _fail(folder: Path) -> list[str]:
    raise KeyError("experiment")


def test_a_run_is_finished_even_if_nothing_reads_its_table(
    call: Call, digits: Path, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["run", str(digits), "--quiet"]) == 0
        assert main(["run", str(digits), "--quiet", "--json"]) == 0


def test_changed_code_is_allowed_with_resume_alone(call: Call, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = call("run", digits, "--allow-changed-code")
    assert code == 2
    assert "--resume" in err
    seen: dict[str, Any] = {}

    def resume(reference: str, **options: Any) -> None:
        seen.update(options, reference=reference)
        raise UndertowError("seen")

    monkeypatch.setattr(experiment, "resume", resume)
    call("run", "--resume", "lstm-T64-s0", "--allow-changed-code")
    assert (seen["reference"], seen["allow_changed_code"]) == ("lstm-T64-s0", True)
    call("run", "--resume", "lstm-T64-s0")
    assert seen["allow_changed_code"] is False
