"""Bad input: an error of a few lines with the remedy, exit code 2, and nothing written."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Call = Callable[..., Any]

OVERRIDES = {
    "cell.hiden_size=3": "did you mean `hidden_size`",
    "cell.name=lstn": "did you mean `lstm`",
    "task.name=ading": "did you mean `adding`",
    "probes.0.name=gradient-profil": "did you mean `gradient-profile`",
    "cell.options.lstm.forget_bia=1": "did you mean `forget_bias`",
    "train.early_stopping={metric: val/acuracy}": "did you mean `val/accuracy`",
    "train.checkpoint.metric=val/acuracy": "did you mean `val/accuracy`",
    "cell.hidden_size=wide": "cell.hidden_size",
    "cell.hidden_size=0": "cell.hidden_size",
    "optim.name=adm": "did you mean `adam`",
    "optim.lr=.nan": "optim.lr",
    "task.length=63": "64 or more",
    "cell.hidden_size": "KEY=VALUE",
    "track.uri=mlruns": "mlruns",
}

FILES = {
    "task: {name: adding}\ncell: {name: gru\n": "broken.yaml:",
    "": "empty",
    "- task\n": "broken.yaml:1",
    "task: {name: adding}\n": "cell",
    "task: {name: adding}\ncell: {name: gru}\ncell: {name: lstm}\n": "broken.yaml:3",
}

CELL = """
    from undertow import CellSpec, hookimpl

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(name="lstm", summary="Mine.", factory=":Mine", state=("h",))
    """

SCRATCH = {
    "raise RuntimeError('no water')\n": ["no water", "wrong.py:1"],
    """
    from undertow import hookimpl

    @hookimpl
    def undertow_register_cell():
        return []
    """: ["undertow_register_cells"],
    CELL: ["lstm", "undertow-cells", "wrong.py"],
    CELL.replace("lstm", "mine").replace("))", "), api=99)"): ["api 99", "wrong.py"],
}


@pytest.mark.parametrize(("override", "message"), OVERRIDES.items())
def test_a_wrong_override_is_refused(call: Call, digits: Path, runs: Path, override: str, message: str) -> None:
    refused(call("run", digits, "--set", "train.devices=1", "--set", override), runs, message)


@pytest.mark.parametrize(("text", "message"), FILES.items())
def test_a_wrong_file_is_refused(call: Call, runs: Path, text: str, message: str) -> None:
    Path("broken.yaml").write_text(text)
    refused(call("run", "broken.yaml"), runs, message)


def test_the_error_for_a_missing_file_names_the_nearest(call: Call, digits: Path, runs: Path) -> None:
    refused(call("run", "digit.yaml"), runs, "Did you mean `digits.yaml`?")


@pytest.mark.parametrize(("code", "parts"), SCRATCH.items(), ids=["import", "hook", "clash", "api"])
def test_a_wrong_scratch_plugin_is_refused(call: Call, digits: Path, runs: Path, code: str, parts: list[str]) -> None:
    Path("wrong.py").write_text(dedent(code))
    for text in parts:
        refused(call("run", digits, "--plugin", "wrong.py"), runs, text)


def test_a_wrong_spec_of_a_scratch_plugin_is_listed_and_warned_of(call: Call) -> None:
    good = dedent(CELL.replace("lstm", "mine"))
    Path("mixed.py").write_text(good + good.splitlines()[-1].replace("mine", "Wrong Name"))
    outcome = call("list", "cells", "mine", "--plugin", "mixed.py")
    assert outcome.code == 0
    assert "mine" in outcome.out
    assert outcome.err.startswith("warning: ")
    assert "mixed.py" in outcome.err
    assert "'Wrong Name' is not a legal name" in outcome.err
    failures = call("plugin", "list", "--failed", "--json", "--plugin", "mixed.py").document["failures"]
    assert [(Path(each["plugin"]).name, each["stage"]) for each in failures] == [("mixed.py", "spec")]


def test_an_unknown_name_lists_no_more_than_a_dozen(call: Call, runs: Path) -> None:
    outcome = call("plugin", "check", "qqqqqq")
    refused(outcome, runs, "more; see `undertow plugin list`.")
    assert outcome.err.count(",") < 20


def test_a_tag_that_cannot_be_tracked_is_refused_by_every_command(call: Call, digits: Path, runs: Path) -> None:
    for command in (["check", digits], ["run", digits, "--set", "train.devices=1"]):
        outcome = call(*command, "--set", "track.tags={a+b: c}")
        assert outcome.code == 2
        assert "track.tags.a+b: the name 'a+b' cannot be tracked" in outcome.err
    study = ["--set", "study={name: small, vary: {seed: [0, 1]}}", "--set", "track.tags={a+b: c}"]
    refused(call("study", "run", digits, *study), runs, "track.tags.a+b: the name 'a+b' cannot be tracked")


def test_what_the_environment_does_not_allow_is_refused(
    call: Call, digits: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "undertow-cells,undertow-tasks,undertow-probes")
    refused(call("run", digits, "--plugin", "mine.py"), runs, "UNDERTOW_PLUGINS_ALLOW does not list")
    refused(call("run", digits, "--set", "plugins.files=[mine.py]"), runs, "UNDERTOW_PLUGINS_ALLOW does not list")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.devices=4096", "4096"),
        ("train.strategy=dpp", "did you mean `ddp`"),
        ("train.accelerator=mps", "mps"),
    ],
)
def test_devices_that_do_not_exist_are_refused(
    call: Call, digits: Path, runs: Path, override: str, message: str
) -> None:
    refused(call("run", digits, "--set", override), runs, message)


def test_run_needs_a_file_or_a_run_and_not_both(call: Call, digits: Path, runs: Path) -> None:
    refused(call("run"), runs, "--resume")
    refused(call("run", digits, "--resume", "lstm-T64-s0"), runs, "not both")
    refused(call("run", "--resume", "lstm-T64-s0", "--plugin", "mine.py"), runs, "--plugin")


def test_resuming_a_run_that_does_not_exist_is_refused(call: Call, runs: Path) -> None:
    refused(call("run", "--resume", "lstm-T64-s0"), runs, "lstm-T64-s0")


def refused(outcome: Any, runs: Path, message: str) -> None:
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert message.lower() in outcome.err.lower()
    assert len(outcome.err.splitlines()) <= 6
    assert "Traceback" not in outcome.err
    assert not runs.exists()
