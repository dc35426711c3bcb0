"""The face itself: exit codes, where output goes, and how errors of every kind are told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import undertow
from undertow.cli.commands import catalogue
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
    ("words", "said"),
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
def test_a_word_that_is_not_understood_is_told_with_the_nearest_one(call: Call, words: list[str], said: str) -> None:
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) <= 3


def test_an_error_is_also_the_json_document_when_asked(call: Call) -> None:
    outcome = call("list", "cells", "lstn", "--json")
    assert outcome.code == 2
    assert outcome.document["exit_code"] == 2
    assert "Did you mean `lstm`?" in outcome.document["error"]
    assert call("list", "cell", "--json").document["exit_code"] == 2


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def load_plugins(**_: object) -> NoReturn:
        raise error

    return load_plugins


def test_work_that_failed_exits_with_1(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "load_plugins", _raise(UndertowError("the sea is dry")))
    assert call("list", "cells") == (1, "", "error: the sea is dry\n")


def test_ctrl_c_exits_with_130_and_without_a_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "load_plugins", _raise(KeyboardInterrupt()))
    assert call("list", "cells") == (130, "", "error: stopped by Ctrl-C\n")


def test_a_fault_of_our_own_keeps_its_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "load_plugins", _raise(ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError):
        call("list", "cells")


def test_a_fault_of_our_own_is_also_the_json_document(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "load_plugins", _raise(ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError):
        undertow.cli.main(["list", "cells", "--json"])
    assert capsys.readouterr().out == '{"error": "ZeroDivisionError: by zero", "exit_code": 1}\n'


@pytest.mark.parametrize("words", [["show", "--schema"], ["list", "cells"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(runs: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "undertow.cli", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert process.stderr == ""
    assert process.returncode == 1


def test_what_is_written_in_brackets_is_no_markup(call: Call, install: Callable[[str, str], None]) -> None:
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
