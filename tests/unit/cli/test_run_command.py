"""`undertow run`, with the training itself replaced: what is handed on, and what is shown of what comes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.config.load import LoadedExperiment, dump
from undertow.errors import Interrupted, UndertowError
from undertow.runs import experiment
from undertow.runs.experiment import RunResult
from undertow.tracking import RunFolder

Call = Callable[..., Any]


class Devices:
    count = 2
    name = "cpu"


class Sea:
    """Stands in for `start`: makes a run folder, calls back, and returns or raises what it was told to."""

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
        print("what a plugin prints")
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
def sea(monkeypatch: pytest.MonkeyPatch) -> Sea:
    sea = Sea()
    monkeypatch.setattr(experiment, "start", sea.start)
    return sea


def test_overrides_and_home_reach_the_run(call: Call, digits: Path, sea: Sea, tmp_path: Path) -> None:
    call("run", digits, "--set", "cell.name=gru", "--set", "task.length=128", "--home", tmp_path / "elsewhere")
    assert sea.seen["config"].run_name == "gru-T128-s0"
    assert sea.seen["home"] == tmp_path / "elsewhere"
    assert sea.seen["progress"] is True


def test_the_home_is_that_of_the_environment_when_not_given(call: Call, digits: Path, sea: Sea, runs: Path) -> None:
    call("run", digits)
    assert sea.seen["home"] == runs


def test_a_header_says_what_is_trained_where(call: Call, digits: Path, sea: Sea, runs: Path) -> None:
    _, out, err = call("run", digits)
    for text in ("lstm-T64-s0", "digits-by-pixel", "64 time steps", "2 x cpu", str(runs / "lstm-T64-s0-")):
        assert text in err
    assert "digits-by-pixel" not in out


def test_the_result_is_a_table_and_where_to_look(call: Call, digits: Path, sea: Sea) -> None:
    code, out, _ = call("run", digits)
    assert code == 0
    row = next(line for line in out.splitlines() if line.split()[:1] == ["lstm"])
    assert row.split()[:5] == ["lstm", "64", "0.250", "3.5", "20"]
    assert "undertow ui\n" in out
    assert "http://127.0.0.1:5000/#/" in out


def test_where_to_look_names_a_home_that_is_not_the_usual_one(
    call: Call, digits: Path, sea: Sea, tmp_path: Path
) -> None:
    out = call("run", digits, "--home", tmp_path / "elsewhere").out
    assert f"undertow ui --home {tmp_path / 'elsewhere'}\n" in out


def test_a_run_on_a_server_is_looked_at_there(call: Call, digits: Path, sea: Sea) -> None:
    out = call("run", digits, "--set", "track.uri=http://me:secret@127.0.0.1:9").out
    assert "http://127.0.0.1:9/#/" in out
    assert "secret" not in out
    assert "undertow ui" not in out


def test_a_run_that_is_not_shipped_says_so_and_how(call: Call, digits: Path, sea: Sea, runs: Path) -> None:
    sea.shipped = False
    code, out, err = call("run", digits)
    assert code == 0
    assert f"undertow sync {runs / 'lstm-T64-s0-'}" in err
    assert "Look" not in out


def test_json_is_one_object_and_everything_else_is_on_standard_error(call: Call, digits: Path, sea: Sea) -> None:
    outcome = call("run", digits, "--json")
    document = outcome.document
    assert set(document) == {"name", "folder", "run_id", "status", "shipped", "steps", "metrics", "curves"}
    assert document["status"] == "FINISHED"
    assert document["metrics"]["val/accuracy"] == 0.25
    assert document["curves"]["gradient/h/by_lag"] == {"steps": [1, 2], "values": [0.0, -0.5]}
    assert "what a plugin prints" in outcome.err


def test_quiet_leaves_the_result_alone(call: Call, digits: Path, sea: Sea) -> None:
    code, out, err = call("run", digits, "--quiet")
    assert code == 0
    assert sea.seen["progress"] is False
    assert err == "what a plugin prints\n"
    assert "lstm" in out


@pytest.mark.parametrize("kind", [Interrupted, UndertowError])
def test_a_run_that_did_not_finish_exits_with_1(call: Call, digits: Path, sea: Sea, kind: type[Exception]) -> None:
    sea.error = kind("lstm-T64-s0-abc: stopped by SIGINT")
    outcome = call("run", digits, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out) == {"error": "lstm-T64-s0-abc: stopped by SIGINT", "exit_code": 1}


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
