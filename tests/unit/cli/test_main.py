"""The entry point: exit codes, where output goes, and how errors are reported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import undertow
from undertow.cli.commands import list as list_module
from undertow.errors import UndertowError

Call = Callable[..., Any]


def test_undertow_alone_shows_help_with_every_command(call: Call) -> None:
    outcome = call()
    assert outcome.code == 0
    for command in ("run", "check", "show", "list", "plugin", "sync", "ui", "doctor"):
        assert f" {command} " in outcome.out


def test_version_is_that_of_the_package(call: Call) -> None:
    assert call("--version") == (0, f"{undertow.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], 'Did you mean "list"?'),
        (["plugin", "lis"], 'Did you mean "list"?'),
        (["run", "x.yaml", "--hom", "y"], "Did you mean --home?"),
        (["list", "cell"], 'Did you mean "cells"?'),
        (["list"], "undertow list --help"),
        (["list", "cells", "lstm", "gru"], "gru"),
        (["ui", "--port", "many"], "many"),
    ],
)
def test_an_unknown_word_is_reported_with_the_nearest_one(call: Call, words: list[str], message: str) -> None:
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) <= 3


def test_with_json_an_error_is_the_json_object(call: Call) -> None:
    outcome = call("list", "cells", "lstn", "--json")
    assert outcome.code == 2
    assert outcome.document["exit_code"] == 2
    assert "Did you mean `lstm`?" in outcome.document["error"]
    assert call("list", "cell", "--json").document["exit_code"] == 2


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def load_plugins(**_: object) -> NoReturn:
        raise error

    return load_plugins


def test_failed_work_exits_with_1(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_module, "load_plugins", _raise(UndertowError("out of memory")))
    assert call("list", "cells") == (1, "", "error: out of memory\n")


def test_ctrl_c_exits_with_130_and_without_a_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_module, "load_plugins", _raise(KeyboardInterrupt()))
    assert call("list", "cells") == (130, "", "error: stopped by Ctrl-C\n")


def test_an_unexpected_exception_keeps_its_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_module, "load_plugins", _raise(ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError):
        call("list", "cells")


def test_with_json_an_unexpected_exception_is_the_json_object(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(list_module, "load_plugins", _raise(ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError):
        undertow.cli.main(["list", "cells", "--json"])
    assert capsys.readouterr().out == '{"error": "ZeroDivisionError: by zero", "exit_code": 1}\n'


@pytest.mark.parametrize("words", [["show", "--schema"], ["list", "cells"], ["--help"]])
def test_a_closed_pipe_ends_the_command_without_a_message(runs: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "undertow.cli", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert process.stderr == ""
    assert process.returncode == 1


def test_brackets_in_texts_of_plugins_are_not_markup(call: Call, install: Callable[[str, str], None]) -> None:
    install(
        "bracket-cells",
        """
        from undertow import CellSpec, hookimpl

        @hookimpl
        def undertow_register_cells():
            yield CellSpec(name="bracket", summary="a[b] [red]c :smile:", factory="x:Y", state=("h",))
        """,
    )
    assert "a[b] [red]c :smile:" in call("list", "cells").out


@pytest.mark.parametrize("words", [["list", "cells", "lstm", "--width", "8"], ["list", "cells"]], ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_that_cannot_be_encoded_is_escaped(runs: Path, words: list[str], encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "undertow.cli", *words],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"lstm" in done.stdout


def test_json_is_valid_in_every_encoding(runs: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "undertow.cli", "list", "cells", "--json"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["cells"]
