"""The table of commands: every import string resolves, and every help text fits on one line."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

from undertow.cli import commands
from undertow.cli.app import COMMANDS, PLUGIN_COMMANDS, STUDY_COMMANDS

Call = Callable[..., Any]

GROUPS = (("", COMMANDS), ("plugin", PLUGIN_COMMANDS), ("study", STUDY_COMMANDS))
ALL = [(f"{group} {name}".strip(), function) for group, members in GROUPS for name, function, _ in members]


@pytest.mark.parametrize(("command", "function"), ALL, ids=[command for command, _ in ALL])
def test_a_command_is_a_function_in_the_module_of_its_name(command: str, function: str) -> None:
    module, _, name = function.partition(":")
    assert module == command.replace(" ", "_")
    assert callable(getattr(import_module(f"undertow.cli.commands.{module}"), name))


def test_every_module_is_a_command() -> None:
    modules = {module.name for module in iter_modules(commands.__path__) if not module.name.startswith("_")}
    assert modules == {function.partition(":")[0] for _, function in ALL}


@pytest.mark.parametrize("command", ["", "plugin", "study", *(command for command, _ in ALL)])
def test_every_help_text_fits_on_one_line_of_80_columns(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = call(*command.split(), "--help")
    assert outcome.code == 0
    rows = [line for line in outcome.out.splitlines() if line.startswith("│")]
    assert rows
    for row in rows:
        assert row[2:8].strip(), f"this continues the line above: {row}"
    assert len(outcome.out.partition("╭")[0].strip().splitlines()) == 3  # usage, an empty line, one of description
